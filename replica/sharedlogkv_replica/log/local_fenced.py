"""The fenced writer of a log that keeps its book of epochs itself, in memory or in a file."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import BARRIER, Entry, Offset
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.base import Claimed, batch_bound_bytes
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.held_claim import FENCE_EPOCH, HeldClaim


class Delivery(Protocol):
    """How a batch gets into the log."""

    def __call__(
        self, entries: Sequence[Entry], *, deadline: float, writer: Writer = ..., claims: bool = False
    ) -> Awaitable[Offset]:
        """Appends the entries in the name of `writer`; raises as `FencedWriter.append` does.

        Args:
            entries: the batch.
            deadline: by the loop's clock.
            writer: refused where a higher epoch has written; left out for a batch that needs no claim.
            claims: whether it is a claim, and to be refused also where its own epoch has written.
        """
        ...


class LocalFencedWriter:
    """One writer of a log; implements `FencedWriter`.

    Args:
        deliver: appends a batch.
        take_epoch: by a deadline of the loop's clock, the log's id and the name to claim with.
        continuity: whether the log is still the one that was opened.
        counters: where to count.
    """

    def __init__(
        self,
        deliver: Delivery,
        take_epoch: Callable[[float], Awaitable[tuple[str, Writer]]],
        *,
        continuity: Continuity,
        counters: LogCounters,
    ) -> None:
        self._deliver = deliver
        self._take_epoch = take_epoch
        self._continuity = continuity
        self._counters = counters
        self._claim = HeldClaim(continuity)
        self._closed = False

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        """See `FencedWriter.claim`."""
        self._claim.spend()
        with self._counters.count_claim():
            self._check_open()
            deadline = asyncio.get_running_loop().time() + timeout_seconds
            log_id, writer = await self._take_epoch(deadline)
            self._continuity.check_claimable(log_id)
            for other in sorted({*enlisted} - {writer.producer_id}):
                await self._shut_out(other, deadline)
            entries = compose(writer)
            first = await self._deliver(entries, deadline=deadline, writer=writer, claims=True)
            await self._test_fence(writer, deadline)
        self._claim.hold(writer)
        return Claimed(Offset(first + len(entries) - 1), writer)

    async def _shut_out(self, producer_id: int, deadline: float) -> None:
        try:
            await self._deliver([BARRIER], deadline=deadline, writer=Writer(producer_id, FENCE_EPOCH))
        except OutcomeUnknown as error:
            raise LogUnavailable("an earlier leader could not be shut out in time") from error

    async def _test_fence(self, writer: Writer, deadline: float) -> None:
        self._counters.fence_tests += 1
        before = Writer(writer.producer_id, writer.epoch - 1)
        try:
            await self._deliver([BARRIER], deadline=deadline, writer=before)
        except Fenced:
            return
        except (LogUnavailable, OutcomeUnknown) as error:
            self._counters.fence_test_failures += 1
            raise OutcomeUnknown("claimed, and then the log did not answer the test of its fence") from error
        self._counters.fence_test_failures += 1
        raise LogRefused("the log takes batches of an earlier claim, so nobody may lead on it")

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """See `FencedWriter.append`."""
        assert entries, "an empty batch has no offset"
        with self._counters.count_append():
            self._check_open()
            deadline = asyncio.get_running_loop().time() + timeout_seconds
            with self._claim.at_stake() as writer:
                offset = await self._deliver(entries, deadline=deadline, writer=writer)
        self._counters.count_appended(records=len(entries), size_bytes=batch_bound_bytes(entries))
        return offset

    async def close(self) -> None:
        """See `FencedWriter.close`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable("the writer was closed")
