"""The status that an outcome amounts to."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from sharedlogkv_operator.leadership import Leader, Leadership
from sharedlogkv_operator.pods import DeploymentView
from sharedlogkv_operator.reasons import STALLED, Reason
from sharedlogkv_operator.spec import PinnedTopic, WriteMode
from sharedlogkv_operator.status import (
    Condition,
    Outcome,
    Replicas,
    Truth,
    Verdict,
    build_progressing_status,
    build_status,
    judge,
    parse_conditions,
)
from tests.support.operator_objects import Manifest, build_resource, build_resource_body

REPOSITORY = Path(__file__).parents[3]
BOUND = Verdict(Reason.TOPIC_BOUND, "bound")
PINNED = PinnedTopic("demo.store", "topic-1", is_created=True)
IDENTITY = build_resource().identity
NOW = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)


def replicas(
    wanted: int = 3, *, troubles: tuple[str, ...] = (), lag: float | None = None, **deployment: object
) -> Replicas:
    counts = dict.fromkeys(("replicas", "updated", "ready", "available"), wanted)
    fields: Manifest = {"is_observed": True, "failure": "", **counts, **deployment}
    view = DeploymentView(**fields)
    return Replicas(wanted=wanted, deployment=view, troubles=troubles, lag_seconds=lag)


def conditions(outcome: Outcome) -> dict[str, Condition]:
    return {condition.type: condition for condition in judge(outcome)}


def ready(found: Replicas) -> Condition:
    return conditions(Outcome(BOUND, PINNED, replicas=found))["Ready"]


def test_all_is_well() -> None:
    found = conditions(Outcome(BOUND, PINNED, replicas=replicas()))
    assert found["Ready"] == Condition("Ready", Truth.TRUE, "Serving", "3 replicas serve")
    assert found["TopicReady"].truth is Truth.TRUE
    assert found["Reconciling"].truth is Truth.FALSE
    assert found["Stalled"].truth is Truth.FALSE


def test_too_few_replicas_are_told_with_what_keeps_them() -> None:
    found = ready(replicas(available=1, ready=1, troubles=("ImagePullBackOff: no such image", "LogUnavailable: x")))
    assert (found.truth, found.reason) == (Truth.FALSE, "ReplicasNotReady")
    assert found.message == "1 of 3 replicas serve; ImagePullBackOff: no such image; LogUnavailable: x"


def test_no_more_troubles_are_told_than_one_reads() -> None:
    assert "trouble-3" not in ready(replicas(available=0, troubles=tuple(f"trouble-{i}" for i in range(9)))).message


def test_a_deployment_that_can_t_make_pods_says_why() -> None:
    assert "exceeded quota" in ready(replicas(available=0, updated=0, replicas=0, failure="exceeded quota")).message


def test_a_rollout_is_told_from_a_start() -> None:
    rolling = ready(replicas(replicas=4, updated=2, available=3))
    assert (rolling.truth, rolling.reason) == (Truth.FALSE, "RollingOut")
    assert rolling.message.startswith("2 of 3 replicas have the latest template")
    assert ready(replicas(is_observed=False)).reason == "RollingOut"
    assert ready(replicas(is_observed=False, replicas=0, updated=0, available=0)).reason == "ReplicasNotReady"


def test_a_scale_up_is_not_ready_until_the_new_replicas_serve() -> None:
    assert ready(replicas(wanted=5, replicas=3, updated=3, available=3)).reason == "ReplicasNotReady"


def test_a_scale_down_is_ready_at_once_and_reconciling_until_the_rest_has_gone() -> None:
    found = conditions(Outcome(BOUND, PINNED, replicas=replicas(wanted=1, replicas=3, updated=3, available=3)))
    assert found["Ready"].truth is Truth.TRUE
    assert (found["Reconciling"].truth, found["Reconciling"].reason) == (Truth.TRUE, "RollingOut")


@pytest.mark.parametrize("wants_leader", [False, True])
@pytest.mark.parametrize("is_observed", [False, True])
def test_a_store_that_is_being_suspended_is_not_ready_before_its_last_replica_has_gone(
    is_observed: bool, wants_leader: bool
) -> None:
    going = replicas(wanted=0, is_observed=is_observed, replicas=2, updated=2, ready=2, available=2)
    found = conditions(Outcome(BOUND, PINNED, replicas=going, wants_leader=wants_leader))
    assert (found["Ready"].truth, found["Ready"].reason) == (Truth.FALSE, "RollingOut")
    assert found["Reconciling"].truth is Truth.TRUE
    gone = conditions(Outcome(BOUND, PINNED, replicas=replicas(wanted=0), wants_leader=wants_leader))
    assert (gone["Ready"].truth, gone["Ready"].reason) == (Truth.FALSE, "Suspended")
    assert gone["Reconciling"].truth is Truth.FALSE


def test_kafka_out_of_reach_says_nothing_about_the_topic_but_the_store_is_not_ready() -> None:
    verdict = Verdict(Reason.KAFKA_UNAVAILABLE, "no answer")
    found = conditions(Outcome(verdict, PINNED, replicas=replicas()))
    assert found["TopicReady"].truth is Truth.UNKNOWN
    assert found["Ready"] == Condition("Ready", Truth.FALSE, "KafkaUnavailable", "no answer")
    assert found["Reconciling"].truth is Truth.TRUE


@pytest.mark.parametrize("reason", sorted(STALLED, key=str))
def test_what_waiting_does_not_mend_is_stalled_and_not_reconciling(reason: Reason) -> None:
    for outcome in (
        Outcome(Verdict(reason, "m"), PINNED, replicas=replicas()),
        Outcome(BOUND, PINNED, problem=Verdict(reason, "m")),
    ):
        found = conditions(outcome)
        assert (found["Stalled"].truth, found["Stalled"].reason) == (Truth.TRUE, reason.value)
        assert found["Reconciling"].truth is Truth.FALSE
        assert (found["Ready"].truth, found["Ready"].message) == (Truth.FALSE, "m")


def led(leadership: Leadership, **changes: object) -> Outcome:
    found = replace(replicas(), leadership=leadership, **changes)  # type: ignore[arg-type]  # fields of several types
    return Outcome(BOUND, PINNED, replicas=found, wants_leader=True)


def test_a_store_with_a_leader_names_it() -> None:
    outcome = led(Leadership(Leader("store-1", 7), is_told=True, refusal=""))
    found = conditions(outcome)
    assert found["LeaderElected"] == Condition("LeaderElected", Truth.TRUE, "Elected", "store-1 leads, term 7")
    assert found["Ready"].truth is Truth.TRUE
    status = build_status(build_resource_body(), IDENTITY, outcome, now=NOW)
    assert status["leader"] == {"name": "store-1", "term": 7}


def test_a_store_in_which_nobody_leads_is_not_ready_since_it_takes_no_writes() -> None:
    found = conditions(led(Leadership(None, is_told=True, refusal="")))
    assert (found["LeaderElected"].truth, found["Ready"].truth) == (Truth.FALSE, Truth.FALSE)
    assert found["Ready"].reason == "NoLeader"
    assert found["Reconciling"].truth is Truth.TRUE


def test_a_log_that_refuses_its_leaders_stalls_the_store_with_its_words() -> None:
    found = conditions(led(Leadership(None, is_told=True, refusal="the broker does not fence")))
    assert (found["Stalled"].truth, found["Stalled"].reason) == (Truth.TRUE, "LeadershipRefused")
    assert found["Ready"].message == "the broker does not fence"


def test_not_knowing_who_leads_is_no_reason_not_to_be_ready() -> None:
    found = conditions(led(Leadership(None, is_told=False, refusal="")))
    assert (found["LeaderElected"].truth, found["LeaderElected"].reason) == (Truth.UNKNOWN, "LeaderUnknown")
    assert found["Ready"].truth is Truth.TRUE
    unseen = conditions(Outcome(BOUND, PINNED, Verdict(Reason.KUBE_UNAVAILABLE, "m"), wants_leader=True))
    assert unseen["LeaderElected"].truth is Truth.UNKNOWN


def test_replicas_that_do_not_serve_are_told_before_a_leader_that_is_missing() -> None:
    outcome = led(Leadership(None, is_told=True, refusal=""), deployment=replicas(available=1).deployment)
    assert conditions(outcome)["Ready"].reason == "ReplicasNotReady"


def test_where_nobody_is_to_lead_there_is_no_such_condition() -> None:
    assert "LeaderElected" not in conditions(Outcome(BOUND, PINNED, replicas=replicas()))


def test_records_that_no_leader_wrote_are_told_and_the_topic_serves() -> None:
    found = conditions(led(Leadership(Leader("store-1", 7), is_told=True, refusal=""), foreign_records=2))
    assert (found["TopicReady"].truth, found["TopicReady"].reason) == (Truth.TRUE, "ForeignRecords")
    assert "2 records in it were written by somebody else" in found["TopicReady"].message
    assert found["Ready"].truth is Truth.TRUE
    leaderless = Outcome(BOUND, PINNED, replicas=replace(replicas(), foreign_records=2))
    assert conditions(leaderless)["TopicReady"].reason == "TopicBound"


def test_on_the_way_to_another_write_mode_the_store_is_reconciling_with_that_reason() -> None:
    outcome = Outcome(BOUND, PINNED, replicas=replace(replicas(), awaited_mode=WriteMode.LEADER), wants_leader=True)
    found = conditions(outcome)
    for type_, truth in (("Ready", Truth.FALSE), ("LeaderElected", Truth.FALSE), ("Reconciling", Truth.TRUE)):
        assert (found[type_].truth, found[type_].reason) == (truth, "WriteModeChanging")
    assert "writeMode Leader all replicas go through ReadOnly" in found["Ready"].message


def test_the_status_holds_counts_selector_topic_and_whole_seconds_of_lag() -> None:
    status = build_status(build_resource_body(), IDENTITY, Outcome(BOUND, PINNED, replicas=replicas(lag=7.9)), now=NOW)
    assert status["replicas"] == status["readyReplicas"] == 3
    assert status["selector"] == "app.kubernetes.io/component=replica,sharedlog.dev/cluster=store"
    assert status["topic"] == {"name": "demo.store", "id": "topic-1", "origin": "Created"}
    assert status["lagSeconds"] == 7
    assert status["observedGeneration"] == 1


@pytest.mark.parametrize(
    ("lags", "told"),
    [
        ([0.0, 1.2, 4.9, 0.3], [0, 0, 0, 0]),
        ([0.0, 5.1, 3.0, 7.4, 5.0, 2.4], [0, 5, 5, 5, 5, 0]),
        ([20.0, 29.0, 31.0, 30.0, 16.0, 15.0, 0.0], [20, 20, 31, 31, 31, 15, 0]),
    ],
)
def test_a_lag_that_comes_and_goes_a_little_is_told_once(lags: list[float], told: list[int]) -> None:
    status: Manifest = {}
    seen = []
    for lag in lags:
        outcome = Outcome(BOUND, PINNED, replicas=replicas(lag=lag))
        status = build_status(build_resource_body(status=status), IDENTITY, outcome, now=NOW)
        seen.append(status["lagSeconds"])
    assert seen == told


def test_no_words_are_so_many_that_the_crd_refuses_the_status() -> None:
    words = "m" * 100_000
    outcome = Outcome(Verdict(Reason.TOPIC_INCOMPATIBLE, words), None, plan=(words,) * 100)
    status: Manifest = build_status(build_resource_body(), IDENTITY, outcome, now=NOW)
    crd = yaml.safe_load((REPOSITORY / "crds/sharedlogkvs.sharedlog.dev.yaml").read_text())
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    message = fields["conditions"]["items"]["properties"]["message"]
    assert max(len(item["message"]) for item in status["conditions"]) == message["maxLength"]
    assert [len(change) for change in status["plan"]] == [fields["plan"]["items"]["maxLength"]] * fields["plan"][
        "maxItems"
    ]
    assert status["plan"][0].endswith("m...")
    again = build_status(build_resource_body(status=status), IDENTITY, outcome, now=LATER)
    assert again == status, "it comes to rest"


def test_a_condition_keeps_its_time_as_long_as_its_status_stands() -> None:
    def times(status: Manifest) -> dict[str, str]:
        return {item["type"]: item["lastTransitionTime"] for item in status["conditions"]}

    first = build_status(build_resource_body(), IDENTITY, Outcome(BOUND, PINNED, replicas=replicas()), now=NOW)
    body = build_resource_body(status=first)
    again = build_status(body, IDENTITY, Outcome(BOUND, PINNED, replicas=replicas()), now=LATER)
    assert again == first
    worse = build_status(body, IDENTITY, Outcome(BOUND, PINNED, replicas=replicas(available=0)), now=LATER)
    assert times(first)["Ready"] == "2026-01-02T03:04:05Z"
    assert times(worse)["Ready"] == "2026-01-02T04:00:00Z"
    assert times(worse)["TopicReady"] == "2026-01-02T03:04:05Z"


def test_what_was_not_looked_at_keeps_its_counts_and_its_topic() -> None:
    before = {
        "replicas": 3,
        "readyReplicas": 2,
        "lagSeconds": 1,
        "topic": {"name": "demo.store", "id": "topic-1", "origin": "Created"},
    }
    outcome = Outcome(None, None, problem=Verdict(Reason.INTERNAL_ERROR, "m"))
    status = build_status(build_resource_body(status=before), IDENTITY, outcome, now=NOW)
    assert (status["replicas"], status["readyReplicas"]) == (3, 2)
    assert status["topic"] == before["topic"]
    assert "lagSeconds" not in status


def test_a_new_resource_is_acknowledged_before_anything_is_known() -> None:
    status = build_progressing_status(build_resource_body(), IDENTITY, now=NOW)
    found = parse_conditions({"status": status})
    assert status["observedGeneration"] == 1
    assert {type_: condition.truth for type_, condition in found.items()} == {
        "Ready": Truth.UNKNOWN,
        "TopicReady": Truth.UNKNOWN,
        "Reconciling": Truth.TRUE,
        "Stalled": Truth.FALSE,
    }


def test_a_new_generation_leaves_ready_as_it_was_judged_so_that_no_waiter_is_told_too_early() -> None:
    settled = build_status(build_resource_body(), IDENTITY, Outcome(BOUND, PINNED, replicas=replicas()), now=NOW)
    changed = build_resource(metadata={"generation": 2}).identity
    status: Manifest = build_progressing_status(build_resource_body(status=settled), changed, now=LATER)
    by_type = {item["type"]: item for item in status["conditions"]}
    assert status["observedGeneration"] == 2
    assert by_type["Ready"]["observedGeneration"] == 1
    assert (by_type["Reconciling"]["status"], by_type["Reconciling"]["observedGeneration"]) == ("True", 2)
    assert status["topic"] == settled["topic"]
