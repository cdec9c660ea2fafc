"""Turns the outcome of a reconcile into the resource's status: pure.

`Ready` and `TopicReady` are True when all is well; `Reconciling` and `Stalled` when it is not, as kstatus reads them
(Source: kstatus, "The conditions"). At most one of Ready, Stalled is True; Reconciling may be True beside Ready while
old pods of a rollout go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sharedlogkv_operator.desired import build_selector_text
from sharedlogkv_operator.pods import DeploymentView
from sharedlogkv_operator.reasons import STALLED, Reason
from sharedlogkv_operator.spec import Identity, JsonObject, PinnedTopic, build_pinned

TROUBLES_SHOWN = 3


class Truth(Enum):
    """A condition's status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one step: a reason for programs, a message for people."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Replicas:
    """How the replicas stand.

    Attributes:
        wanted: how many the spec asks for.
        deployment: the Deployment's standing.
        troubles: why replicas do not serve, each once.
        lag_seconds: the largest lag among those that are ready; None when none told.
    """

    wanted: int
    deployment: DeploymentView
    troubles: tuple[str, ...]
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile found and did.

    Attributes:
        topic: the verdict on the topic; None when it was not looked at.
        pinned: the topic that the resource is bound to.
        problem: what stands in the way of everything else (the spec, a child, a deletion); None for nothing.
        replicas: the replicas; None where they were not looked at. Never None with a fit topic and no problem.
    """

    topic: Verdict | None
    pinned: PinnedTopic | None
    problem: Verdict | None = None
    replicas: Replicas | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as the status shows it, without times."""

    type: str
    truth: Truth
    reason: str
    message: str


def parse_conditions(body: JsonObject) -> dict[str, Condition]:
    """The conditions that the status of `body` shows, by type; what is unreadable is left out."""
    return {
        type_: Condition(type_, Truth(item["status"]), str(item["reason"]), str(item["message"]))
        for type_, item in _raw_conditions(body).items()
    }


def build_progressing_status(body: JsonObject, identity: Identity, *, now: datetime) -> dict[str, object]:
    """The status to write as soon as a new generation is seen: the old one, plus that we are at work on it.

    Ready keeps the generation that it was judged by, so that nobody who waits for it is told too early.
    """
    previous = _raw_conditions(body)
    status = body.get("status", {})
    assert isinstance(status, Mapping)
    message = f"generation {identity.generation} of the spec is being acted upon"
    fresh = [
        Condition(type_, Truth.UNKNOWN, Reason.PROGRESSING.value, message)
        for type_ in ("Ready", "TopicReady")
        if type_ not in previous
    ]
    fresh += [
        Condition("Reconciling", Truth.TRUE, Reason.PROGRESSING.value, message),
        Condition("Stalled", Truth.FALSE, Reason.NOT_STALLED.value, ""),
    ]
    conditions = {**previous, **_stamp(fresh, previous, identity, now=now)}
    return {
        "replicas": 0,
        "readyReplicas": 0,
        "selector": build_selector_text(identity),
        **status,
        "observedGeneration": identity.generation,
        "conditions": list(conditions.values()),
    }


def build_status(body: JsonObject, identity: Identity, outcome: Outcome, *, now: datetime) -> dict[str, object]:
    """The whole status after a reconcile; equal to the one that `body` has if nothing changed."""
    conditions = _stamp(judge(outcome), _raw_conditions(body), identity, now=now)
    previous = body.get("status", {})
    assert isinstance(previous, Mapping)
    replicas = outcome.replicas
    status: dict[str, object] = {
        "observedGeneration": identity.generation,
        # Where the Deployment was not looked at, what was last seen of it is the best that is known.
        "replicas": replicas.deployment.replicas if replicas else previous.get("replicas", 0),
        "readyReplicas": replicas.deployment.ready if replicas else previous.get("readyReplicas", 0),
        "selector": build_selector_text(identity),
        "conditions": list(conditions.values()),
    }
    # Once bound, a resource stays bound, also when the outcome could not tell to what.
    if outcome.pinned is not None:
        status["topic"] = build_pinned(outcome.pinned)
    elif "topic" in previous:
        status["topic"] = previous["topic"]
    if replicas is not None and replicas.lag_seconds is not None:
        status["lagSeconds"] = int(replicas.lag_seconds)
    return status


