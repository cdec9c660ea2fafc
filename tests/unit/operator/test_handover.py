"""Handing the leadership over to the pod that a person names, among fakes."""

import pytest

from sharedlogkv_operator.errors import KubeRefused
from sharedlogkv_operator.leadership import LeaderReport
from sharedlogkv_operator.replica_client import ReplicaStatus
from sharedlogkv_operator.status import Truth
from tests.support.operator_world import World

pytestmark = pytest.mark.asyncio

ANNOTATION = "sharedlog.dev/transfer-leader"
LEADING = {"spec": {"writeMode": "Leader", "replicas": 2}}


async def led(*, by: str = "store-1-a", others: tuple[str, ...] = ("store-1-b",)) -> World:
    """A Ready store in which `by` leads, at 10.0.0.1, and the others follow."""
    world = World()
    world.create(**LEADING)
    await world.reconcile()
    world.serve()
    for number, name in enumerate((by, *others), start=1):
        world.add_pod(name, ip=f"10.0.0.{number}", is_ready=True)
    elect(world, by, term=7)
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    return world


def elect(world: World, name: str, *, term: int) -> None:
    """Has every replica say that this one leads."""
    for pod in world.kube.pods:
        report = LeaderReport(pod["metadata"]["name"] == name, name, term, "")
        world.replicas.statuses[pod["status"]["podIP"]] = ReplicaStatus(True, "Serving", "", 0.0, leadership=report)


async def test_the_leader_is_asked_with_the_secret_until_the_pod_leads_and_then_the_wish_goes() -> None:
    world = await led()
    world.annotate({ANNOTATION: "store-1-b"})
    result = await world.reconcile()
    assert world.replicas.transfers == [("10.0.0.1", "store-1-b", world.peer_secret)]
    assert ANNOTATION in world.body["metadata"]["annotations"]
    assert result.after_seconds == 1
    elect(world, "store-1-b", term=9)
    await world.reconcile()
    assert world.body["metadata"]["annotations"] == {}
    assert world.status["leader"] == {"name": "store-1-b", "term": 9}
    assert "LeaderTransferred" in world.event_reasons
    assert len(world.replicas.transfers) == 1


async def test_a_pod_that_leads_already_is_told_as_such() -> None:
    world = await led()
    world.annotate({ANNOTATION: "store-1-a"})
    await world.reconcile()
    assert world.event_reasons[-1] == "LeaderTransferred"
    assert world.replicas.transfers == []
    assert world.body["metadata"]["annotations"] == {}


async def test_a_pod_that_is_not_there_is_told_with_those_that_are() -> None:
    world = await led()
    world.annotate({ANNOTATION: "store-1-x"})
    await world.reconcile()
    assert "there is no such pod, but store-1-a, store-1-b" in world.last_event["message"]
    assert world.last_event["type"] == "Warning"
    assert world.body["metadata"]["annotations"] == {}


async def test_a_store_without_a_leader_can_t_hand_over() -> None:
    world = World()
    world.create()
    world.annotate({ANNOTATION: "store-1-a"})
    await world.reconcile()
    assert "LeaderTransferFailed" in world.event_reasons
    assert world.body["metadata"]["annotations"] == {}


async def test_what_stands_in_the_way_is_tried_again_for_a_minute_and_then_told() -> None:
    world = await led()
    world.replicas.transfer_error = "the leader says 409: I do not lead"
    world.annotate({ANNOTATION: "store-1-b"})
    await world.reconcile()
    world.wait(59)
    await world.reconcile()
    assert len(world.replicas.transfers) == 2
    assert "LeaderTransferFailed" not in world.event_reasons
    world.wait(2)
    await world.reconcile()
    assert "given up after 60 s: the leader says 409: I do not lead" in world.last_event["message"]
    assert world.body["metadata"]["annotations"] == {}


async def test_a_pod_that_is_not_ready_yet_is_waited_for() -> None:
    world = await led()
    world.kube.pods[1]["status"]["conditions"][0]["status"] = "False"
    world.annotate({ANNOTATION: "store-1-b"})
    assert (await world.reconcile()).after_seconds == 1
    assert world.replicas.transfers == []


async def test_a_wish_that_changed_meanwhile_is_left_and_has_its_own_minute() -> None:
    world = await led()
    world.annotate({ANNOTATION: "store-1-a"})

    def change(moment: str) -> None:
        if moment == "before remove_annotation":
            world.body["metadata"]["annotations"][ANNOTATION] = "store-1-b"

    world.kube.interfere = change
    with pytest.raises(KubeRefused):
        await world.reconcile()
    world.kube.interfere = lambda _: None
    await world.reconcile()
    assert world.replicas.transfers == [("10.0.0.1", "store-1-b", world.peer_secret)]


async def test_a_secret_that_can_t_be_read_is_no_reason_not_to_write_the_status() -> None:
    world = await led()
    world.annotate({ANNOTATION: "store-1-b"})
    secrets = 0

    def refuse(moment: str) -> None:
        nonlocal secrets
        secrets += moment == "before get_child"
        if secrets > 4 and moment == "before get_child":  # the children's own four come first
            raise KubeRefused("forbidden")

    world.kube.interfere = refuse
    world.kube.calls.clear()
    result = await world.reconcile()
    assert result.conditions is not None
    assert world.replicas.transfers == []
