"""Which events a reconcile is worth."""

from datetime import UTC, datetime

from sharedlogkv_operator.events import Event, build_event, derive_events
from sharedlogkv_operator.status import Condition, Truth
from tests.support.operator_objects import build_resource

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pair(ready: Condition, topic: Condition) -> dict[str, Condition]:
    return {"Ready": ready, "TopicReady": topic}


def ready(truth: Truth, reason: str, message: str = "") -> Condition:
    return Condition("Ready", truth, reason, message)


def topic(truth: Truth, reason: str, message: str = "") -> Condition:
    return Condition("TopicReady", truth, reason, message)


BEGIN = pair(ready(Truth.UNKNOWN, "Progressing"), topic(Truth.UNKNOWN, "Progressing"))
BOUND = topic(Truth.TRUE, "TopicBound", "bound")


def test_standing_still_is_worth_no_event_even_if_the_message_counts() -> None:
    before = pair(ready(Truth.FALSE, "ReplicasNotReady", "1 of 3"), BOUND)
    assert derive_events(before, [ready(Truth.FALSE, "ReplicasNotReady", "2 of 3"), BOUND]) == ()


def test_progress_is_normal() -> None:
    events = derive_events(BEGIN, [ready(Truth.FALSE, "ReplicasNotReady", "0 of 3"), BOUND])
    assert events == (Event(False, "TopicBound", "bound"), Event(False, "ReplicasNotReady", "0 of 3"))


def test_losing_replicas_of_a_ready_store_is_a_warning() -> None:
    before = pair(ready(Truth.TRUE, "Serving"), BOUND)
    assert derive_events(before, [ready(Truth.FALSE, "ReplicasNotReady", "2 of 3"), BOUND]) == (
        Event(True, "ReplicasNotReady", "2 of 3"),
    )


def test_trouble_with_the_topic_is_told_once_not_twice() -> None:
    trouble = [ready(Truth.FALSE, "TopicLost", "gone"), topic(Truth.FALSE, "TopicLost", "gone")]
    assert derive_events(BEGIN, trouble) == (Event(True, "TopicLost", "gone"),)


def test_losing_the_leader_is_told_once_and_finding_one_too() -> None:
    elected, none = (
        Condition("LeaderElected", *rest)
        for rest in ((Truth.TRUE, "Elected", "a leads"), (Truth.FALSE, "NoLeader", "m"))
    )
    serving, stuck = ready(Truth.TRUE, "Serving"), ready(Truth.FALSE, "NoLeader", "m")
    before = {**pair(serving, BOUND), "LeaderElected": elected}
    assert derive_events(before, [stuck, BOUND, none]) == (Event(True, "NoLeader", "m"),)
    after = {**pair(stuck, BOUND), "LeaderElected": none}
    assert derive_events(after, [serving, BOUND, elected]) == (
        Event(False, "Elected", "a leads"),
        Event(False, "Serving", ""),
    )


def test_not_knowing_who_leads_is_worth_no_event() -> None:
    unknown = Condition("LeaderElected", Truth.UNKNOWN, "LeaderUnknown", "")
    standing = ready(Truth.TRUE, "Serving")
    assert derive_events(pair(standing, BOUND), [standing, BOUND, unknown]) == ()


def test_that_work_begins_is_worth_no_event() -> None:
    assert derive_events({}, list(BEGIN.values())) == ()


def test_the_same_event_has_the_same_name_and_another_one_another() -> None:
    identity = build_resource().identity

    def name(event: Event) -> str:
        metadata = build_event(event, identity, now=NOW, instance="op-1")["metadata"]
        assert isinstance(metadata, dict)
        return str(metadata["name"])

    assert name(Event(False, "Serving", "a")) == name(Event(False, "Serving", "a"))
    assert name(Event(False, "Serving", "a")) != name(Event(False, "Serving", "b"))
    assert name(Event(False, "Serving", "a")).startswith("store.")


def test_a_message_is_cut_to_what_the_api_server_takes() -> None:
    event = build_event(Event(True, "TopicLost", "x" * 5000), build_resource().identity, now=NOW, instance="op-1")
    assert len(str(event["message"])) == 1024
