"""The workers: what becomes of each pass, in virtual time."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from sharedlogkv_operator.controller import Controller
from sharedlogkv_operator.errors import KafkaBusy, KafkaUnavailable, KubeUnavailable
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.status import Truth
from tests.support.operator_fakes import FakeKafka
from tests.support.operator_objects import build_resource_body
from tests.support.operator_world import World
from tests.support.virtual_time import run as run_virtual


def build(world: World, metrics: Metrics, *, workers: int = 2, resync_seconds: float = 100) -> Controller:
    return Controller(
        world.reconciler, metrics=metrics, workers=workers, resync_seconds=resync_seconds, chance=lambda: 0.5
    )


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None
    return found


def run(
    scenario: Callable[[World, Controller, Metrics], Awaitable[None]], *, workers: int = 2, create: bool = True
) -> None:
    """Runs the scenario beside a controller's workers."""

    async def main() -> None:
        world, metrics = World(), Metrics()
        if create:
            world.create()
        controller = build(world, metrics, workers=workers)
        working = asyncio.create_task(controller.run())
        await scenario(world, controller, metrics)
        controller.stop()
        await working

    run_virtual(main())


def passes(world: World) -> int:
    return world.kube.calls.count("get_resource")


def test_a_settled_resource_is_looked_at_again_at_the_usual_interval() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        controller.queue.add("demo/store")
        await asyncio.sleep(1)
        world.serve()
        await asyncio.sleep(5)
        assert world.condition("Ready").truth is Truth.TRUE
        before = passes(world)
        await asyncio.sleep(1000)
        assert passes(world) - before == 10
        assert value(metrics, "slkv_operator_reconcile_total", result="success") >= 10

    run(scenario)


def test_a_pass_that_fails_is_tried_again_with_a_back_off_and_counted() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        def fail(moment: str) -> None:
            if moment == "before get_resource":
                raise KubeUnavailable("down")

        world.kube.interfere = fail
        controller.queue.add("demo/store")
        await asyncio.sleep(10)
        # At 0, then after 0.5, 1, 2, 4 seconds, each up to 15 % earlier.
        assert passes(world) == 5
        assert value(metrics, "slkv_operator_reconcile_errors_total") == 5
        assert value(metrics, "slkv_operator_reconcile_total", result="error") == 5
        world.kube.interfere = lambda _: None
        await asyncio.sleep(30)
        assert world.condition("TopicReady").truth is Truth.TRUE

    run(scenario)


def test_a_pass_that_found_kafka_busy_with_others_does_not_end_the_back_off() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        errors = itertools.chain([KafkaUnavailable("down")] * 6, [KafkaBusy("others are busy with it")])

        def fail(moment: str) -> None:
            if moment == "before lease":
                raise next(errors, KafkaUnavailable("down"))

        world.kafka.interfere = fail
        controller.queue.add("demo/store")
        await asyncio.sleep(45)
        # Six within 15 s, the busy one 16 s later at most, one more after a second: it waits for 25 s at least.
        assert passes(world) == 8

    run(scenario)


