"""A replica's whole part in leader mode: a writer that dies or hangs, and a log that can't be led, are seen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.writes import Write
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.leader_mode import HUNG_SECONDS, LeaderMode, LeaderSettings
from sharedlogkv_replica.errors import NoLeader
from sharedlogkv_replica.log.base import Claimed, FencedWriter
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from tests.support import virtual_time
from tests.support.eventually import eventually

SETTINGS = LeaderSettings("me", "", lease_seconds=3.0, jitter=0.0, write_timeout_seconds=5.0)


class HangingWriter:
    """A writer that minds no deadline; a bug, or a thread that is gone."""

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        raise AssertionError(await asyncio.Event().wait())

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        raise AssertionError(await asyncio.Event().wait())

    async def close(self) -> None:
        pass


class DyingWriter(HangingWriter):
    """A writer with a bug."""

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        raise ZeroDivisionError


class LogWith(MemoryLog):
    """A log whose fenced writer is another one."""

    def __init__(self, broker: MemoryBroker, writer: FencedWriter) -> None:
        super().__init__(broker)
        self._other = writer

    def fenced_writer(self) -> FencedWriter:  # type: ignore[override] # the protocol's type is what is wanted
        return self._other


@asynccontextmanager
async def following(log: MemoryLog) -> AsyncIterator[LeaderMode]:
    """A replica that follows the log, and does nothing else yet."""
    follower = Follower(log)
    mode = LeaderMode(
        log, follower, SETTINGS, batch_limit_bytes=100_000, dialer=None, clock=asyncio.get_running_loop().time
    )
    task = asyncio.create_task(follower.run())
    try:
        yield mode
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.close()


def test_a_writer_that_hangs_is_told_to_whoever_restarts_the_process() -> None:
    async def main() -> None:
        async with following(LogWith(MemoryBroker(), HangingWriter())) as mode:
            running = asyncio.create_task(mode.run())
            await eventually(lambda: mode.lead.busy_seconds > HUNG_SECONDS / 2, timeout_seconds=1e9)
            assert mode.find_ailment() is None, "it may only be slow"
            await eventually(lambda: mode.lead.busy_seconds > HUNG_SECONDS, timeout_seconds=1e9)
            assert "an append or claim has hung" in str(mode.find_ailment())
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(main())


def test_an_election_that_does_not_turn_is_told_too() -> None:
    async def main() -> None:
        async with following(MemoryLog(MemoryBroker())) as mode:
            assert mode.find_ailment() is None
            await asyncio.sleep(HUNG_SECONDS + 1)
            assert "the election has not turned" in str(mode.find_ailment())
            await mode.forwarder.close()

    virtual_time.run(main())


def test_a_writer_that_dies_ends_the_whole_and_so_the_process() -> None:
    async def main() -> None:
        async with following(LogWith(MemoryBroker(), DyingWriter())) as mode:
            with pytest.raises(ExceptionGroup) as ended:
                await mode.run()
            assert ended.group_contains(ZeroDivisionError)
            with pytest.raises(NoLeader):
                await mode.forwarder.write(Write(b"k", b"1"))

    virtual_time.run(main())


def test_on_a_log_that_does_not_fence_nobody_leads_and_the_reason_is_told_in_plain_words() -> None:
    async def main() -> None:
        broker = MemoryBroker()
        broker.fault = Fault.UNFENCED
        async with following(MemoryLog(broker)) as mode:
            running = asyncio.create_task(mode.run())
            await eventually(lambda: mode.view.refusal, timeout_seconds=1e9)
            await asyncio.sleep(60)
            assert mode.lead.term is None
            assert mode.view.term is None
            assert mode.view.refusal == "the log takes batches of an earlier claim, so nobody may lead on it"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    virtual_time.run(main())
