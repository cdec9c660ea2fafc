"""What the operator does with a decision, and what it tells of it, among fakes."""

import pytest

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.status import Truth
from tests.support.operator_objects import build_autoscaling
from tests.support.scaled_world import KEY, Scaled, begin

pytestmark = pytest.mark.asyncio


async def test_a_new_store_begins_with_its_replicas_within_the_bounds() -> None:
    world = Scaled(minReplicas=4)
    await world.reconcile()
    assert world.count == 4
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE


async def test_a_store_that_keeps_up_is_told_once_and_then_left_alone() -> None:
    world = await begin()
    assert (world.condition("ScalingActive").reason, world.condition("ScalingActive").truth) == ("Steady", Truth.TRUE)
    assert world.condition("ScalingLimited").truth is Truth.FALSE
    assert world.condition("ScalingEffective").truth is Truth.TRUE
    assert world.status["scaling"] == {"desiredReplicas": 2}
    world.take_writes()
    await world.look(30)
    await world.reconcile()
    assert world.take_writes() == []


async def test_more_reads_more_replicas_fewer_reads_fewer_one_by_one_and_each_change_is_told() -> None:
    world = await begin()
    world.offered = 8_000.0
    await world.look(12)
    # 8,000 requests take 1.6 CPU, and each replica has 0.55 for them.
    assert world.count == 3
    assert world.status["scaling"]["desiredReplicas"] == 3
    first = world.status["scaling"]["changes"][-1]
    assert (first["from"], first["to"], first["reason"]) == (2, 3, "ReadSteal")
    assert "Scaled" in world.event_reasons
    assert world.metrics.scalings.labels("ReadSteal")._value.get() == 1
    world.offered = 100.0
    counts = []
    for _ in range(100):
        await world.look()
        counts.append(world.count)
    assert sorted(set(counts), reverse=True) == [3, 2]
    assert counts[-1] == 2


async def test_the_count_outlives_other_changes_of_the_deployment() -> None:
    world = await begin()
    world.offered = 8_000.0
    await world.look(12)
    world.kube.change_spec("demo", "store", image="image:2")
    await world.reconcile()
    assert world.count == 3


async def test_switching_it_on_never_resets_the_count_and_switching_it_off_obeys_the_spec() -> None:
    world = Scaled(mode="None")
    world.kube.change_spec("demo", "store", replicas=5)
    await world.reconcile()
    world.kube.change_spec("demo", "store", autoscaling=build_autoscaling(mode="BuiltIn"))
    await world.reconcile()
    assert world.count == 5
    world.kube.change_spec("demo", "store", image="image:2")
    await world.reconcile()
    assert world.count == 5
    await world.look(6)
    assert world.condition("ScalingActive").truth is Truth.TRUE
    world.kube.change_spec("demo", "store", autoscaling=build_autoscaling(mode="None"), replicas=4)
    await world.reconcile()
    assert world.count == 4
    assert "scaling" not in world.status
    assert not any(condition["type"].startswith("Scaling") for condition in world.status["conditions"])
    assert world.scalings.keys == ()


async def test_others_that_scale_are_followed_and_told() -> None:
    world = Scaled(mode="External")
    world.kube.change_spec("demo", "store", replicas=6)
    await world.reconcile()
    assert world.count == 6
    assert world.condition("ScalingActive").reason == "External"
    assert world.scalings.keys == ()


async def test_the_leader_stays_and_a_victim_is_marked_before_the_count_falls() -> None:
    world = await begin(minReplicas=1)
    world.leader = world.kube.pods[0]["metadata"]["name"]
    world.offered = 1.0
    await world.look(30)
    assert world.count == 1
    await world.look()
    assert [pod["metadata"]["name"] for pod in world.kube.pods] == [world.leader]
    calls = world.kube.calls
    assert calls.index("annotate_pod") < calls.index("scale_deployment", calls.index("annotate_pod"))


