"""What a pass makes of a resource's children, and how it tells what its replicas tell."""

import pytest

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.leadership import LeaderReport
from sharedlogkv_operator.pods import DELETION_COST
from sharedlogkv_operator.replica_client import ReplicaStatus
from sharedlogkv_operator.status import Truth
from tests.support.operator_world import World, failing, set_interference, settled

pytestmark = pytest.mark.asyncio

LEADER = {"writeMode": "Leader"}


def tell_leader(world: World, leader: str | None) -> None:
    """Has every replica say that this one leads."""
    for pod in world.kube.pods:
        report = LeaderReport(pod["metadata"]["name"] == leader, leader, 7 if leader else None, "")
        world.replicas.statuses[pod["status"]["podIP"]] = ReplicaStatus(True, "Serving", "", 0.0, leadership=report)


async def test_a_child_of_somebody_else_is_not_taken_over() -> None:
    world = World()
    foreign = {
        "kind": "Service",
        "metadata": {"namespace": "demo", "name": "store", "uid": "x", "generation": 1, "resourceVersion": "1"},
        "spec": {},
    }
    world.kube.children["Service", "demo", "store"] = foreign
    world.create()
    await world.reconcile()
    assert world.condition("Stalled").reason == "ChildConflict"
    assert "Service store exists and belongs to somebody else" in world.condition("Ready").message
    assert list(world.kube.children) == [("Service", "demo", "store")]
    assert world.kube.children["Service", "demo", "store"] == foreign


async def test_children_of_the_former_resource_of_that_name_are_waited_for() -> None:
    world = await settled()
    world.kube.resources.clear()  # deleted, and its children not collected yet
    world.create(metadata={"uid": "the-next"})
    result = await world.reconcile()
    assert world.condition("Ready").reason == "ChildTerminating"
    assert world.condition("Stalled").truth is Truth.FALSE
    assert result.after_seconds == 5
    world.kube.children.clear()
    await world.reconcile()
    assert world.deployment is not None
    assert world.kafka.created == 1


async def test_what_the_api_server_says_about_a_child_is_in_the_status() -> None:
    world = World(interfere=failing("apply_child", KubeRefused("exceeded quota: small")))
    world.create()
    assert (await world.reconcile()).backs_off
    stalled = world.condition("Stalled")
    assert (stalled.reason, stalled.message) == ("ChildRefused", "exceeded quota: small")
    assert world.status["topic"]["id"] == "id-1"


async def test_an_api_server_that_stumbles_over_a_child_is_tried_again() -> None:
    world = World(interfere=failing("apply_child", KubeUnavailable("try later")))
    world.create()
    assert (await world.reconcile()).backs_off
    assert world.condition("Ready").reason == "KubeUnavailable"


async def test_the_largest_lag_of_the_ready_replicas_is_shown() -> None:
    world = await settled()
    for index, (is_ready, lag) in enumerate([(True, 0.4), (True, 7.9), (False, 99.0)]):
        world.add_pod(f"store-7d9f-{index}", ip=f"10.0.0.{index}", is_ready=is_ready)
        world.replicas.statuses[f"10.0.0.{index}"] = ReplicaStatus(is_ready, "Serving", "", lag)
    await world.reconcile()
    assert world.status["lagSeconds"] == 7


async def test_why_a_replica_is_not_ready_is_told_in_its_own_words() -> None:
    world = await settled()
    assert world.deployment is not None
    world.deployment["status"]["availableReplicas"] = 2
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=False)
    world.add_pod("store-7d9f-2", ip="10.0.0.2", is_ready=False)
    world.replicas.statuses["10.0.0.1"] = ReplicaStatus(False, "LogUnavailable", "no broker answers", 0.0)
    result = await world.reconcile()
    message = world.condition("Ready").message
    assert message.startswith("2 of 3 replicas serve; LogUnavailable: no broker answers; ")
    assert "nobody is there" in message
    assert result.after_seconds == 5


