"""Passes that change nothing: a paused resource, and the plan of what would change, among fakes."""

import pytest

from sharedlogkv_operator.errors import KafkaRefused, KafkaUnavailable, KubeRefused
from sharedlogkv_operator.status import Truth
from tests.support.operator_world import World

pytestmark = pytest.mark.asyncio

PAUSED, PLAN = "sharedlog.dev/paused", "sharedlog.dev/plan"


async def serving(**arguments: object) -> World:
    """A Ready store."""
    world = World()
    world.create(**arguments)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    world.take_writes()
    return world


def failing(world: World, call: str, error: Exception) -> None:
    def interfere(moment: str) -> None:
        if moment == f"before {call}":
            raise error

    world.kube.interfere = world.kafka.interfere = interfere


async def test_a_paused_store_that_is_as_it_should_be_stays_ready() -> None:
    world = await serving()
    world.annotate({PAUSED: "true"})
    await world.reconcile()
    assert (world.condition("Paused").truth, world.condition("Paused").reason) == (Truth.TRUE, "Paused")
    assert world.condition("Ready").truth is Truth.TRUE
    assert world.condition("Reconciling").truth is Truth.FALSE
    assert world.take_writes() == ["write_status"]
    await world.reconcile()
    assert world.take_writes() == []


async def test_a_paused_store_is_not_changed_and_says_that_changes_wait() -> None:
    world = await serving()
    world.annotate({PAUSED: "true"})
    world.kube.change_spec("demo", "store", replicas=5)
    del world.kube.children["Service", "demo", "store"]
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "compact,delete"})
    await world.reconcile()
    assert set(world.take_writes()) <= {"write_status", "post_event", "alter_topic"}
    assert world.kafka.topics["demo.store"].config["cleanup.policy"] == "compact,delete"
    assert (world.condition("Ready").truth, world.condition("Ready").reason) == (Truth.FALSE, "Paused")
    assert world.condition("Ready").message.startswith("3 changes wait to be carried out")
    assert "plan" not in world.status
    world.body["metadata"]["annotations"].clear()
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 5
    assert "Paused" not in {item["type"] for item in world.status["conditions"]}


@pytest.mark.parametrize("value", ["false", "", "yes"])
async def test_only_the_value_true_pauses(value: str) -> None:
    world = await serving()
    world.annotate({PAUSED: value, PLAN: value})
    world.kube.change_spec("demo", "store", replicas=5)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 5


async def test_a_plan_tells_every_change_and_makes_none() -> None:
    world = await serving()
    world.annotate({PLAN: "true"})
    delete = {**world.body["spec"]["topic"], "reclaimPolicy": "Delete", "allowDataLoss": True}
    world.kube.change_spec("demo", "store", replicas=1, image="other:2", topic=delete)
    del world.kube.children["Service", "demo", "store"]
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "compact,delete"})
    world.take_writes()
    await world.reconcile()
    image = 'spec.template.spec.containers[0].image: "image:1" -> "other:2"'
    assert world.status["plan"] == [
        "set the finalizer sharedlog.dev/topic",
        "set on topic demo.store: cleanup.policy=compact",
        f"change Deployment store: spec.replicas: 3 -> 1; {image}",
        "create Service store",
        "delete PodDisruptionBudget",
    ]
    assert set(world.take_writes()) == {"write_status", "post_event"}
    assert world.condition("Paused").reason == "Planning"
    world.body["metadata"]["annotations"].clear()
    await world.reconcile()
    assert "plan" not in world.status
    assert ("PodDisruptionBudget", "demo", "store") not in world.kube.children


