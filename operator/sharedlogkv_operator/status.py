"""Turns the outcome of a reconcile into the resource's status: pure.

`Ready` and `TopicReady` are True when all is well; `Reconciling` and `Stalled` when it is not, as kstatus reads them
(Source: kstatus, "The conditions"). At most one of Ready, Stalled is True; Reconciling may be True beside Ready while
old pods of a rollout go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from sharedlogkv_operator.desired import build_selector_text
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.leadership import Leadership
from sharedlogkv_operator.pods import DeploymentView, PodView
from sharedlogkv_operator.reasons import STALLED, Reason
from sharedlogkv_operator.resource_parser import build_pinned
from sharedlogkv_operator.spec import Identity, PinnedTopic, WriteMode

TROUBLES_SHOWN: Final = 3
MESSAGE_LIMIT: Final = 32768
PLAN_LIMIT: Final = 4096
CHANGES_LIMIT: Final = 64
"""How long a message and a change of the plan may be, and how many changes: with more, the CRD refuses the status."""

LAG_SHOWN_SECONDS: Final = 5
"""A smaller lag is told as 0: a hiccup of a broker is no news."""

TOPIC_IS_FIT: Final = frozenset(
    {Reason.TOPIC_BOUND, Reason.REPLICATION_FACTOR_LOW, Reason.TOPIC_DRIFTED, Reason.FOREIGN_RECORDS}
)
"""With these the topic serves, and TopicReady is True."""

TOPIC_UNSEEN = frozenset(
    {
        Reason.PROGRESSING,
        Reason.KAFKA_UNAVAILABLE,
        Reason.KUBE_UNAVAILABLE,
        Reason.SECRET_INVALID,
        Reason.KAFKA_LOGIN_FAILED,
    }
)
"""With these Kafka was not asked, or did not answer: they say nothing about the topic."""


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
        pods: those of the pods that are not on their way out.
        leadership: who leads; None where there is to be no leader.
        foreign_records: how many records a replica has seen that no leader wrote.
        awaited_mode: the write mode to which they are on the way through ReadOnly; None when they are in theirs.
    """

    wanted: int
    deployment: DeploymentView
    troubles: tuple[str, ...]
    lag_seconds: float | None
    pods: tuple[PodView, ...] = ()
    leadership: Leadership | None = None
    foreign_records: int = 0
    awaited_mode: WriteMode | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconcile found and did.

    Attributes:
        topic: the verdict on the topic; None when it was not looked at.
        pinned: the topic that the resource is bound to.
        problem: what stands in the way of everything else (the spec, a child, a deletion); None for nothing.
        replicas: the replicas; None where they were not looked at. Never None with a fit topic and no problem.
        wants_leader: the write mode is Leader.
        pause: why nothing is carried out; None while it is.
        plan: what would be carried out; None where nobody asked.
    """

    topic: Verdict | None
    pinned: PinnedTopic | None
    problem: Verdict | None = None
    replicas: Replicas | None = None
    wants_leader: bool = False
    pause: Verdict | None = None
    plan: tuple[str, ...] | None = None


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


def build_status(
    body: JsonObject, identity: Identity, outcome: Outcome, *, now: datetime, further: Sequence[Condition] = ()
) -> dict[str, object]:
    """The whole status after a reconcile; equal to the one that `body` has if nothing changed.

    Conditions that do not follow from the outcome are in `further`.
    """
    conditions = _stamp((*judge(outcome), *further), _raw_conditions(body), identity, now=now)
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
        status["lagSeconds"] = _round_lag(replicas.lag_seconds, told=previous.get("lagSeconds", 0))
    if outcome.plan is not None:
        status["plan"] = [_shorten(change, PLAN_LIMIT) for change in outcome.plan[:CHANGES_LIMIT]]
    if replicas is not None and replicas.leadership is not None and replicas.leadership.leader is not None:
        status["leader"] = {"name": replicas.leadership.leader.name, "term": replicas.leadership.leader.term}
    return status


def judge(outcome: Outcome) -> tuple[Condition, ...]:
    """The conditions that an outcome amounts to; LeaderElected is one of them where a leader is wanted."""
    topic = _judge_records(outcome.topic or Verdict(Reason.PROGRESSING, "the topic was not looked at yet"), outcome)
    topic_truth = _judge_topic(topic.reason)
    if outcome.problem is not None:
        ready_truth, ready = Truth.FALSE, outcome.problem
    elif topic_truth is not Truth.TRUE:
        ready_truth, ready = Truth.FALSE, topic
    elif outcome.replicas is None:
        assert outcome.pause is not None  # with a topic and no problem, there is a Deployment, unless nothing is made
        ready_truth, ready = Truth.FALSE, outcome.pause
    else:
        ready_truth, ready = _judge_replicas(outcome.replicas)
    leader_truth, leader = _judge_leadership(outcome.replicas)
    if outcome.wants_leader and ready_truth is Truth.TRUE and leader_truth is Truth.FALSE:
        ready_truth, ready = leader_truth, leader
    is_stalled = ready.reason in STALLED
    is_rolling = outcome.replicas is not None and outcome.replicas.deployment.replicas > outcome.replicas.wanted
    if outcome.pause is not None:
        reconciling = Condition("Reconciling", Truth.FALSE, outcome.pause.reason.value, outcome.pause.message)
    elif is_stalled:
        reconciling = Condition("Reconciling", Truth.FALSE, ready.reason.value, "see Stalled")
    elif ready.reason is Reason.SUSPENDED:
        reconciling = Condition("Reconciling", Truth.FALSE, Reason.SETTLED.value, "")
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
        *(
            [Condition("LeaderElected", leader_truth, leader.reason.value, leader.message)]
            if outcome.wants_leader
            else []
        ),
        reconciling,
        stalled,
        *([Condition("Paused", Truth.TRUE, pause.reason.value, pause.message)] if (pause := outcome.pause) else []),
    )


def _judge_topic(reason: Reason) -> Truth:
    if reason in TOPIC_IS_FIT:
        return Truth.TRUE
    return Truth.UNKNOWN if reason in TOPIC_UNSEEN else Truth.FALSE


def _judge_records(topic: Verdict, outcome: Outcome) -> Verdict:
    """The verdict on the topic, with what its records say where a leader should have written them all."""
    count = outcome.replicas.foreign_records if outcome.replicas is not None else 0
    if not outcome.wants_leader or not count or topic.reason is not Reason.TOPIC_BOUND:
        return topic
    records = "1 record in it was" if count == 1 else f"{count} records in it were"
    return Verdict(
        Reason.FOREIGN_RECORDS,
        f"{topic.message}; {records} written by somebody else than the leader, past every condition: keep others off "
        f"by Kafka's ACLs",
    )


def _judge_leadership(replicas: Replicas | None) -> tuple[Truth, Verdict]:
    if replicas is None:
        return Truth.UNKNOWN, Verdict(Reason.LEADER_UNKNOWN, "the replicas were not looked at")
    if replicas.wanted == 0:
        return Truth.FALSE, Verdict(Reason.SUSPENDED, "no replica is to run")
    if replicas.leadership is None:
        return Truth.FALSE, Verdict(Reason.WRITE_MODE_CHANGING, _describe_mode_change(replicas))
    leader = replicas.leadership.leader
    if leader is not None:
        return Truth.TRUE, Verdict(Reason.ELECTED, f"{leader.name} leads, term {leader.term}")
    if not replicas.leadership.is_told:
        return Truth.UNKNOWN, Verdict(Reason.LEADER_UNKNOWN, "no replica tells who leads")
    if replicas.leadership.refusal:
        return Truth.FALSE, Verdict(Reason.LEADERSHIP_REFUSED, replicas.leadership.refusal)
    return Truth.FALSE, Verdict(Reason.NO_LEADER, "no replica leads yet: writes wait for one, reads go on")


def _describe_mode_change(replicas: Replicas) -> str:
    mode = replicas.awaited_mode.value if replicas.awaited_mode else "another one"
    return (
        f"on the way to writeMode {mode} all replicas go through ReadOnly, so that no writer of the former mode is "
        f"left; {replicas.deployment.updated} of {replicas.wanted} are there; reads go on, writes wait"
    )


def _judge_replicas(replicas: Replicas) -> tuple[Truth, Verdict]:
    deployment, wanted = replicas.deployment, replicas.wanted
    if wanted == 0 and deployment.is_observed and deployment.replicas == 0:
        return Truth.FALSE, Verdict(Reason.SUSPENDED, "no replica runs, as spec.suspend has it; the topic is kept")
    if wanted == 0:
        return Truth.FALSE, Verdict(Reason.ROLLING_OUT, "replicas are being stopped, as spec.suspend has it")
    if replicas.awaited_mode is not None:
        return Truth.FALSE, Verdict(Reason.WRITE_MODE_CHANGING, _describe_mode_change(replicas))
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


def _round_lag(lag_seconds: float, *, told: object) -> int:
    """The lag to tell, in whole seconds: what is told already while that is about right, or it would never rest."""
    if isinstance(told, int) and told and 0.5 * told <= lag_seconds <= 1.5 * told:
        return told
    return int(lag_seconds) if lag_seconds >= LAG_SHOWN_SECONDS else 0


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


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
            "message": _shorten(condition.message, MESSAGE_LIMIT),
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
