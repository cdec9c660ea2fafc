"""Group commit: batches, order, deadlines, overload."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sharedlogkv_replica.core.records import BARRIER_KEY, START, Entry, Position
from sharedlogkv_replica.engine.commit import CommitLimits, GroupCommit
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from tests.support.eventually import eventually

LIMITS = CommitLimits(timeout_seconds=5, batch_bytes=10_000)


@asynccontextmanager
async def committing(
    broker: MemoryBroker, limits: CommitLimits = LIMITS, *, witness: Callable[[], Position | None] = lambda: START
) -> AsyncIterator[GroupCommit]:
    commit = GroupCommit(MemoryLog(broker), limits, witness=witness)
    task = asyncio.create_task(commit.run())
    try:
        yield commit
    finally:
        task.cancel()
        await asyncio.wait([task])


def put(n: int) -> Entry:
    return Entry(b"key-%d" % n, b"value")


@pytest.mark.asyncio
async def test_writes_that_arrive_together_share_a_batch_and_keep_their_order() -> None:
    broker = MemoryBroker()
    async with committing(broker) as commit:
        offsets = await asyncio.gather(*(commit.submit(put(n)) for n in range(100)))
        assert offsets == list(range(100))
        assert commit.counters.batches == 1
    batch = broker.fetch(START)
    assert batch is not None
    assert [key for _, key, _ in batch.records] == [b"key-%d" % n for n in range(100)]


@pytest.mark.asyncio
async def test_a_batch_never_exceeds_its_bounds() -> None:
    limits = CommitLimits(timeout_seconds=5, batch_bytes=500, batch_records=4)
    async with committing(MemoryBroker(batch_limit_bytes=500), limits) as commit:
        sizes = [1, 1, 1, 1, 1, 300, 300, 400]
        offsets = await asyncio.gather(*(commit.submit(Entry(b"k", b"x" * size)) for size in sizes))
        assert offsets == list(range(len(sizes)))
        assert commit.counters.batches == 4


@pytest.mark.asyncio
async def test_a_record_that_fits_no_batch_is_refused_at_once() -> None:
    async with committing(MemoryBroker()) as commit:
        with pytest.raises(RecordTooLarge, match="does not fit"):
            await commit.submit(Entry(b"k", bytes(10_000)))


@pytest.mark.asyncio
async def test_during_an_outage_the_probe_waits_and_the_rest_is_refused_at_once_and_the_log_s_return_ends_it() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    async with committing(broker, CommitLimits(timeout_seconds=0.05, batch_bytes=10_000)) as commit:
        with pytest.raises(LogUnavailable):
            await commit.submit(put(0))
        probe = commit.submit(put(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = commit.submit(put(2))
        assert refused.done()
        assert isinstance(refused.exception(), LogUnavailable)
        with pytest.raises(LogUnavailable):
            await probe
        assert broker.end == START
        broker.fault = None
        assert await commit.submit(put(3)) == 0
        assert commit.failing is None


@pytest.mark.asyncio
async def test_a_write_whose_answer_is_lost_is_unknown_and_one_that_was_queued_behind_it_was_not_written() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.ANSWER_LOST
    async with committing(broker, CommitLimits(timeout_seconds=0.1, batch_bytes=10_000)) as commit:
        sent = commit.submit(put(0))
        await eventually(lambda: broker.end == 1)
        queued = commit.submit(put(1))
        broker.fault = Fault.UNREACHABLE
        with pytest.raises(OutcomeUnknown):
            await sent
        with pytest.raises(LogUnavailable):
            await queued
        assert broker.end == 1
        assert (commit.counters.unknown, commit.counters.unavailable) == (1, 1)


@pytest.mark.asyncio
async def test_a_full_queue_refuses_and_says_how_full_it_is() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    async with committing(broker, CommitLimits(timeout_seconds=60, batch_bytes=10_000, queue_records=10)) as commit:
        waiting = [commit.submit(put(n)) for n in range(10)]
        with pytest.raises(LogUnavailable, match="10 writes"):
            await commit.submit(put(10))
        broker.fault = None
        assert await asyncio.gather(*waiting) == list(range(10))


@pytest.mark.asyncio
async def test_a_refusing_log_is_told_as_refused() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.WRITE_REFUSED
    async with committing(broker) as commit:
        with pytest.raises(LogRefused):
            await commit.submit(put(0))


@pytest.mark.asyncio
async def test_readers_that_ask_before_a_batch_leaves_share_its_barrier_and_later_ones_do_not() -> None:
    broker = MemoryBroker()
    async with committing(broker) as commit:
        first = [commit.barrier() for _ in range(50)]
        assert set(await asyncio.gather(*map(asyncio.shield, first))) == {0}
        assert await commit.barrier() == 1
        assert commit.counters.barriers == 2
    batch = broker.fetch(START)
    assert batch is not None
    assert [key for _, key, _ in batch.records] == [BARRIER_KEY] * 2


@pytest.mark.asyncio
async def test_a_barrier_asked_for_while_a_batch_is_on_its_way_waits_for_the_next() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    async with committing(broker) as commit:
        first = commit.barrier()
        await eventually(lambda: commit.queued_records == 0)
        second = commit.barrier()
        assert second is not first
        broker.fault = None
        assert (await first, await second) == (0, 1)


@pytest.mark.asyncio
async def test_a_caller_that_gives_up_before_its_write_is_sent_leaves_nothing_behind() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    async with committing(broker) as commit:
        sent = commit.submit(put(0))
        await eventually(lambda: commit.queued_records == 0)
        given_up, kept = commit.submit(put(1)), commit.submit(put(2))
        given_up.cancel()
        broker.fault = None
        assert (await sent, await kept) == (0, 1)
        assert broker.end == 2


@pytest.mark.asyncio
async def test_drain_returns_once_all_is_acknowledged() -> None:
    async with committing(MemoryBroker()) as commit:
        writes = [commit.submit(put(n)) for n in range(1_200)]
        await commit.drain()
        assert all(write.done() for write in writes)


@pytest.mark.asyncio
async def test_a_stop_tells_sent_writes_from_unsent_ones() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.REQUEST_LOST
    async with committing(broker) as commit:
        sent = commit.submit(put(0))
        await eventually(lambda: commit.queued_records == 0)
        unsent = commit.submit(put(1))
    assert isinstance(sent.exception(), OutcomeUnknown)
    assert isinstance(unsent.exception(), LogUnavailable)


@pytest.mark.asyncio
async def test_an_offset_below_what_the_map_has_applied_is_that_of_another_log() -> None:
    broker = MemoryBroker()
    async with committing(broker, witness=lambda: Position(10)) as commit:
        with pytest.raises(OutcomeUnknown, match="replaced"):
            await commit.submit(put(0))


@pytest.mark.asyncio
async def test_nothing_is_written_while_nobody_vouches_for_the_log() -> None:
    broker = MemoryBroker()
    async with committing(broker, witness=lambda: None) as commit:
        with pytest.raises(LogUnavailable):
            await commit.submit(put(0))
    assert broker.end == START


@pytest.mark.asyncio
async def test_a_write_that_lands_after_the_map_was_given_up_is_unknown() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    vouched: list[Position | None] = [START]
    async with committing(broker, witness=lambda: vouched[0]) as commit:
        write = commit.submit(put(0))
        await eventually(lambda: commit.queued_records == 0)
        vouched[0] = None
        broker.recreate()
        broker.fault = None
        with pytest.raises(OutcomeUnknown):
            await write


@pytest.mark.asyncio
async def test_a_limit_lowered_while_a_write_waits_refuses_it_and_goes_on_with_the_others() -> None:
    broker = MemoryBroker()
    broker.fault = Fault.UNREACHABLE
    async with committing(broker) as commit:
        first = commit.submit(put(0))
        await eventually(lambda: commit.queued_records == 0)
        large, small = commit.submit(Entry(b"k", bytes(5_000))), commit.submit(put(1))
        commit.batch_limit_bytes = 1_000
        broker.fault = None
        assert await first == 0
        with pytest.raises(RecordTooLarge):
            await large
        assert await small == 1


@pytest.mark.asyncio
async def test_a_log_that_takes_less_than_it_told_gets_smaller_batches() -> None:
    broker = MemoryBroker(batch_limit_bytes=300)
    async with committing(broker) as commit:
        writes = [commit.submit(put(n)) for n in range(40)]
        assert await asyncio.gather(*writes) == list(range(40))
        assert commit.failing is None


@pytest.mark.asyncio
async def test_a_write_after_the_end_is_refused_at_once() -> None:
    async with committing(MemoryBroker()) as commit:
        assert await commit.submit(put(0)) == 0
    late = commit.submit(put(0))
    assert late.done()
    assert isinstance(late.exception(), LogUnavailable)