async def test_the_plan_of_a_new_store_is_its_topic_and_its_children() -> None:
    world = World()
    world.create(spec={"writeMode": "Leader"}, metadata={"annotations": {PLAN: "true"}})
    await world.reconcile()
    plan = world.status["plan"]
    assert plan[0].startswith("create topic demo.store: 1 partition, replication factor 3, cleanup.policy=compact")
    assert plan[1:] == [
        "create Secret store-peers",
        "create Deployment store",
        "create Service store",
        "create PodDisruptionBudget store",
    ]
    assert world.kafka.topics == {}
    assert world.kube.children == {}
    assert world.condition("TopicReady").truth is Truth.UNKNOWN


async def test_the_plan_where_a_topic_would_be_adopted_says_so() -> None:
    world = await serving()
    world.kube.delete("demo", "store")
    world.create(metadata={"annotations": {PLAN: "true"}})
    await world.reconcile()
    assert world.status["plan"][0] == "adopt topic demo.store, id id-1"
    assert "topic" not in world.status


async def test_a_store_with_nothing_to_change_has_an_empty_plan() -> None:
    world = await serving(metadata={"annotations": {}})
    world.annotate({PLAN: "true"})
    await world.reconcile()
    assert world.status["plan"] == []
    assert world.condition("Ready").truth is Truth.TRUE


async def test_what_the_secret_holds_is_in_no_plan() -> None:
    world = await serving(spec={"writeMode": "Leader"})
    world.kube.children["Secret", "demo", "store-peers"]["metadata"]["labels"] = {}
    world.annotate({PLAN: "true"})
    await world.reconcile()
    assert world.status["plan"] == ["change Secret store-peers"]


async def test_a_field_that_is_no_longer_wanted_is_in_the_plan() -> None:
    world = await serving(spec={"podTemplate": {"labels": {"team": "a"}}})
    world.annotate({PLAN: "true"})
    world.kube.change_spec("demo", "store", podTemplate={})
    await world.reconcile()
    assert world.status["plan"] == ["change Deployment store: fields that are no longer wanted go"]


@pytest.mark.parametrize(
    ("error", "reason"), [(KafkaUnavailable("no answer"), "KafkaUnavailable"), (KafkaRefused("no"), "KafkaRefused")]
)
async def test_trouble_with_kafka_is_told_while_paused(error: Exception, reason: str) -> None:
    world = await serving()
    world.annotate({PAUSED: "true"})
    failing(world, "describe_topic", error)
    await world.reconcile()
    assert world.condition("Ready").reason == reason
    assert world.status["readyReplicas"] == 3


async def test_trouble_with_the_topic_is_told_while_paused() -> None:
    world = await serving()
    world.annotate({PLAN: "true"})
    del world.kafka.topics["demo.store"]
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicLost"
    assert world.status["topic"]["id"] == "id-1"


async def test_other_resources_that_can_t_be_listed_are_told_while_paused() -> None:
    world = World()
    world.create(metadata={"annotations": {PAUSED: "true"}})
    failing(world, "list_resources", KubeRefused("forbidden"))
    await world.reconcile()
    assert world.condition("TopicReady").message == "forbidden"
    assert set(world.take_writes()) == {"write_status", "post_event"}


async def test_children_that_can_t_be_read_are_told_while_paused() -> None:
    world = await serving()
    world.annotate({PAUSED: "true"})
    failing(world, "get_child", KubeRefused("forbidden"))
    await world.reconcile()
    assert world.condition("Ready").message == "forbidden"


async def test_a_child_of_somebody_else_is_in_the_plan() -> None:
    world = World()
    metadata = {"namespace": "demo", "name": "store", "uid": "x", "generation": 1, "resourceVersion": "1"}
    world.kube.children["Service", "demo", "store"] = {"kind": "Service", "metadata": metadata, "spec": {}}
    world.create(metadata={"annotations": {PLAN: "true"}})
    await world.reconcile()
    assert "Service store exists and belongs to somebody else" in world.status["plan"][-1]


async def test_a_paused_store_can_be_deleted() -> None:
    world = await serving(spec={"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}})
    world.annotate({PAUSED: "true"})
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert world.kafka.topics == {}
