"""What is done about a topic: the rules of `topic.decide_topic`, one by one."""

from typing import Any

import pytest

from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.topic import (
    CREATION_DEFAULTS,
    OWNED_SETTINGS,
    CreateTopic,
    ObservedTopic,
    RefuseTopic,
    TopicDecision,
    UseTopic,
    decide_topic,
    find_bound_id,
)
from tests.support.operator_objects import Manifest, build_resource, build_topic


def decide(
    observed: ObservedTopic | None, *, pinned_id: str | None = None, brokers: int = 3, **spec: object
) -> TopicDecision:
    return decide_topic(build_resource(spec=spec).spec, observed, pinned_id=pinned_id, broker_count=brokers)


def topic(*, spec: Manifest | None = None, **changes: Any) -> ObservedTopic:
    return build_topic(build_resource(spec=spec or {}), **changes)


def refusal(decision: TopicDecision) -> RefuseTopic:
    assert isinstance(decision, RefuseTopic)
    return decision


def use(decision: TopicDecision) -> UseTopic:
    assert isinstance(decision, UseTopic)
    return decision


def test_an_absent_topic_is_created_with_defaults_that_the_spec_overrides() -> None:
    decision = decide(None, topic={"config": {"segment.ms": "60000", "compression.type": "zstd"}})
    assert isinstance(decision, CreateTopic)
    assert (decision.name, decision.replication_factor) == ("demo.store", 3)
    assert decision.config == {
        **CREATION_DEFAULTS,
        **OWNED_SETTINGS,
        "min.insync.replicas": "2",
        "segment.ms": "60000",
        "compression.type": "zstd",
    }


def test_a_topic_just_created_is_fit_and_needs_no_alteration() -> None:
    decision = use(decide(topic()))
    assert decision.adopted
    assert decision.alterations == {}
    assert decision.reason is Reason.TOPIC_BOUND


def test_more_replicas_than_there_are_brokers_is_refused_with_both_numbers() -> None:
    refused = refusal(decide(None, brokers=1))
    assert refused.reason is Reason.NOT_ENOUGH_BROKERS
    assert "replicationFactor is 3" in refused.message
    assert "1 broker up" in refused.message
    assert "2 brokers up" in refusal(decide(None, brokers=2)).message


def test_a_read_only_store_waits_for_its_topic_instead_of_creating_it() -> None:
    assert refusal(decide(None, writeMode="ReadOnly")).reason is Reason.TOPIC_ABSENT


def test_a_pinned_topic_that_is_gone_is_never_created_again() -> None:
    refused = refusal(decide(None, pinned_id="topic-1"))
    assert refused.reason is Reason.TOPIC_LOST
    assert "topic-1" in refused.message


def test_a_pinned_topic_of_that_name_with_another_id_is_never_followed() -> None:
    refused = refusal(decide(topic(id="topic-2"), pinned_id="topic-1"))
    assert refused.reason is Reason.TOPIC_REPLACED
    assert "topic-1" in refused.message
    assert "topic-2" in refused.message


def test_every_difference_of_a_foreign_topic_is_told_with_the_command_that_mends_it() -> None:
    foreign = ObservedTopic(
        id="x",
        partitions=3,
        replication_factor=1,
        config={"cleanup.policy": "delete", "min.insync.replicas": "1", "message.timestamp.type": "CreateTime"},
    )
    refused = refusal(decide(foreign, topic={"config": {"segment.ms": "60000"}}))
    assert refused.reason is Reason.TOPIC_INCOMPATIBLE
    for difference in (
        "partitions: is 3, must be 1",
        "cleanup.policy: is delete, must be compact",
        "replication factor: is 1, must be 3 or more",
        "min.insync.replicas: is 1, must be 2 or more",
        "message.timestamp.type: is CreateTime, must be LogAppendTime",
        "unclean.leader.election.enable: is unset, must be false",
        "segment.ms: is unset, must be 60000",
    ):
        assert difference in refused.message
    assert (
        "kafka-configs.sh --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name demo.store "
        "--add-config 'cleanup.policy=compact,min.insync.replicas=2,segment.ms=60000,"
        "message.timestamp.type=LogAppendTime,unclean.leader.election.enable=false'" in refused.message
    )


def test_a_topic_whose_records_bear_their_writers_times_is_not_led_on() -> None:
    refused = refusal(decide(topic(config={"message.timestamp.type": "CreateTime"}), writeMode="Leader"))
    assert "message.timestamp.type: is CreateTime, must be LogAppendTime" in refused.message