def test_a_kafka_that_answers_each_request_too_slowly_is_told_and_holds_no_deletion_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer_late(kafka: FakeKafka, name: str) -> None:
        await asyncio.sleep(100)

    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        world.create(spec={"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}})
        controller.queue.add("demo/store")
        await asyncio.sleep(1)
        assert world.condition("TopicReady").truth is Truth.TRUE
        monkeypatch.setattr(FakeKafka, "describe_topic", answer_late)
        controller.queue.add("demo/store")
        await asyncio.sleep(50)
        assert world.condition("Ready").reason == "KafkaUnavailable"
        assert "longer than 40 s" in world.condition("Ready").message
        world.kube.delete("demo", "store")
        controller.queue.add("demo/store")
        await asyncio.sleep(100)
        assert world.condition("Ready").reason == "Deleting"
        world.wait(121)
        await asyncio.sleep(60)
        assert world.is_gone()
        assert "TopicKept" in world.event_reasons

    run(scenario, create=False)


def test_a_bug_that_can_t_be_shown_ends_no_worker() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        def fail(moment: str) -> None:
            if moment == "before get_resource":
                raise ZeroDivisionError("division by zero")

        world.kube.interfere = fail
        controller.queue.add("demo/store")
        await asyncio.sleep(10)
        assert value(metrics, "slkv_operator_reconcile_errors_total") == 5
        world.kube.interfere = lambda _: None
        await asyncio.sleep(30)
        assert world.condition("TopicReady").truth is Truth.TRUE

    run(scenario, workers=1)


def test_a_bug_in_a_pass_is_shown_and_the_pass_tried_again() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        def fail(moment: str) -> None:
            if moment == "before describe_topic":
                raise ZeroDivisionError("division by zero")

        world.kafka.interfere = fail
        controller.queue.add("demo/store")
        await asyncio.sleep(0.1)
        assert world.condition("Stalled").reason == "InternalError"
        world.kafka.interfere = lambda _: None
        await asyncio.sleep(60)
        assert world.condition("Stalled").truth is Truth.FALSE

    run(scenario)


def test_a_bug_that_can_t_even_be_shown_ends_no_worker() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        def fail(moment: str) -> None:
            if moment == "before describe_topic":
                raise ZeroDivisionError
            if moment == "before write_status" and "describe_topic" in world.kube.calls:
                raise KubeUnavailable("down as well")

        world.kube.interfere = world.kafka.interfere = fail
        controller.queue.add("demo/store")
        await asyncio.sleep(10)
        world.kube.interfere = world.kafka.interfere = lambda _: None
        await asyncio.sleep(60)
        assert world.condition("TopicReady").truth is Truth.TRUE

    run(scenario, workers=1)


def test_a_pass_that_never_ends_is_cut_off_and_holds_up_no_other_resource() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        original = world.kube.get_resource

        async def hang(namespace: str, name: str) -> object:
            if name == "stuck":
                await asyncio.Event().wait()
            return await original(namespace, name)

        world.kube.get_resource = hang  # type: ignore[method-assign, assignment]  # a fake that hangs
        controller.queue.add("demo/stuck")
        controller.queue.add("demo/store")
        await asyncio.sleep(1)
        assert world.condition("TopicReady").truth is Truth.TRUE
        controller.show_metrics()
        assert value(metrics, "slkv_operator_workqueue_longest_running_processor_seconds") >= 1
        await asyncio.sleep(62)
        assert value(metrics, "slkv_operator_reconcile_errors_total") == 1

    run(scenario)


def test_a_resource_that_is_gone_is_forgotten() -> None:
    async def scenario(world: World, controller: Controller, metrics: Metrics) -> None:
        controller.queue.add("demo/store")
        await asyncio.sleep(1)
        controller.show_metrics()
        assert value(metrics, "slkv_operator_resources", condition="TopicReady", status="True") == 1
        world.kube.resources.clear()
        await asyncio.sleep(1000)
        assert passes(world) < 10
        controller.show_metrics()
        assert value(metrics, "slkv_operator_resources", condition="TopicReady", status="True") == 0

    run(scenario)


def test_stopping_lets_the_pass_under_way_end_and_begins_no_other() -> None:
    async def main() -> None:
        world = World()
        for name in ("one", "two"):
            world.kube.put(build_resource_body(metadata={"name": name, "uid": name}))
        controller = build(world, Metrics(), workers=1)
        world.kube.interfere = lambda moment: controller.stop() if moment == "before write_status" else None
        controller.queue.add("demo/one")
        controller.queue.add("demo/two")
        await controller.run()
        assert ("Deployment", "demo", "one") in world.kube.children
        assert passes(world) == 1

    run_virtual(main())


def test_the_operator_is_stuck_when_it_no_longer_comes_back_to_the_resources_that_it_knows() -> None:
    async def main() -> None:
        world = World()
        controller = build(world, Metrics())
        await asyncio.sleep(1000)
        assert controller.find_stall() is None, "there is nothing to come back to"
        world.create()
        controller.queue.add("demo/store")
        working = asyncio.create_task(controller.run())
        await asyncio.sleep(1000)
        assert controller.find_stall() is None
        working.cancel()
        controller.queue.stop()  # loses every timer
        await asyncio.sleep(100)
        assert controller.find_stall() is None
        await asyncio.sleep(200)
        assert "no reconcile has ended for" in str(controller.find_stall())

    run_virtual(main())


def test_the_operator_is_stuck_when_a_pass_or_a_resource_in_the_queue_is_too_old() -> None:
    async def main() -> None:
        controller = build(World(), Metrics())
        assert controller.find_stall() is None
        controller.queue.add("demo/store")
        await asyncio.sleep(121)
        assert controller.find_stall() == "a resource has waited for 121 s"
        await controller.queue.get()
        assert controller.find_stall() is None
        await asyncio.sleep(200)
        assert controller.find_stall() == "a reconcile has run for 200 s"

    run_virtual(main())
