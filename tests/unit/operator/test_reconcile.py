"""What one pass does, among fakes: its order, its idempotence, and trouble that is nobody's in particular."""

import pytest

from sharedlogkv_operator.errors import KubeRefused
from sharedlogkv_operator.status import Truth
from tests.support.operator_world import World, failing, set_interference, settled

pytestmark = pytest.mark.asyncio

DELETE = {"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}}
LEADER = {"writeMode": "Leader"}


async def test_a_new_resource_gets_its_topic_then_its_pin_then_its_children() -> None:
    world = World()
    world.create()
    await world.reconcile()
    writes = [call for call in world.take_writes() if call != "post_event"]
    assert writes == [
        "write_status",  # acknowledged
        "create_topic",
        "write_status",  # pinned
        "apply_child",
        "apply_child",
        "apply_child",
        "write_status",
    ]
    assert world.status["topic"] == {"name": "demo.store", "id": "id-1", "origin": "Created"}
    assert world.deployment is not None
    environment = world.deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "SLKV_REPLICA_TOPIC_ID", "value": "id-1"} in environment
    assert world.event_reasons == ["TopicCreated", "ReplicasNotReady"]
    assert "finalizers" not in world.body["metadata"]


async def test_a_settled_resource_is_looked_at_without_writing_anything() -> None:
    world = await settled()
    version = world.body["metadata"]["resourceVersion"]
    result = await world.reconcile()
    assert world.take_writes() == []
    assert world.body["metadata"]["resourceVersion"] == version
    assert (result.backs_off, result.after_seconds) == (False, None)


async def test_a_change_of_the_spec_is_carried_out_and_ready_again_when_the_replicas_are() -> None:
    world = await settled()
    world.kube.change_spec("demo", "store", replicas=5)
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.FALSE
    assert world.status["observedGeneration"] == 2
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").message == "5 replicas serve"


async def test_a_suspended_store_runs_no_replica_keeps_its_topic_and_wakes_again() -> None:
    world = await settled()
    world.kube.change_spec("demo", "store", suspend=True)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 0
    assert ("PodDisruptionBudget", "demo", "store") not in world.kube.children
    assert world.condition("Reconciling").truth is Truth.TRUE
    world.serve()
    result = await world.reconcile()
    assert (world.condition("Ready").truth, world.condition("Ready").reason) == (Truth.FALSE, "Suspended")
    assert world.condition("Reconciling").truth is Truth.FALSE
    assert world.condition("Stalled").truth is Truth.FALSE
    assert result.after_seconds is None
    assert world.status["topic"]["id"] == "id-1"
    assert "demo.store" in world.kafka.topics
    world.kube.change_spec("demo", "store", suspend=False)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").message == "3 replicas serve"


async def test_a_suspended_store_has_no_leader_and_its_topic_is_still_looked_after() -> None:
    world = await settled(spec=LEADER)
    world.kube.change_spec("demo", "store", suspend=True)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert (world.condition("LeaderElected").truth, world.condition("LeaderElected").reason) == (
        Truth.FALSE,
        "Suspended",
    )
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "delete"})
    await world.reconcile()
    assert world.kafka.topics["demo.store"].config["cleanup.policy"] == "compact"
    assert "leader" not in world.status


async def test_one_replica_has_no_disruption_budget() -> None:
    world = await settled()
    assert ("PodDisruptionBudget", "demo", "store") in world.kube.children
    world.kube.change_spec("demo", "store", replicas=1)
    await world.reconcile()
    assert ("PodDisruptionBudget", "demo", "store") not in world.kube.children


async def test_a_spec_that_can_t_be_read_is_told_and_the_pin_is_kept() -> None:
    world = await settled()
    world.body["spec"]["writeMode"] = "OfALaterVersion"
    await world.reconcile()
    assert world.condition("Stalled").reason == "SpecInvalid"
    assert world.status["topic"]["id"] == "id-1"


async def test_a_bug_is_shown_in_the_status_and_the_pin_is_kept() -> None:
    world = await settled()
    await world.reconciler.report_bug("demo", "store", ZeroDivisionError("division by zero"))
    stalled = world.condition("Stalled")
    assert stalled.reason == "InternalError"
    assert "ZeroDivisionError: division by zero" in stalled.message
    assert world.status["topic"]["id"] == "id-1"
    assert world.status["readyReplicas"] == 3
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE


async def test_a_bug_over_a_resource_that_is_gone_is_shown_nowhere() -> None:
    world = World()
    await world.reconciler.report_bug("demo", "store", ZeroDivisionError())
    assert world.take_writes() == []


async def test_events_that_can_t_be_posted_fail_nothing() -> None:
    world = World(interfere=failing("post_event", KubeRefused("the namespace is being terminated")))
    world.create()
    await world.reconcile()
    assert world.deployment is not None
    assert world.event_reasons == []


@pytest.mark.parametrize("call", ["write_status", "write_finalizers"])
async def test_a_resource_that_vanishes_during_a_pass_ends_it_quietly(call: str) -> None:
    world = World()
    world.create(spec=DELETE)

    def vanish(moment: str) -> None:
        if moment == f"before {call}":
            world.kube.resources.clear()

    set_interference(world, vanish)
    await world.reconcile()
    assert world.is_gone()
    if call == "write_finalizers":
        assert world.kafka.topics == {}
