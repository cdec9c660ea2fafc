"""What becomes of a resource that is deleted, and of its topic: the finalizer, and its deadline."""

import pytest

from sharedlogkv_operator.errors import KafkaBusy, KafkaUnavailable, KubeRefused
from tests.support.operator_objects import build_resource_body
from tests.support.operator_world import World, failing, set_interference, settled

pytestmark = pytest.mark.asyncio

DELETE = {"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}}
FINALIZER = "sharedlog.dev/topic"


async def test_deletion_never_takes_a_topic_that_another_store_uses() -> None:
    world = await settled(spec=DELETE)
    reader = build_resource_body(
        spec={"topic": {"name": "demo.store"}, "writeMode": "ReadOnly"},
        metadata={"name": "reader", "uid": "reader"},
        status={"topic": {"name": "demo.store", "id": "id-1", "origin": "Adopted"}},
    )
    world.kube.put(reader)
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "demo/reader uses it too" in world.last_event["message"]


async def test_the_finalizer_is_there_before_the_topic_that_it_answers_for() -> None:
    world = World()
    world.create(spec=DELETE)
    await world.reconcile()
    writes = world.take_writes()
    assert writes.index("write_finalizers") < writes.index("create_topic")
    assert world.body["metadata"]["finalizers"] == [FINALIZER]


async def test_the_finalizer_goes_when_the_policy_goes_back_and_others_stay() -> None:
    world = await settled(spec=DELETE, metadata={"finalizers": ["other"]})
    assert world.body["metadata"]["finalizers"] == ["other", FINALIZER]
    topic = world.body["spec"]["topic"]
    world.kube.change_spec("demo", "store", topic={**topic, "reclaimPolicy": "Retain"})
    await world.reconcile()
    assert world.body["metadata"]["finalizers"] == ["other"]


async def test_deletion_keeps_the_topic_by_default() -> None:
    world = await settled()
    world.kube.delete("demo", "store")
    assert world.is_gone()
    result = await world.reconcile()
    assert result.conditions is None
    assert world.take_writes() == []
    assert "demo.store" in world.kafka.topics


async def test_deletion_never_takes_a_topic_that_was_there_before_the_resource() -> None:
    world = await settled()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    world.create(spec=DELETE)
    await world.reconcile()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "TopicKept" in world.event_reasons


async def test_deletion_takes_the_topic_along_where_that_was_asked_for() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    assert not world.is_gone()
    await world.reconcile()
    assert world.is_gone()
    assert world.kafka.topics == {}
    assert "TopicDeleted" in world.event_reasons


async def test_deletion_never_takes_a_topic_with_another_id() -> None:
    world = await settled(spec=DELETE)
    await world.kafka.delete_topic("demo.store")
    world.kafka.add_topic("demo.store")
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "TopicKept" in world.event_reasons


async def test_deletion_of_a_resource_whose_topic_is_gone_already_just_ends() -> None:
    world = await settled(spec=DELETE)
    await world.kafka.delete_topic("demo.store")
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()


async def test_deletion_of_a_resource_that_never_had_a_topic_asks_no_kafka() -> None:
    world = World(interfere=failing("lease", KafkaUnavailable("down")))
    world.create(spec=DELETE)
    await world.reconcile()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()


async def test_a_policy_taken_back_during_deletion_keeps_the_topic() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    topic = world.body["spec"]["topic"]
    world.kube.change_spec("demo", "store", topic={**topic, "reclaimPolicy": "Retain"})
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics


async def test_a_dead_kafka_holds_a_deletion_up_for_two_minutes_and_no_longer() -> None:
    world = await settled(spec=DELETE)
    set_interference(world, failing("lease", KafkaUnavailable("no answer")))
    world.kube.delete("demo", "store")
    result = await world.reconcile()
    assert result.after_seconds == 5
    assert world.condition("Ready").reason == "Deleting"
    assert "no answer" in world.condition("Ready").message
    world.wait(119)
    await world.reconcile()
    assert not world.is_gone()
    world.wait(2)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons


async def test_a_deletion_that_comes_late_to_kafka_still_gets_its_two_minutes() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    world.wait(600)  # the operator was away
    set_interference(world, failing("lease", KafkaBusy("others are busy with it")))
    await world.reconcile()
    assert not world.is_gone()
    set_interference(world, failing("lease", KafkaUnavailable("no answer")))
    await world.reconcile()
    assert not world.is_gone()
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.is_gone()
    assert world.kafka.topics == {}


async def test_a_deletion_is_not_given_up_because_others_are_busy_with_kafka() -> None:
    world = await settled(spec=DELETE)
    set_interference(world, failing("lease", KafkaBusy("others are busy with it")))
    world.kube.delete("demo", "store")
    for _ in range(3):
        result = await world.reconcile()
        assert (result.after_seconds, result.was_tried) == (1, False)
        world.wait(600)
    assert not world.is_gone()
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.kafka.topics == {}


async def test_a_namespace_that_refuses_holds_a_deletion_up_for_two_minutes_and_then_the_topic_stays() -> None:
    world = await settled(spec=DELETE)
    world.kube.refusing_namespaces = {"others"}  # whose resource may use the topic
    world.kube.delete("demo", "store")
    result = await world.reconcile()
    assert result.after_seconds == 5
    assert "forbidden in the namespace others" in world.condition("Ready").message
    world.wait(121)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons
    assert "demo.store" in world.kafka.topics


async def test_a_resource_that_can_t_be_read_does_not_hold_its_deletion_up_for_ever() -> None:
    world = await settled(spec=DELETE)
    world.body["spec"]["writeMode"] = "OfALaterVersion"
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert not world.is_gone()
    world.wait(121)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons


async def test_a_bug_does_not_hold_a_deletion_up_for_ever() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    world.wait(600)  # the operator was away
    bug = ZeroDivisionError("division by zero")
    await world.reconciler.report_bug("demo", "store", bug)
    assert world.condition("Stalled").reason == "InternalError"
    world.wait(119)
    await world.reconciler.report_bug("demo", "store", bug)
    assert not world.is_gone()
    world.wait(2)
    await world.reconciler.report_bug("demo", "store", bug)
    assert world.is_gone()
    assert "given up after 120 s, the topic stays: a bug" in world.last_event["message"]
    assert "demo.store" in world.kafka.topics


async def test_a_finalizer_that_may_not_be_set_is_told_and_no_topic_is_made_without_it() -> None:
    world = World(interfere=failing("write_finalizers", KubeRefused("denied by the policy")))
    world.create(spec=DELETE)
    result = await world.reconcile()
    assert result.backs_off
    assert (world.condition("Stalled").reason, world.condition("Stalled").message) == (
        "ChildRefused",
        "the finalizer sharedlog.dev/topic can't be changed: denied by the policy",
    )
    assert world.kafka.topics == {}
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.body["metadata"]["finalizers"] == [FINALIZER]
    assert "demo.store" in world.kafka.topics


async def test_a_finalizer_that_may_not_be_taken_off_is_told() -> None:
    world = await settled(spec=DELETE)
    set_interference(world, failing("write_finalizers", KubeRefused("denied by the policy")))
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.condition("Stalled").reason == "ChildRefused"
    assert "denied by the policy" in world.condition("Ready").message
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.is_gone()


async def test_a_resource_held_by_somebody_else_s_finalizer_says_so() -> None:
    world = await settled(metadata={"finalizers": ["other"]})
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.condition("Ready").message == "waiting for other finalizers"
    assert world.body["metadata"]["finalizers"] == ["other"]
