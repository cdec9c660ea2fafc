"""The fenced writer of the log in memory: the contract of every fenced writer, and the faults that it plays."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.base import FencedWriter
from sharedlogkv_replica.log.memory import Fault
from tests.support.fenced_contract import CLAIM_KEY, FencedContract, claim, contents
from tests.support.log_site import opened
from tests.support.memory import SHORT_SECONDS, MemorySite


@pytest_asyncio.fixture(name="site")
async def _site() -> AsyncIterator[MemorySite]:
    site = MemorySite()
    yield site
    await site.close()


class TestMemoryFencedWriter(FencedContract):
    """The contract, on memory."""


async def claim_soon(writer: FencedWriter) -> None:
    await writer.claim(lambda _: [Entry(CLAIM_KEY, b"a")], enlisted=(), timeout_seconds=SHORT_SECONDS)


async def write_soon(writer: FencedWriter, value: bytes) -> None:
    await writer.append([Entry(b"key", value)], timeout_seconds=SHORT_SECONDS)


@pytest.mark.parametrize(
    ("fault", "written"), [(Fault.REQUEST_LOST, []), (Fault.REQUEST_LATE, []), (Fault.ANSWER_LOST, [b"unknown"])]
)
@pytest.mark.asyncio
async def test_a_batch_of_unknown_outcome_is_before_the_next_claim_or_nowhere(
    site: MemorySite, fault: Fault, written: list[bytes]
) -> None:
    log = await opened(site)
    writer = log.fenced_writer()
    await claim(writer)
    site.broker.fault = fault
    with pytest.raises(OutcomeUnknown):
        await write_soon(writer, b"unknown")
    site.broker.fault = None
    with pytest.raises(Fenced):
        await write_soon(writer, b"late")
    await claim(writer, "b")
    site.broker.deliver_late()
    await write_soon(writer, b"last")
    assert [value for _, _, value in await contents(log)] == [b"a", *written, b"b", b"last"]


@pytest.mark.asyncio
async def test_a_batch_on_its_way_still_lands_where_nobody_has_claimed_the_log_since(site: MemorySite) -> None:
    log = await opened(site)
    writer = log.fenced_writer()
    await claim(writer)
    site.broker.fault = Fault.REQUEST_LATE
    with pytest.raises(OutcomeUnknown):
        await write_soon(writer, b"late")
    site.broker.fault = None
    site.broker.deliver_late()
    assert [value for _, _, value in await contents(log)] == [b"a", b"late"]


@pytest.mark.parametrize(("fault", "claims"), [(Fault.REQUEST_LATE, 1), (Fault.ANSWER_LOST, 2)])
@pytest.mark.asyncio
async def test_a_claim_of_unknown_outcome_shuts_others_out_once_it_is_in_the_log(
    site: MemorySite, fault: Fault, claims: int
) -> None:
    log = await opened(site)
    leader, candidate = log.fenced_writer(), log.fenced_writer()
    await claim(leader)
    site.broker.fault = fault
    with pytest.raises(OutcomeUnknown):
        await claim_soon(candidate)
    site.broker.fault = None
    assert await log.end() == claims
    site.broker.deliver_late()
    with pytest.raises(Fenced):
        await write_soon(leader, b"late")
    assert (log.counters.claim_unknown, await log.end()) == (1, 2)


@pytest.mark.asyncio
async def test_what_could_not_be_sent_costs_no_claim(site: MemorySite) -> None:
    log = await opened(site)
    writer = log.fenced_writer()
    await claim(writer)
    for fault, error in ((Fault.UNREACHABLE, LogUnavailable), (Fault.WRITE_REFUSED, LogRefused)):
        site.broker.fault = fault
        with pytest.raises(error):
            await write_soon(writer, b"never sent")
        site.broker.fault = None
    await write_soon(writer, b"1")
    assert [value for _, _, value in await contents(log)] == [b"a", b"1"]


@pytest.mark.asyncio
async def test_a_log_that_does_not_fence_is_refused(site: MemorySite) -> None:
    log = await opened(site)
    site.broker.fault = Fault.UNFENCED
    writer = log.fenced_writer()
    with pytest.raises(LogRefused, match="earlier claim"):
        await claim(writer)
    with pytest.raises(Fenced):
        await write_soon(writer, b"1")
    assert (log.counters.fence_tests, log.counters.fence_test_failures) == (1, 1)


@pytest.mark.asyncio
async def test_a_leader_of_a_producer_id_that_was_forgotten_is_shut_out_by_whoever_knows_its_claim(
    site: MemorySite,
) -> None:
    log = await opened(site)
    old, new = log.fenced_writer(), log.fenced_writer()
    before = (await claim(old, "old")).writer
    site.broker.forget_producer()
    after = (await claim(new, "new", [before.producer_id])).writer
    assert after.producer_id != before.producer_id
    with pytest.raises(Fenced):
        await write_soon(old, b"late")
    await write_soon(new, b"1")
    assert [value for _, _, value in await contents(log)] == [b"old", b"new", b"1"]


@pytest.mark.asyncio
async def test_who_does_not_know_of_it_shuts_it_not_out(site: MemorySite) -> None:
    """So the log keeps the book of producer ids, and whoever reads it late claims again (core/leadership.py)."""
    log = await opened(site)
    old, new = log.fenced_writer(), log.fenced_writer()
    await claim(old)
    site.broker.forget_producer()
    await claim(new)
    await write_soon(old, b"late")
