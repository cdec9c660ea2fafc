"""Which topic a pass makes, takes, leaves, or no longer follows."""

import asyncio

import pytest

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.status import Truth, parse_conditions
from tests.support.operator_fakes import BROKER_DEFAULTS
from tests.support.operator_objects import build_resource_body
from tests.support.operator_world import World, failing, set_interference, settled

pytestmark = pytest.mark.asyncio

FIT = {
    **BROKER_DEFAULTS,
    "cleanup.policy": "compact",
    "min.insync.replicas": "2",
    "message.timestamp.type": "LogAppendTime",
}
ACCEPT = "sharedlog.dev/accept-topic-loss"


async def overtaken(**spec: object) -> World:
    """A world in which somebody else creates the topic between our look at it and our try to create it."""
    world = World()
    world.create(spec=spec)

    def overtake(moment: str) -> None:
        if moment == "before create_topic":
            world.kafka.add_topic("demo.store", replication_factor=3, config=FIT)

    set_interference(world, overtake)
    await world.reconcile()
    return world


async def test_a_crash_between_topic_and_pin_ends_in_the_same_topic() -> None:
    world = World()
    world.create()
    statuses = 0

    def crash(moment: str) -> None:
        nonlocal statuses
        statuses += moment == "before write_status"
        if statuses == 2:
            raise KubeUnavailable("cut off")

    set_interference(world, crash)
    with pytest.raises(KubeUnavailable):
        await world.reconcile()
    assert "topic" not in world.status
    assert world.deployment is None
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.status["topic"]["id"] == "id-1"
    assert world.kafka.created == 1
    assert "TopicAdopted" in world.event_reasons
    assert world.status["topic"]["origin"] == "Adopted"


async def test_a_topic_that_somebody_else_creates_just_before_us_is_adopted_and_never_deleted() -> None:
    world = await overtaken(topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    assert world.status["topic"]["origin"] == "Adopted"
    assert "TopicAdopted" in world.event_reasons
    assert "TopicCreated" not in world.event_reasons
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert world.event_reasons[-1] == "TopicKept"


async def test_a_topic_that_somebody_else_creates_just_before_us_is_left_alone_where_none_may_be_adopted() -> None:
    world = await overtaken(topic={"adoptionPolicy": "Never"})
    assert world.condition("TopicReady").reason == "TopicNotAdopted"
    assert "topic" not in world.status
    assert world.deployment is None


async def test_too_few_brokers_is_a_clear_condition() -> None:
    world = World(brokers=1)
    world.create()
    assert (await world.reconcile()).backs_off
    assert world.condition("Ready").reason == "NotEnoughBrokers"
    assert world.kafka.topics == {}


async def test_a_foreign_topic_that_does_not_fit_is_left_as_it_is() -> None:
    world = World()
    world.kafka.add_topic("demo.store")
    world.create()
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicIncompatible"
    assert world.kafka.topics["demo.store"].config == BROKER_DEFAULTS
    assert world.kube.children == {}
    assert "topic" not in world.status


async def test_a_lost_topic_is_not_created_again_and_the_replicas_stay() -> None:
    world = await settled()
    del world.kafka.topics["demo.store"]
    result = await world.reconcile()
    assert not result.backs_off
    assert world.kafka.topics == {}
    assert world.condition("Stalled").reason == "TopicLost"
    assert world.status["topic"]["id"] == "id-1"
    assert world.deployment is not None
    assert "apply_child" not in world.take_writes()


async def test_a_replaced_topic_is_not_followed() -> None:
    world = await settled()
    world.kafka.add_topic("demo.store")
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicReplaced"
    assert world.status["topic"]["id"] == "id-1"


async def test_a_lost_topic_is_made_anew_once_a_person_accepts_the_loss() -> None:
    world = await settled()
    del world.kafka.topics["demo.store"]
    world.annotate({ACCEPT: "id-0"})
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicLost", "that is the id of another topic"
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"] == {"name": "demo.store", "id": "id-2", "origin": "Created"}
    assert "id-2" in str(world.deployment)
    assert world.body["metadata"]["annotations"] == {}
    assert world.event_reasons[-3:] == ["TopicLossAccepted", "TopicCreated", "RollingOut"]


async def test_a_replaced_topic_is_adopted_once_a_person_accepts_the_loss_of_the_former() -> None:
    world = await settled()
    config = world.kafka.topics["demo.store"].config
    world.kafka.add_topic("demo.store", replication_factor=3, config=config)
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"] == {"name": "demo.store", "id": "id-2", "origin": "Adopted"}
    assert "TopicLossAccepted" in world.event_reasons


async def test_accepting_a_loss_that_is_none_loses_nothing_and_is_not_kept_for_later() -> None:
    world = await settled()
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"]["id"] == "id-1"
    assert world.body["metadata"]["annotations"] == {}
    del world.kafka.topics["demo.store"]
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicLost"


async def test_a_replaced_topic_that_does_not_fit_is_not_followed_even_so() -> None:
    world = await settled()
    world.kafka.add_topic("demo.store")
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicIncompatible"
    assert world.status["topic"]["id"] == "id-1"
    assert world.body["metadata"]["annotations"] == {ACCEPT: "id-1"}


async def test_settings_that_drift_are_set_back_and_told() -> None:
    world = await settled()
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "delete"})
    await world.reconcile()
    assert world.kafka.topics["demo.store"].config["cleanup.policy"] == "compact"
    assert "TopicReconfigured" in world.event_reasons


