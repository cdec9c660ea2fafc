"""Reads that wait for an offset."""

import asyncio
import gc
import sys

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.engine.waiters import RELEASED_AT_ONCE, Waiters
from sharedlogkv_replica.errors import LogReplaced, WaitTimeout
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio


async def test_a_batch_wakes_the_waiters_below_its_position_and_no_others() -> None:
    waiters = Waiters()
    early = waiters.wait(Offset(4), timeout_seconds=60)
    late = waiters.wait(Offset(5), timeout_seconds=60)
    waiters.release(Position(5))
    await early
    assert not late.done()
    waiters.release(Position(6))
    await late
    await eventually(lambda: len(waiters) == 0)


async def test_what_is_applied_already_is_not_waited_for() -> None:
    waiters = Waiters()
    waiters.release(Position(5))
    assert waiters.wait(Offset(4), timeout_seconds=60).done()
    assert not waiters.wait(Offset(5), timeout_seconds=60).done()


async def test_a_read_may_wait_before_it_knows_for_what() -> None:
    waiters = Waiters()
    read = waiters.begin(timeout_seconds=60)
    waiters.release(Position(5))
    assert len(waiters) == 1
    waiters.join(read, Offset(5))
    assert not read.done()
    waiters.release(Position(6))
    await read


async def test_many_are_released_a_few_at_a_time_and_in_the_order_of_their_offsets() -> None:
    waiters = Waiters()
    latest_first = [waiters.wait(Offset(n), timeout_seconds=60) for n in reversed(range(3 * RELEASED_AT_ONCE))]
    waiters.release(Position(3 * RELEASED_AT_ONCE))
    for turn in (1, 2, 3):
        released = turn * RELEASED_AT_ONCE
        assert [read.done() for read in reversed(latest_first)] == [n < released for n in range(len(latest_first))]
        await asyncio.sleep(0)
    await eventually(lambda: len(waiters) == 0)


async def test_a_position_that_is_reached_amid_a_release_is_released_as_well() -> None:
    waiters = Waiters()
    reads = [waiters.wait(Offset(n), timeout_seconds=60) for n in range(2 * RELEASED_AT_ONCE)]
    waiters.release(Position(RELEASED_AT_ONCE + 1))
    waiters.release(Position(2 * RELEASED_AT_ONCE))
    await asyncio.gather(*reads)


async def test_a_wait_ends_at_its_deadline_and_says_where_the_map_is() -> None:
    waiters = Waiters()
    waiters.release(Position(3))
    with pytest.raises(WaitTimeout, match=r"the map, at position 3, did not get as far .* within 0\.01 s"):
        await waiters.wait(Offset(9), timeout_seconds=0.01)
    assert len(waiters) == 0


async def test_a_lost_map_ends_every_wait_and_has_nothing_applied_any_more() -> None:
    waiters = Waiters()
    waiters.release(Position(3))
    reads = [waiters.wait(Offset(n), timeout_seconds=60) for n in range(3, 6)]
    waiters.fail_all(LogReplaced("gone"))
    for read in reads:
        with pytest.raises(LogReplaced, match="gone"):
            await read
    assert not waiters.wait(Offset(0), timeout_seconds=60).done()


async def test_waits_for_an_offset_that_never_comes_do_not_pile_up() -> None:
    waiters = Waiters()
    for _ in range(5):
        reads = [waiters.wait(Offset(10**9), timeout_seconds=0.001) for _ in range(1000)]
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(result, WaitTimeout) for result in results)
    assert len(waiters) == 0
    assert waiters.heap_size <= 2048


async def test_a_cancelled_wait_is_forgotten() -> None:
    waiters = Waiters()
    read = waiters.wait(Offset(1), timeout_seconds=60)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    await eventually(lambda: len(waiters) == 0)
    waiters.release(Position(2))
    assert len(waiters) == 0


async def test_a_hundred_thousand_reads_that_wait_for_more_add_no_step_to_those_that_need_not() -> None:
    """Counted and not timed: the calls that it takes to apply a batch and to release what it releases."""

    def steps(waiters: Waiters) -> int:
        calls = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        gc.disable()  # what listens to the collector is called as well
        sys.setprofile(count)
        try:
            for offset in range(50):
                read = waiters.wait(Offset(offset), timeout_seconds=60)
                waiters.release(Position(offset + 1))
                assert read.done()
        finally:
            sys.setprofile(None)
            gc.enable()
        return calls

    crowded = Waiters()
    crowd = [crowded.wait(Offset(10**9), timeout_seconds=60) for _ in range(100_000)]
    assert steps(crowded) == steps(Waiters())
    assert len(crowded) == 100_000 + 50, "the loop has not turned since"
    crowded.fail_all(LogReplaced("the test is over"))
    await asyncio.gather(*crowd, return_exceptions=True)