def judge(outcome: Outcome) -> tuple[Condition, ...]:
    """The four conditions that an outcome amounts to."""
    topic = outcome.topic or Verdict(Reason.PROGRESSING, "the topic was not looked at yet")
    topic_truth = _judge_topic(topic.reason)
    if outcome.problem is not None:
        ready_truth, ready = Truth.FALSE, outcome.problem
    elif topic_truth is not Truth.TRUE:
        ready_truth, ready = Truth.FALSE, topic
    else:
        assert outcome.replicas is not None  # with a topic and no problem, there is a Deployment
        ready_truth, ready = _judge_replicas(outcome.replicas)
    is_stalled = ready.reason in STALLED
    is_rolling = outcome.replicas is not None and outcome.replicas.deployment.replicas > outcome.replicas.wanted
    if is_stalled:
        reconciling = Condition("Reconciling", Truth.FALSE, ready.reason.value, "see Stalled")
    elif ready_truth is not Truth.TRUE:
        reconciling = Condition("Reconciling", Truth.TRUE, ready.reason.value, ready.message)
    elif is_rolling:
        message = "replicas that are no longer wanted are being stopped"
        reconciling = Condition("Reconciling", Truth.TRUE, Reason.ROLLING_OUT.value, message)
    else:
        reconciling = Condition("Reconciling", Truth.FALSE, Reason.SETTLED.value, "")
    stalled = (
        Condition("Stalled", Truth.TRUE, ready.reason.value, ready.message)
        if is_stalled
        else Condition("Stalled", Truth.FALSE, Reason.NOT_STALLED.value, "")
    )
    return (
        Condition("Ready", ready_truth, ready.reason.value, ready.message),
        Condition("TopicReady", topic_truth, topic.reason.value, topic.message),
        reconciling,
        stalled,
    )


def _judge_topic(reason: Reason) -> Truth:
    if reason in (Reason.TOPIC_BOUND, Reason.REPLICATION_FACTOR_LOW):
        return Truth.TRUE
    # Kafka out of reach says nothing about the topic.
    return Truth.UNKNOWN if reason in (Reason.KAFKA_UNAVAILABLE, Reason.PROGRESSING) else Truth.FALSE


def _judge_replicas(replicas: Replicas) -> tuple[Truth, Verdict]:
    deployment, wanted = replicas.deployment, replicas.wanted
    troubles = replicas.troubles[:TROUBLES_SHOWN]
    why = f"; {'; '.join(troubles)}" if troubles else ""
    if deployment.failure:
        why = f"; {deployment.failure}{why}"
    is_rolling = deployment.replicas > 0 and (not deployment.is_observed or deployment.updated < deployment.replicas)
    if is_rolling:
        message = f"{min(deployment.updated, wanted)} of {wanted} replicas have the latest template{why}"
        return Truth.FALSE, Verdict(Reason.ROLLING_OUT, message)
    if not deployment.is_observed or deployment.updated < wanted or deployment.available < wanted:
        message = f"{min(deployment.available, wanted)} of {wanted} replicas serve{why}"
        return Truth.FALSE, Verdict(Reason.REPLICAS_NOT_READY, message)
    count = "1 replica serves" if wanted == 1 else f"{wanted} replicas serve"
    return Truth.TRUE, Verdict(Reason.SERVING, count)


def _stamp(
    conditions: Sequence[Condition], previous: Mapping[str, JsonObject], identity: Identity, *, now: datetime
) -> dict[str, JsonObject]:
    """The conditions in the API's form; the time of the last transition stays while the status does."""
    stamped: dict[str, JsonObject] = {}
    for condition in conditions:
        before = previous.get(condition.type)
        is_same = before is not None and before.get("status") == condition.truth.value
        stamped[condition.type] = {
            "type": condition.type,
            "status": condition.truth.value,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": before["lastTransitionTime"] if before and is_same else format_time(now),
            "observedGeneration": identity.generation,
        }
    return stamped


def format_time(moment: datetime) -> str:
    """The moment, in UTC, as the API server writes a time: to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _raw_conditions(body: JsonObject) -> dict[str, JsonObject]:
    status = body.get("status", {})
    conditions = status.get("conditions", []) if isinstance(status, Mapping) else []
    return {str(item["type"]): item for item in conditions}