def test_no_command_is_offered_where_none_helps() -> None:
    refused = refusal(decide(topic(partitions=2)))
    assert "partitions: is 2, must be 1" in refused.message
    assert "kafka-configs.sh" not in refused.message


def test_a_value_with_commas_is_put_in_the_brackets_that_kafka_s_tool_wants() -> None:
    wanted = {"config": {"follower.replication.throttled.replicas": "0:1,0:2"}}
    assert "follower.replication.throttled.replicas=[0:1,0:2]" in refusal(decide(topic(), topic=wanted)).message


def test_compact_and_delete_is_not_compact() -> None:
    refused = refusal(decide(topic(config={"cleanup.policy": "compact,delete"})))
    assert "cleanup.policy: is compact,delete, must be compact" in refused.message


def test_a_topic_that_promises_more_than_the_spec_is_adopted_and_left_so() -> None:
    better = topic(replication_factor=5, config={"min.insync.replicas": "3"})
    decision = use(decide(better))
    assert decision.alterations == {}
    assert "min.insync.replicas is 3, more than the spec asks" in decision.message


def test_a_read_only_store_takes_any_compacted_topic_of_one_partition_and_alters_nothing() -> None:
    foreign = topic(replication_factor=1, config={"min.insync.replicas": "1", "message.timestamp.type": "CreateTime"})
    decision = use(decide(foreign, writeMode="ReadOnly", topic={"config": {"segment.ms": "1"}}))
    assert decision.alterations == {}
    assert use(decide(foreign, pinned_id="topic-1", writeMode="ReadOnly")).alterations == {}


@pytest.mark.parametrize("pinned_id", [None, "topic-1"])
def test_a_read_only_store_refuses_a_topic_that_is_not_compacted(pinned_id: str | None) -> None:
    foreign = topic(config={"cleanup.policy": "delete"})
    refused = refusal(decide(foreign, pinned_id=pinned_id, writeMode="ReadOnly"))
    assert refused.reason is Reason.TOPIC_INCOMPATIBLE


@pytest.mark.parametrize("mode", ["Leader", "Leaderless"])
def test_settings_of_the_pinned_topic_that_drifted_are_set_back_and_no_others(mode: str) -> None:
    drifted = topic(
        config={
            "cleanup.policy": "delete",
            "min.insync.replicas": "1",
            "message.timestamp.type": "CreateTime",
            "segment.ms": "1",
            "delete.retention.ms": "1",
        }
    )
    wanted = {"config": {"segment.ms": "60000"}}
    decision = use(decide(drifted, pinned_id="topic-1", topic=wanted, writeMode=mode))
    assert not decision.adopted
    assert decision.alterations == {
        "cleanup.policy": "compact",
        "min.insync.replicas": "2",
        "message.timestamp.type": "LogAppendTime",
        "segment.ms": "60000",
    }


def test_partitions_added_to_the_pinned_topic_can_t_be_undone_and_are_told() -> None:
    refused = refusal(decide(topic(partitions=2), pinned_id="topic-1"))
    assert refused.reason is Reason.TOPIC_INCOMPATIBLE


def test_a_pinned_topic_on_too_few_brokers_serves_and_says_so() -> None:
    decision = use(decide(topic(replication_factor=2), pinned_id="topic-1"))
    assert decision.reason is Reason.REPLICATION_FACTOR_LOW
    assert "its replication factor is 2, not 3" in decision.message


def test_too_few_copies_are_told_with_the_command_that_makes_more() -> None:
    command = (
        """echo '{"version":1,"partitions":[{"topic":"demo.store","partition":0,"replicas":[ID1,ID2,ID3]}]}' """
        "> copies.json; "
        "kafka-reassign-partitions.sh --bootstrap-server kafka:9092 --reassignment-json-file copies.json --execute"
    )
    few = topic(replication_factor=2)
    assert command in use(decide(few, pinned_id="topic-1")).message
    assert command in refusal(decide(few)).message


@pytest.mark.parametrize(("copies", "at_least"), [(1, None), (2, "2")])
def test_a_pinned_topic_is_never_made_to_demand_more_copies_than_it_has(copies: int, at_least: str | None) -> None:
    observed = topic(replication_factor=copies, config={**topic().config, "min.insync.replicas": "1"})
    spec = {"replicationFactor": 5, "minInSyncReplicas": 3}
    assert use(decide(observed, pinned_id="topic-1", topic=spec)).alterations.get("min.insync.replicas") == at_least