async def test_a_leader_that_can_t_be_asked_stays_too_as_its_followers_name_it() -> None:
    world = await begin(minReplicas=1)
    world.offered = 8_000.0
    await world.look(12)
    assert world.count == 3
    world.leader = world.kube.pods[0]["metadata"]["name"]
    world.silent = {world.leader}  # one of three is not too many to go on without
    world.offered = 1.0
    await world.look(20)
    assert world.count == 2
    world.follow()
    assert world.leader in {pod["metadata"]["name"] for pod in world.kube.pods}


async def test_a_mark_goes_when_its_pod_stays() -> None:
    world = await begin(minReplicas=1)
    world.kube.pods[0]["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "-1000"}
    world.offered = 8_000.0
    await world.look(12)
    assert world.kube.pods[0]["metadata"]["annotations"] == {}


async def test_pausing_leaves_the_count_whatever_happens_until_it_ends() -> None:
    world = await begin()
    world.body["metadata"]["annotations"] = {"sharedlog.dev/pause-scaling": "true"}
    world.offered = 8_000.0
    await world.look(20)
    assert world.count == 2
    assert (world.condition("ScalingActive").truth, world.condition("ScalingActive").reason) == (
        Truth.FALSE,
        "ScalingPaused",
    )
    world.body["metadata"]["annotations"] = {"sharedlog.dev/pause-scaling": "false"}
    await world.look(20)
    assert world.count == 3


async def test_replicas_that_can_t_be_asked_hold_everything() -> None:
    world = await begin()
    world.silent = {pod["metadata"]["name"] for pod in world.kube.pods}
    world.offered = 1.0
    await world.look(30)
    assert world.count == 2
    assert (world.condition("ScalingActive").truth, world.condition("ScalingActive").reason) == (
        Truth.FALSE,
        "MetricsUnavailable",
    )


async def test_a_cause_that_more_replicas_can_t_cure_is_an_event_once() -> None:
    world = await begin()
    world.appended = 9_800.0
    await world.look(20)
    assert world.count == 2
    assert (world.condition("ScalingEffective").truth, world.condition("ScalingEffective").reason) == (
        Truth.FALSE,
        "WriteBound",
    )
    assert world.event_reasons.count("WriteBound") == 1


async def test_the_bound_that_is_in_the_way_is_told() -> None:
    world = await begin(maxReplicas=2)
    world.offered = 8_000.0
    await world.look(10)
    assert world.count == 2
    assert (world.condition("ScalingLimited").truth, world.condition("ScalingLimited").reason) == (
        Truth.TRUE,
        "AtMaximum",
    )


async def test_an_operator_that_takes_over_tells_nothing_new_and_goes_on() -> None:
    world = await begin()
    world.offered = 8_000.0
    await world.look(12)
    assert world.count == 3
    assert "trial" in world.status["scaling"]["memory"]
    before = world.status
    world.restart()
    world.take_writes()
    await world.reconcile()
    await world.look(2)
    assert world.status == before
    assert world.take_writes() == []
    await world.look(20)
    assert world.count == 3
    assert "trial" not in world.status["scaling"]["memory"], "it was judged in the end"


async def test_a_count_that_can_t_be_written_is_decided_anew() -> None:
    world = await begin()
    world.offered = 8_000.0

    def refuse(moment: str) -> None:
        if moment == "before scale_deployment":
            raise KubeUnavailable("away")

    world.kube.interfere = refuse
    with pytest.raises(KubeUnavailable):
        await world.look(12)
    assert world.count == 2
    world.kube.interfere = lambda _: None
    await world.look(12)
    assert world.count == 3


async def test_a_count_that_may_not_be_written_is_told_until_it_may() -> None:
    world = await begin()
    world.offered = 8_000.0

    def refuse(moment: str) -> None:
        if moment == "before scale_deployment":
            raise KubeRefused("at most 2 replicas, says the policy")

    world.kube.interfere = refuse
    with pytest.raises(KubeRefused):
        await world.look(12)
    assert world.enqueued == [KEY]
    world.serve()
    await world.reconcile()
    active = world.condition("ScalingActive")
    assert (active.truth, active.reason) == (Truth.FALSE, "ScalingRefused")
    assert active.message == "the count should be 3, and the API server refuses: at most 2 replicas, says the policy"
    world.kube.interfere = lambda _: None
    await world.look(12)
    assert world.count == 3
    assert world.condition("ScalingActive").truth is Truth.TRUE


async def test_a_store_that_is_suspended_has_no_replicas_and_wakes_to_those_of_its_spec() -> None:
    world = await begin()
    world.offered = 8_000.0
    await world.look(12)
    assert world.count == 3
    world.kube.change_spec("demo", "store", suspend=True)
    await world.reconcile()
    assert world.count == 0
    await world.loop.look(KEY)
    assert (world.count, world.scalings.keys) == (0, ())
    world.kube.change_spec("demo", "store", suspend=False)
    await world.reconcile()
    assert world.count == 2
    world.kube.change_spec("demo", "store", image="image:2")
    await world.reconcile()
    assert world.count == 2
    assert world.scalings.keys == (KEY,)


def scaling_conditions(world: Scaled) -> dict[str, tuple[str, str]]:
    found = world.status["conditions"]
    return {item["type"]: (item["status"], item["reason"]) for item in found if item["type"].startswith("Scaling")}


@pytest.mark.parametrize(
    ("reason", "annotations", "suspend"),
    [
        ("Suspended", {}, True),
        ("Paused", {"sharedlog.dev/paused": "true"}, False),
        ("Planning", {"sharedlog.dev/plan": "true"}, False),
    ],
)
async def test_a_store_that_is_not_scaled_for_now_says_so_and_keeps_what_was_learned(
    reason: str, annotations: dict[str, str], *, suspend: bool
) -> None:
    world = await begin()
    world.offered = 8_000.0
    await world.look(12)
    assert scaling_conditions(world).keys() == {"ScalingActive", "ScalingLimited", "ScalingEffective"}
    learned = world.status["scaling"]
    world.kube.change_spec("demo", "store", suspend=suspend)
    world.body["metadata"]["annotations"] = annotations
    await world.reconcile()
    assert scaling_conditions(world) == {"ScalingActive": ("False", reason)}
    await world.loop.look(KEY)
    await world.reconcile()
    assert scaling_conditions(world) == {"ScalingActive": ("False", reason)}
    assert world.status["scaling"] == learned
    world.kube.change_spec("demo", "store", suspend=False)
    world.body["metadata"]["annotations"] = {}
    await world.reconcile()
    assert scaling_conditions(world) == {}, "nothing is decided yet"
    assert world.status["scaling"] == learned
    await world.look(12)
    assert scaling_conditions(world)["ScalingActive"][0] == "True"


async def test_a_count_of_none_that_somebody_else_set_is_set_back() -> None:
    world = await begin()
    assert world.deployment is not None
    world.deployment["spec"]["replicas"] = 0
    await world.loop.look(KEY)
    assert world.count == 2


async def test_a_store_that_is_gone_is_not_looked_at_any_more() -> None:
    world = await begin()
    world.kube.delete("demo", "store")
    await world.loop.look(KEY)
    assert world.scalings.keys == ()


@pytest.mark.parametrize("annotation", ["sharedlog.dev/paused", "sharedlog.dev/plan"])
async def test_while_the_operator_is_paused_it_does_not_scale_either(annotation: str) -> None:
    world = await begin()
    world.body["metadata"]["annotations"] = {annotation: "true"}
    world.offered = 8_000.0
    await world.look(20)
    assert world.count == 2


async def test_one_resource_s_trouble_is_its_own() -> None:
    world = await begin()
    world.scalings.watch("demo/other")

    def fail(moment: str) -> None:
        if moment == "before get_resource":
            raise ZeroDivisionError

    world.kube.interfere = fail
    await world.loop.look_at_all()
    assert world.metrics.scaling_failures._value.get() == 2
    world.kube.interfere = lambda _: None
    await world.loop.look_at_all()
    assert world.metrics.scaling_looks._value.get() == 2
