"""The log in memory: the contract of every log, and the faults that it plays."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.records import START, Entry, Position
from sharedlogkv_replica.errors import LogRefused, LogTruncated, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from tests.support.log_contract import LogContract
from tests.support.log_site import append, numbered, opened, read_to
from tests.support.memory import SHORT_SECONDS, MemorySite


@pytest_asyncio.fixture(name="site")
async def _site() -> AsyncIterator[MemorySite]:
    site = MemorySite()
    yield site
    await site.close()


class TestMemoryLog(LogContract):
    """The contract, on memory."""


@pytest.mark.asyncio
async def test_an_unreachable_broker_fails_what_has_a_deadline_and_nothing_is_written(site: MemorySite) -> None:
    log = await opened(site)
    site.broker.fault = Fault.UNREACHABLE
    for query in (log.open, log.end, log.identify):
        with pytest.raises(LogUnavailable):
            await query()
    with pytest.raises(LogUnavailable):
        await log.append(numbered(1), timeout_seconds=SHORT_SECONDS)
    site.broker.fault = None
    assert await log.end() == 0
    assert (log.counters.append_unavailable, log.counters.query_failures) == (1, 3)


@pytest.mark.asyncio
async def test_an_append_waits_for_an_unreachable_broker_within_its_time(site: MemorySite) -> None:
    log = await opened(site)
    site.broker.fault = Fault.UNREACHABLE
    waiting = asyncio.create_task(append(log, *numbered(1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    site.broker.fault = None
    assert await waiting == 0


@pytest.mark.asyncio
async def test_a_reader_waits_through_an_outage_and_goes_on_where_it_was(site: MemorySite) -> None:
    log = await opened(site)
    await append(log, *numbered(2))
    site.broker.fault = Fault.UNREACHABLE
    reading = asyncio.create_task(read_to(log, Position(3)))
    site.broker.append(numbered(1, "meanwhile"))
    await asyncio.sleep(0)
    assert not reading.done()
    site.broker.fault = None
    assert [key for _, key, _ in await reading] == [b"key-0", b"key-1", b"meanwhile-0"]


@pytest.mark.parametrize(("fault", "written"), [(Fault.REQUEST_LOST, 0), (Fault.ANSWER_LOST, 1)])
@pytest.mark.asyncio
async def test_a_lost_request_and_a_lost_answer_look_the_same_to_the_appender(
    site: MemorySite, fault: Fault, written: int
) -> None:
    log = await opened(site)
    site.broker.fault = fault
    with pytest.raises(OutcomeUnknown):
        await log.append(numbered(1), timeout_seconds=SHORT_SECONDS)
    assert await log.end() == written


@pytest.mark.asyncio
async def test_a_refused_write_is_not_written(site: MemorySite) -> None:
    log = await opened(site)
    site.broker.fault = Fault.WRITE_REFUSED
    with pytest.raises(LogRefused):
        await append(log, *numbered(1))
    assert await log.end() == 0


@pytest.mark.asyncio
async def test_a_log_that_lost_acknowledged_records_is_used_again_once_it_was_opened_anew(site: MemorySite) -> None:
    log = await opened(site)
    await append(log, *numbered(10))
    site.broker.lose_from(Position(4))
    with pytest.raises(OutcomeUnknown, match="lost records"):
        await append(log, Entry(b"a", b"1"))
    with pytest.raises(LogTruncated):
        await log.identify()
    with pytest.raises(LogTruncated):
        await log.end()
    with pytest.raises(LogUnavailable):
        await append(log, Entry(b"b", b"1"))
    await log.open()
    assert (await log.identify(), await log.end()) == (site.broker.log_id, 5)
    assert await append(log, Entry(b"c", b"1")) == 5
    assert [key for _, key, _ in await read_to(log, Position(6))][4:] == [b"a", b"c"]


@pytest.mark.asyncio
async def test_reading_a_deleted_log_is_refused(site: MemorySite) -> None:
    log = await opened(site)
    site.broker.delete()
    with pytest.raises(LogRefused):
        await read_to(log, Position(1))


@pytest.mark.asyncio
async def test_compaction_keeps_the_last_record_of_each_key_at_its_offset(site: MemorySite) -> None:
    log = await opened(site)
    await append(log, Entry(b"a", b"1"), Entry(b"b", b"1"), Entry(b"a", b"2"), Entry(b"c", None))
    site.broker.compact()
    assert await read_to(log, Position(4)) == [(1, b"b", b"1"), (2, b"a", b"2"), (3, b"c", None)]


@pytest.mark.asyncio
async def test_compaction_drops_a_deletion_once_it_was_readable_long_enough() -> None:
    now_ms = 1_000_000
    broker = MemoryBroker(tombstone_seconds=10, now_ms=lambda: now_ms)
    log = MemoryLog(broker)
    await append(log, Entry(b"a", None), Entry(b"b", b"1"))
    now_ms += 10_000
    broker.compact()
    assert await read_to(log, Position(2), start=START) == [(1, b"b", b"1")]


@pytest.mark.asyncio
async def test_overwriting_one_key_for_ever_takes_no_more_memory_than_a_bounded_number_of_records() -> None:
    broker = MemoryBroker()
    log = MemoryLog(broker)
    for _ in range(1_100):
        broker.append(Entry(b"same", b"value") for _ in range(100))
    end = await log.end()
    assert end == 110_000
    assert len(await read_to(log, end)) < 100_000
