"""Reads that wait for an offset."""

import asyncio

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.engine.waiters import Waiters
from sharedlogkv_replica.errors import LogReplaced, WaitTimeout


@pytest.mark.asyncio
async def test_a_batch_wakes_the_waiters_below_its_position_and_no_others() -> None:
    waiters = Waiters()
    early = asyncio.create_task(waiters.wait(Offset(4), timeout_seconds=60))
    late = asyncio.create_task(waiters.wait(Offset(5), timeout_seconds=60))
    await asyncio.sleep(0)
    waiters.release(Position(5))
    await early
    assert not late.done()
    waiters.release(Position(6))
    await late
    assert len(waiters) == 0


@pytest.mark.asyncio
async def test_a_wait_ends_at_its_deadline_and_says_where_the_map_is() -> None:
    waiters = Waiters()
    waiters.release(Position(3))
    with pytest.raises(WaitTimeout, match=r"offset 9 was not applied .*the map is at position 3"):
        await waiters.wait(Offset(9), timeout_seconds=0.01)
    assert len(waiters) == 0


@pytest.mark.asyncio
async def test_a_lost_map_ends_every_wait() -> None:
    waiters = Waiters()
    tasks = [asyncio.create_task(waiters.wait(Offset(n), timeout_seconds=60)) for n in range(3)]
    await asyncio.sleep(0)
    waiters.fail_all(LogReplaced("gone"))
    for task in tasks:
        with pytest.raises(LogReplaced, match="gone"):
            await task


@pytest.mark.asyncio
async def test_waits_for_an_offset_that_never_comes_do_not_pile_up() -> None:
    waiters = Waiters()
    for _ in range(5):
        waits = [waiters.wait(Offset(10**9), timeout_seconds=0.001) for _ in range(1000)]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(result, WaitTimeout) for result in results)
    assert len(waiters) == 0
    assert waiters.heap_size <= 2048


@pytest.mark.asyncio
async def test_a_cancelled_wait_is_forgotten() -> None:
    waiters = Waiters()
    task = asyncio.create_task(waiters.wait(Offset(1), timeout_seconds=60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(waiters) == 0
    waiters.release(Position(2))
    assert len(waiters) == 0
