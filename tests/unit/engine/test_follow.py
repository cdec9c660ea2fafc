"""The follower's lives: replay, serving, outages, lost logs."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sharedlogkv_replica.core.modes import Reason
from sharedlogkv_replica.core.records import Batch, Entry, Offset, Position
from sharedlogkv_replica.engine import follow
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.errors import LogReplaced
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from tests.support.eventually import eventually


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch and the back-off at the pace of a test."""
    monkeypatch.setattr(follow, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(follow, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(follow, "LAST_BACKOFF_SECONDS", 0.02)


@asynccontextmanager
async def following(broker: MemoryBroker) -> AsyncIterator[Follower]:
    log = MemoryLog(broker, query_timeout_seconds=0.05)
    follower = Follower(log)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.wait([task])
        await log.close()


async def ready(follower: Follower) -> None:
    await eventually(lambda: follower.standing.ready, what=f"Ready; is {follower.standing}")


def numbered(count: int) -> list[Entry]:
    return [Entry(b"key-%06d" % n, b"value-%d" % n) for n in range(count)]


@pytest.mark.asyncio
async def test_it_is_ready_only_when_the_map_has_reached_the_end_seen_at_the_start() -> None:
    broker = MemoryBroker()
    broker.append(numbered(2_000))
    async with following(broker) as follower:
        while not follower.standing.ready:
            assert follower.standing.reason in (Reason.STARTING, Reason.REPLAYING)
            await asyncio.sleep(0)
        assert follower.position == 2_000
        assert len(follower.store) == 2_000
        assert follower.replay is not None
        assert (follower.replay.records, follower.replay.target) == (2_000, 2_000)


@pytest.mark.asyncio
async def test_an_end_that_no_reader_sees_is_reached_all_the_same() -> None:
    broker = MemoryBroker()
    broker.append(numbered(3))
    broker.skip(5)
    async with following(broker) as follower:
        await ready(follower)
        assert follower.position == 8


@pytest.mark.asyncio
async def test_new_records_are_applied_and_wake_their_waiters() -> None:
    broker = MemoryBroker()
    async with following(broker) as follower:
        await ready(follower)
        waiting = follower.waiters.wait(Offset(1), timeout_seconds=5)
        broker.append(numbered(2))
        await waiting
        assert follower.store.get(b"key-000001") == (1, b"value-1")


@pytest.mark.asyncio
async def test_during_an_outage_reads_go_on_the_lag_grows_and_all_mends_itself() -> None:
    broker = MemoryBroker()
    broker.append(numbered(10))
    async with following(broker) as follower:
        await ready(follower)
        broker.fault = Fault.UNREACHABLE
        await eventually(lambda: follower.out_of_reach_seconds > 0)
        assert follower.standing.ready
        assert "out of reach" in follower.standing.message
        assert len(follower.store) == 10
        assert follower.lag_seconds(follower.lag.caught_up_ms + 30_000) == 30
        broker.append([Entry(b"late", b"")])
        broker.fault = None
        await eventually(lambda: follower.store.get(b"late") == (10, b""))
        await eventually(lambda: follower.standing.message == "serving")
        assert follower.lives == 1


@pytest.mark.asyncio
async def test_a_log_deleted_and_created_anew_is_never_served_even_when_it_is_longer() -> None:
    broker = MemoryBroker()
    broker.append(numbered(10))
    async with following(broker) as follower:
        await ready(follower)
        waiting = follower.waiters.wait(Offset(10_000), timeout_seconds=5)
        await asyncio.sleep(0)
        broker.recreate()
        broker.append(numbered(200))
        await eventually(lambda: follower.standing.reason is Reason.LOG_REPLACED)
        assert not follower.standing.ready
        assert len(follower.store) == 0
        with pytest.raises(LogReplaced):
            await waiting
        lives = follower.lives
        await asyncio.sleep(0.1)
        assert (follower.lives, len(follower.store)) == (lives, 0)


@pytest.mark.asyncio
async def test_a_deleted_log_is_not_served_and_its_return_under_another_id_changes_nothing() -> None:
    broker = MemoryBroker()
    broker.append(numbered(10))
    async with following(broker) as follower:
        await ready(follower)
        broker.delete()
        await eventually(lambda: not follower.standing.ready)
        broker.recreate()
        await eventually(lambda: follower.standing.reason is Reason.LOG_REPLACED)
        assert len(follower.store) == 0


@pytest.mark.asyncio
async def test_a_log_that_lost_what_was_next_is_replayed_from_its_beginning() -> None:
    broker = MemoryBroker()
    broker.append(numbered(10))
    async with following(broker) as follower:
        await ready(follower)
        broker.fault = Fault.UNREACHABLE
        broker.append([Entry(b"lost", b""), Entry(b"kept", b"")])
        broker.delete_before(Position(11))
        broker.fault = None
        await eventually(lambda: follower.lives == 2)
        await ready(follower)
        assert dict(follower.store.scan(b"", None)) == {b"kept": (11, b"")}


@pytest.mark.asyncio
async def test_a_replay_that_outlasts_the_tombstones_begins_anew() -> None:
    broker = MemoryBroker(tombstone_seconds=0.0)
    broker.append(numbered(10))
    async with following(broker) as follower:
        await eventually(lambda: follower.lives >= 2)
        assert not follower.standing.ready
        assert follower.standing.reason in (Reason.LOG_TRUNCATED, Reason.REPLAYING)
        broker.tombstone_seconds = 60.0
        await ready(follower)


@pytest.mark.asyncio
async def test_a_map_cut_off_for_longer_than_tombstones_stay_is_replayed() -> None:
    broker = MemoryBroker(tombstone_seconds=0.5)
    broker.append(numbered(10))
    async with following(broker) as follower:
        await ready(follower)
        broker.fault = Fault.UNREACHABLE
        await eventually(lambda: follower.standing.reason is Reason.LOG_TRUNCATED or follower.lives > 1)
        assert len(follower.store) == 0
        broker.fault = None
        await ready(follower)
        assert len(follower.store) == 10


@pytest.mark.asyncio
async def test_a_log_that_is_out_of_reach_at_the_start_is_waited_for() -> None:
    broker = MemoryBroker()
    broker.append(numbered(1))
    broker.fault = Fault.UNREACHABLE
    async with following(broker) as follower:
        await eventually(lambda: follower.standing.reason is Reason.LOG_UNAVAILABLE)
        broker.fault = None
        await ready(follower)


@pytest.mark.asyncio
async def test_a_process_that_was_frozen_for_longer_than_tombstones_stay_replays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = MemoryBroker(tombstone_seconds=60.0)
    broker.append([Entry(b"deleted", b""), Entry(b"kept", b"")])
    async with following(broker) as follower:
        await ready(follower)
        clock = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 61)
        broker.delete_before(Position(1))
        await eventually(lambda: follower.lives == 2)
        await ready(follower)
        assert dict(follower.store.scan(b"", None)) == {b"kept": (1, b"")}


@pytest.mark.asyncio
async def test_a_lost_log_is_stood_back_from_before_its_reader_has_closed() -> None:
    broker = MemoryBroker()
    broker.append(numbered(3))
    closing, closed = asyncio.Event(), asyncio.Event()

    class SlowToClose(MemoryLog):
        async def read(self, start: Position) -> AsyncGenerator[Batch, None]:
            try:
                async for batch in super().read(start):
                    yield batch
            finally:
                closing.set()
                await closed.wait()

    log = SlowToClose(broker)
    follower = Follower(log)
    task = asyncio.create_task(follower.run())
    await ready(follower)
    broker.recreate()
    broker.append(numbered(200))
    await asyncio.wait_for(closing.wait(), 10)
    assert (follower.standing.ready, len(follower.store)) == (False, 0)
    closed.set()
    task.cancel()
    await asyncio.wait([task])