async def test_a_second_store_on_the_topic_of_another_is_stalled_and_changes_nothing_until_it_is_free() -> None:
    world = await settled()
    world.kube.put(build_resource_body(spec={"topic": {"name": "demo.store"}}, metadata={"name": "two", "uid": "two"}))
    world.take_writes()
    result = await world.reconciler.reconcile("demo", "two")
    assert result.backs_off
    second = world.kube.resources["demo", "two"]
    assert parse_conditions(second)["Stalled"].reason == "TopicClaimed"
    assert "that of SharedLogKV demo/store" in parse_conditions(second)["Ready"].message
    assert set(world.take_writes()) == {"write_status", "post_event"}
    world.kube.delete("demo", "store")
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


@pytest.mark.parametrize("end", ["deleted", "made ReadOnly"])
async def test_a_topic_that_is_free_again_is_waited_for_while_a_pod_of_the_former_store_may_write(end: str) -> None:
    world = await settled()
    world.add_pod("store-7f-1", ip="10.0.0.1", is_ready=True)
    world.kube.put(build_resource_body(spec={"topic": {"name": "demo.store"}}, metadata={"name": "two", "uid": "two"}))
    if end == "deleted":
        world.kube.delete("demo", "store")
    else:
        world.kube.change_spec("demo", "store", writeMode="ReadOnly")
    result = await world.reconciler.reconcile("demo", "two")
    assert result.backs_off
    second = parse_conditions(world.kube.resources["demo", "two"])
    assert second["Stalled"].reason == "TopicClaimed"
    assert "pod demo/store-7f-1 of SharedLogKV demo/store" in second["Ready"].message
    assert ("Deployment", "demo", "two") not in world.kube.children
    world.kube.pods.clear()
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


async def test_whoever_only_reads_waits_for_no_pod_of_another_store() -> None:
    world = await settled()
    world.add_pod("store-7f-1", ip="10.0.0.1", is_ready=True)
    spec = {"topic": {"name": "demo.store"}, "writeMode": "ReadOnly"}
    world.kube.put(build_resource_body(spec=spec, metadata={"name": "two", "uid": "two"}))
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


async def test_two_stores_that_are_looked_at_together_are_never_both_bound_to_one_topic() -> None:
    world = World()
    for name in ("a", "b"):
        world.kube.put(build_resource_body(spec={"topic": {"name": "one"}}, metadata={"name": name, "uid": name}))
    for order in ("ab", "ba"):
        await asyncio.gather(*(world.reconciler.reconcile("demo", name) for name in order))
    await world.reconciler.reconcile("demo", "a")
    bound = [name for name in ("a", "b") if "topic" in world.kube.resources["demo", name]["status"]]
    assert len(bound) == 1
    assert world.kafka.created == 1


async def test_a_namespace_that_refuses_does_not_keep_a_new_resource_from_its_topic() -> None:
    world = World()
    world.kube.refusing_namespaces = {"others"}
    world.create()
    await world.reconcile()
    assert world.status["topic"]["name"] == "demo.store"


async def test_a_topic_that_is_there_is_not_taken_while_a_namespace_refuses_to_show_who_else_may_have_it() -> None:
    world = World()
    world.kafka.add_topic("demo.store", replication_factor=3, config=FIT)
    world.kube.refusing_namespaces = {"others"}
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    topic = world.condition("TopicReady")
    assert (topic.truth, topic.reason) == (Truth.UNKNOWN, "KubeUnavailable")
    assert "others" in topic.message
    world.kube.refusing_namespaces = set()
    await world.reconcile()
    assert world.status["topic"]["origin"] == "Adopted"


@pytest.mark.parametrize("error", [KubeRefused("sharedlogkvs is forbidden"), KubeUnavailable("try later")])
async def test_a_resource_that_is_not_bound_says_why_the_others_can_t_be_listed(error: Exception) -> None:
    world = World(interfere=failing("list_resources", error))
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    topic = world.condition("TopicReady")
    assert (topic.truth, topic.reason, topic.message) == (Truth.UNKNOWN, "KubeUnavailable", str(error))
    assert world.condition("Ready").reason == "KubeUnavailable"
    assert world.kafka.topics == {}