async def test_a_ready_replica_that_does_not_tell_its_status_is_no_trouble() -> None:
    world = await settled()
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    assert "lagSeconds" not in world.status


async def test_the_secret_of_the_peers_is_made_once_before_the_pods_that_need_it_and_never_changed() -> None:
    world = await settled(spec=LEADER)
    writes = world.take_writes()
    first = world.peer_secret
    assert first is not None
    world.kube.change_spec("demo", "store", replicas=4)
    await world.reconcile()
    assert world.peer_secret == first
    assert "create_child" not in writes


async def test_a_secret_of_the_peers_that_was_deleted_is_made_anew_and_rolls_no_pod() -> None:
    world = await settled(spec=LEADER)
    first, generation = world.peer_secret, world.deployment["metadata"]["generation"]  # type: ignore[index]  # it is there
    del world.kube.children["Secret", "demo", "store-peers"]
    await world.reconcile()
    assert world.peer_secret not in (None, first)
    assert world.deployment is not None
    assert world.deployment["metadata"]["generation"] == generation


async def test_a_secret_of_the_peers_that_was_emptied_is_filled_again() -> None:
    world = await settled(spec=LEADER)
    world.kube.children["Secret", "demo", "store-peers"]["data"] = {}
    await world.reconcile()
    assert world.peer_secret is not None


async def test_a_secret_of_somebody_else_is_not_taken_over() -> None:
    world = World()
    metadata = {"namespace": "demo", "name": "store-peers", "uid": "x", "generation": 1, "resourceVersion": "1"}
    world.kube.children["Secret", "demo", "store-peers"] = {"kind": "Secret", "metadata": metadata}
    world.create(spec=LEADER)
    await world.reconcile()
    assert world.condition("Stalled").reason == "ChildConflict"
    assert "Secret store-peers exists" in world.condition("Ready").message


async def test_without_a_leader_to_be_there_is_no_secret() -> None:
    world = await settled()
    assert world.peer_secret is None


async def test_the_leader_that_replicas_tell_of_is_shown_and_its_pod_is_to_go_last() -> None:
    world = await settled(spec=LEADER)
    for index in range(3):
        world.add_pod(f"store-7d9f-{index}", ip=f"10.0.0.{index}", is_ready=True)
    tell_leader(world, None)
    await world.reconcile()
    assert world.condition("Ready").reason == "NoLeader"
    tell_leader(world, "store-7d9f-1")
    await world.reconcile()
    assert world.status["leader"] == {"name": "store-7d9f-1", "term": 7}
    assert world.condition("Ready").truth is Truth.TRUE
    costs = [pod["metadata"].get("annotations", {}).get(DELETION_COST) for pod in world.kube.pods]
    assert costs == [None, "1000", None]
    world.take_writes()
    await world.reconcile()
    assert world.take_writes() == []
    tell_leader(world, "store-7d9f-2")
    await world.reconcile()
    costs = [pod["metadata"].get("annotations", {}).get(DELETION_COST) for pod in world.kube.pods]
    assert costs == [None, None, "1000"]


async def test_a_pod_that_can_t_be_marked_fails_nothing() -> None:
    world = await settled(spec=LEADER)
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    tell_leader(world, "store-7d9f-1")
    set_interference(world, failing("annotate_pod", KubeRefused("forbidden")))
    await world.reconcile()
    assert world.condition("LeaderElected").truth is Truth.TRUE


async def test_a_write_mode_is_changed_by_way_of_read_only_and_with_no_writer_of_the_former_left() -> None:
    world = await settled()
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    world.kube.change_spec("demo", "store", writeMode="Leader")
    await world.reconcile()
    assert world.write_mode == "ReadOnly"
    assert world.condition("Reconciling").reason == "WriteModeChanging"
    world.serve()
    await world.reconcile()
    assert world.write_mode == "ReadOnly", "a pod of the former mode is there still"
    world.kube.pods.clear()
    await world.reconcile()
    assert world.write_mode == "Leader"
    assert world.peer_secret is not None
    assert world.condition("Ready").reason == "RollingOut"
