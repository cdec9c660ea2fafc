"""The leader's word on how far a linearizable read has to see: it waits for the batch that is on its way."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from sharedlogkv_replica.core.leadership import (
    Stamp,
)
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.writes import (
    Write,
    Written,
)
from sharedlogkv_replica.engine.leadership import Leadership
from sharedlogkv_replica.engine.local_service import LocalService
from sharedlogkv_replica.errors import (
    LogRefused,
)
from sharedlogkv_replica.log.base import FencedWriter
from sharedlogkv_replica.log.memory import Fault
from tests.support.eventually import eventually
from tests.support.leader_bench import bench


@pytest.mark.asyncio
async def test_what_a_stamp_answers_is_in_every_read_index_though_the_batch_comes_in_two_parts() -> None:
    async with bench() as made:
        term = await made.take_over()
        made.lead.observe(Offset(100), Stamp(term, 7, 3))
        assert made.lead.committed == 103


class LateWord:
    """A writer whose acknowledgements come when the test says so: the log, and others' maps, have the batch before."""

    def __init__(self, writer: FencedWriter) -> None:
        self.writer = writer
        self.come = asyncio.Event()

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """Appends, and tells late."""
        base = await self.writer.append(entries, timeout_seconds=timeout_seconds)
        await self.come.wait()
        return base


@pytest.mark.asyncio
async def test_the_read_index_waits_for_a_batch_that_others_may_have_shown_already() -> None:
    async with bench() as made:
        await made.take_over()
        service = LocalService(made.lead, cast(Leadership, made.ledger), made.follower)
        known = service.index_now()
        assert known == await service.read_index()
        late = LateWord(made.lead._writer)
        made.lead._writer = cast(FencedWriter, late)
        write = made.lead.intake.submit(Write(b"k", b"1"))
        await eventually(lambda: made.broker.end > made.ledger.claimed[-1].offset + 1)
        assert made.lead.flight.is_on
        assert service.index_now() is None
        index = service.read_index()
        await asyncio.sleep(0.01)
        assert not index.done()
        late.come.set()
        written = await write
        assert isinstance(written, Written)
        assert await index == written.offset
        assert service.index_now() == written.offset


@pytest.mark.asyncio
@pytest.mark.parametrize("holds", [True, False])
async def test_a_batch_that_ends_without_success_ends_the_wait_for_the_read_index(holds: bool) -> None:
    async with bench() as made:
        await made.take_over()
        service = LocalService(made.lead, cast(Leadership, made.ledger), made.follower)
        made.broker.fault = Fault.WRITE_REFUSED
        write = made.lead.intake.submit(Write(b"k", b"1"))
        await eventually(lambda: made.lead.flight.is_on)
        index = service.read_index()
        made.ledger.holds = holds
        with pytest.raises(LogRefused):
            await write
        assert await index == (made.ledger.claimed[-1].offset if holds else None)
