"""The work queue, in virtual time."""

import asyncio

import pytest

from sharedlogkv_operator.workqueue import Backoff, QueueStopped, WorkQueue
from tests.support.virtual_time import run as run_virtual


def build(*, base: float = 1.0, limit: float = 60.0) -> WorkQueue:
    return WorkQueue(backoff=Backoff(base, limit), chance=lambda: 0.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_keys_come_in_the_order_in_which_they_were_added_and_each_once() -> None:
    async def scenario() -> None:
        queue = build()
        for key in ("a", "b", "a", "c"):
            queue.add(key)
        assert queue.depth == 3
        assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]

    run_virtual(scenario())


def test_what_happened_goes_before_what_is_only_due_and_a_due_key_to_which_something_happens_with_it() -> None:
    async def scenario() -> None:
        queue = build()
        for key in ("due-1", "due-2", "due-3"):
            queue.add_after(key, 1)
        await asyncio.sleep(5)
        queue.add("news")
        queue.add("due-2")
        assert queue.depth == 4
        assert queue.oldest_wait_seconds == 4
        assert [await queue.get() for _ in range(4)] == ["news", "due-2", "due-1", "due-3"]

    run_virtual(scenario())


def test_a_flood_of_news_starves_nobody() -> None:
    async def scenario() -> None:
        queue = build()
        queue.add_after("due", 1)
        await asyncio.sleep(2)
        for number in range(100):
            queue.add(f"news-{number}")
        taken = [await queue.get() for _ in range(20)]
        assert taken.index("due") == 8

    run_virtual(scenario())


def test_a_key_that_is_running_waits_for_its_end_and_then_comes_again() -> None:
    async def scenario() -> None:
        queue = build()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.depth == 0
        queue.done("a")
        assert queue.depth == 1
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.depth == 0

    run_virtual(scenario())


def test_a_delayed_key_comes_at_its_time_and_the_earliest_time_holds() -> None:
    async def scenario() -> None:
        queue = build()
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 20)
        assert await queue.get() == "a"
        assert now() == 5
        queue.done("a")
        await asyncio.sleep(100)
        assert queue.depth == 0

    run_virtual(scenario())


def test_a_failing_key_is_put_off_ever_longer_up_to_a_limit_until_it_is_forgotten() -> None:
    async def scenario() -> None:
        queue = build(base=1, limit=8)
        waits = []
        for failure in range(7):
            if failure == 5:
                queue.forget("a")
            began = now()
            queue.add_backed_off("a")
            await queue.get()
            queue.done("a")
            waits.append(now() - began)
        assert waits == pytest.approx([1, 2, 4, 8, 8, 1, 2])

    run_virtual(scenario())


def test_the_back_off_is_spread_by_chance() -> None:
    backoff = Backoff(10, 60)
    assert backoff.delay_seconds(1, chance=0.0) == 10
    assert backoff.delay_seconds(1, chance=1.0) == pytest.approx(7)
    assert backoff.delay_seconds(10_000, chance=0.0) == 60


def test_something_that_happens_while_a_key_is_put_off_is_not_put_off() -> None:
    async def scenario() -> None:
        queue = build(base=50)
        queue.add_backed_off("a")
        queue.add("a")
        assert await queue.get() == "a"
        assert now() == 0

    run_virtual(scenario())


def test_one_key_wakes_one_worker() -> None:
    async def scenario() -> None:
        queue = build()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(1)
        assert sorted(task.result() for task in workers if task.done()) == ["a", "b"]
        queue.stop()
        await asyncio.wait(workers)
        assert sum(isinstance(task.exception(), QueueStopped) for task in workers) == 1

    run_virtual(scenario())


def test_a_worker_that_is_cancelled_as_it_is_woken_hands_the_key_on() -> None:
    async def scenario() -> None:
        queue = build()
        first, second = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"
        with pytest.raises(asyncio.CancelledError):
            await first

    run_virtual(scenario())


def test_a_stopped_queue_hands_out_nothing_and_takes_nothing() -> None:
    async def scenario() -> None:
        queue = build()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.add("b")
        queue.add_after("c", 1)
        queue.stop()
        queue.add("d")
        queue.add_after("e", 1)
        queue.done("a")
        await asyncio.sleep(10)
        assert queue.depth == 0
        with pytest.raises(QueueStopped):
            await queue.get()

    run_virtual(scenario())


def test_it_tells_how_long_keys_wait_and_run() -> None:
    async def scenario() -> None:
        queue = build()
        assert (queue.oldest_wait_seconds, queue.longest_run_seconds) == (0, 0)
        queue.add("a")
        await asyncio.sleep(3)
        queue.add("b")
        await asyncio.sleep(4)
        assert queue.oldest_wait_seconds == 7
        await queue.get()
        await asyncio.sleep(5)
        assert (queue.oldest_wait_seconds, queue.longest_run_seconds) == (9, 5)

    run_virtual(scenario())