@pytest.mark.parametrize(
    ("actual", "wanted"),
    [("0.50", "0.5"), ("TRUE", "true"), ("a, b", "a,b"), ("86400000", "86400000")],
)
def test_the_same_value_in_another_notation_is_no_difference(actual: str, wanted: str) -> None:
    observed = topic(config={"key": actual})
    assert use(decide(observed, pinned_id="topic-1", topic={"config": {"key": wanted}})).alterations == {}


def test_a_topic_that_was_there_is_not_used_where_that_is_forbidden() -> None:
    refused = refusal(decide(topic(), topic={"adoptionPolicy": "Never"}))
    assert refused.reason is Reason.TOPIC_NOT_ADOPTED
    assert "id topic-1, and topic.adoptionPolicy is Never" in refused.message


def test_a_topic_that_we_have_just_created_is_used_whatever_the_policy() -> None:
    spec = build_resource(spec={"topic": {"adoptionPolicy": "Never"}}).spec
    decision = use(decide_topic(spec, topic(), pinned_id=None, broker_count=3, is_created=True))
    assert not decision.adopted


def test_those_that_only_read_take_their_topic_whatever_the_policy() -> None:
    use(decide(topic(), writeMode="ReadOnly", topic={"adoptionPolicy": "Never"}))


def test_a_topic_is_always_adopted_where_that_is_wanted_and_then_set_right() -> None:
    foreign = topic(replication_factor=2, config={"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"})
    decision = use(decide(foreign, topic={"adoptionPolicy": "Always"}))
    assert decision.adopted
    assert decision.alterations == {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    assert decision.reason is Reason.REPLICATION_FACTOR_LOW


def test_a_topic_of_several_partitions_is_never_adopted() -> None:
    refused = refusal(decide(topic(partitions=2), topic={"adoptionPolicy": "Always"}))
    assert refused.reason is Reason.TOPIC_INCOMPATIBLE


def test_settings_that_drifted_are_only_told_where_that_is_wanted_with_the_command_that_sets_them_right() -> None:
    drifted = topic(config={"segment.ms": "1", "min.insync.replicas": "1"})
    wanted = {"driftPolicy": "Warn", "config": {"segment.ms": "60000"}}
    decision = use(decide(drifted, pinned_id="topic-1", topic=wanted))
    assert decision.alterations == {}
    assert decision.reason is Reason.TOPIC_DRIFTED
    assert "segment.ms: is 1, must be 60000" in decision.message
    assert "--add-config 'min.insync.replicas=2,segment.ms=60000'" in decision.message


def test_nothing_drifted_is_nothing_to_tell() -> None:
    assert use(decide(topic(), pinned_id="topic-1", topic={"driftPolicy": "Warn"})).reason is Reason.TOPIC_BOUND


def test_settings_without_which_no_promise_holds_are_refused_where_they_may_not_be_set_right() -> None:
    drifted = topic(config={"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"})
    refused = refusal(decide(drifted, pinned_id="topic-1", topic={"driftPolicy": "Warn"}))
    assert refused.reason is Reason.TOPIC_INCOMPATIBLE
    assert "'cleanup.policy=compact,message.timestamp.type=LogAppendTime'" in refused.message


@pytest.mark.parametrize(
    ("accepted", "observed", "expected"),
    [
        ("topic-1", None, True),
        ("topic-1", "topic-2", True),
        ("topic-1", "topic-1", False),
        ("topic-2", "topic-2", False),
        (None, None, False),
    ],
    ids=["lost", "replaced", "there", "of another id", "not asked"],
)
def test_a_loss_is_accepted_for_the_very_topic_that_is_lost(
    accepted: str | None, observed: str | None, expected: bool
) -> None:
    found = None if observed is None else topic(id=observed)
    annotations = {} if accepted is None else {"sharedlog.dev/accept-topic-loss": accepted}
    status = {"topic": {"name": "demo.store", "id": "topic-1", "origin": "Created"}}
    resource = build_resource(metadata={"annotations": annotations}, status=status)
    assert find_bound_id(resource, found) == (None if expected else "topic-1")
    assert find_bound_id(build_resource(metadata={"annotations": annotations}), found) is None
