"""Group commit: one batch is on its way to the log; what arrives meanwhile is the next.

The latency of one append is shared by all writes that wait for it, so throughput rises with load and nobody waits for
a timer. Only one batch is ever in flight: more were measured to gain nothing, and one keeps the outcome of every write
a matter of a single answer.

Overload and outages are answered, not queued: the queue is bounded in records and bytes, every write has a deadline,
and while the log fails only the batch that probes it waits; every other write is refused at once (a half-open breaker).

Caller's duties: `run()` in one supervised task; `drain()` before cancelling it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sharedlogkv_replica.core.records import BARRIER, Entry, Offset, Position
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.engine.write_queue import Pending, QueueLimits, WriteQueue
from sharedlogkv_replica.errors import LogUnavailable, OutcomeUnknown, RecordTooLarge, ReplicaError
from sharedlogkv_replica.log.base import BATCH_OVERHEAD_BYTES, SharedLog, entry_bound_bytes


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """Bounds of the group commit.

    Attributes:
        timeout_seconds: from a write's arrival to its answer, whatever it is.
        batch_bytes: the largest batch, framing included, until the log tells its own limit.
        batch_records: the most records in one batch; 500 keep the work between two answers to reads short.
        queue_records: writes that wait for a batch, at most.
        queue_bytes: their sizes summed, at most.
    """

    timeout_seconds: float
    batch_bytes: int
    batch_records: int = 500
    queue_records: int = 20_000
    queue_bytes: int = 64 << 20


@dataclass(slots=True)
class CommitCounters:
    """What the group commit did since the start, for the metrics."""

    batches: int = 0
    records: int = 0
    barriers: int = 0
    refused: int = 0
    unavailable: int = 0
    unknown: int = 0


class GroupCommit:
    """Collects entries into batches and appends them one after the other.

    Attributes:
        counters: for the metrics.
        failing: why the last append failed; None after a success.
        batch_limit_bytes: the largest batch, framing included; the log's own limit once it is known.
    """

    def __init__(self, log: SharedLog, limits: CommitLimits, *, witness: Callable[[], Position | None]) -> None:
        """Appends nothing before `run`.

        Args:
            log: where to append.
            limits: the bounds.
            witness: the position of a map that follows the same log; None while it can't vouch for the log.
        """
        self._log = log
        self._witness = witness
        self._closed = False
        self._limits = limits
        self.batch_limit_bytes = limits.batch_bytes
        self._queue: WriteQueue[Entry] = WriteQueue(
            QueueLimits(limits.timeout_seconds, limits.queue_records, limits.queue_bytes), on_expired=self._note_expired
        )
        self._barrier: asyncio.Future[Offset] | None = None
        self._in_flight = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.counters = CommitCounters()
        self.failing: ReplicaError | None = None

    @property
    def queued_records(self) -> int:
        """Writes that wait for a batch now."""
        return len(self._queue)

    def submit(self, entry: Entry) -> "asyncio.Future[Offset]":
        """Joins the next batch. The future ends with the record's offset once the log has acknowledged it.

        A caller that gives up may cancel the future; its entry is then left out if it was not sent yet.

        The future's errors:
            RecordTooLarge: it would not fit into a batch alone.
            LogUnavailable: not written: the queue is full, the log is out of reach, or the deadline came first.
            OutcomeUnknown: sent, and no answer before the deadline.
            LogRefused: the log does not let us write.
        """
        future: asyncio.Future[Offset] = asyncio.get_running_loop().create_future()
        size = entry_bound_bytes(entry)
        problem = self._admit(size)
        if problem is not None:
            self.counters.refused += 1
            fail(future, problem)
            return future
        self._queue.put(entry, future, size=size)
        self._idle.clear()
        self._wake.set()
        return future

    def barrier(self) -> "asyncio.Future[Offset]":
        """A barrier in the next batch, shared by all who ask before that batch leaves. Don't cancel it: shield it.

        Whoever asks after a batch has left needs a later one: the batch may be in the log before a write that was
        acknowledged before the question.
        """
        if self._barrier is None:
            self.counters.barriers += 1
            self._barrier = self.submit(BARRIER)
            if self._barrier.done():  # refused: never queued, so nothing would clear it
                refused, self._barrier = self._barrier, None
                return refused
        return self._barrier

    def _admit(self, size: int) -> ReplicaError | None:
        if self._closed:
            return LogUnavailable("the replica stops, and takes no write any more")
        if size + BATCH_OVERHEAD_BYTES > self.batch_limit_bytes:
            return RecordTooLarge(
                f"a record of about {size} bytes does not fit the log's {self.batch_limit_bytes} bytes"
            )
        if self.failing is not None and self._in_flight:
            return LogUnavailable(f"the log can't be written at the moment: {self.failing}")
        return self._queue.find_problem(size)

    def _note_expired(self, pending: Pending[Entry]) -> None:
        if pending.item is BARRIER:
            self._barrier = None
        self.counters.unavailable += not pending.future.done()

    async def run(self) -> None:
        """Appends batch after batch until cancelled; ends what is left as `LogUnavailable` or `OutcomeUnknown`."""
        batch: Sequence[Pending[Entry]] = ()
        try:
            while True:
                if not self._queue:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                    await asyncio.sleep(0)  # every client that is ready in this turn of the loop joins the batch
                batch = self._take()
                if batch:
                    await self._append(batch)
                batch = ()
        finally:
            self._abandon(batch)

    def _take(self) -> list[Pending[Entry]]:
        """The next batch, in order of arrival; entries whose caller gave up are left out."""
        batch: list[Pending[Entry]] = []
        room = self.batch_limit_bytes - BATCH_OVERHEAD_BYTES
        while self._queue and len(batch) < self._limits.batch_records:
            if self._queue.next_size > room and batch:
                break
            pending = self._queue.pop()
            if pending.item is BARRIER:
                self._barrier = None
            if pending.size > room:  # the limit was lowered while it waited
                fail(pending.future, RecordTooLarge(f"the log now takes {self.batch_limit_bytes} bytes at most"))
            elif not pending.future.done():
                room -= pending.size
                batch.append(pending)
        return batch

    async def _append(self, batch: Sequence[Pending[Entry]]) -> None:
        self._in_flight = True
        try:
            base = await self._append_once(batch)
        except RecordTooLarge as error:  # the log takes less than it told, and nothing was written
            if len(batch) == 1:
                fail(batch[0].future, error)
                return
            await self._append(batch[: len(batch) // 2])
            await self._append(batch[len(batch) // 2 :])
        except ReplicaError as error:
            self.failing = error
            if isinstance(error, OutcomeUnknown):
                self.counters.unknown += len(batch)
            else:
                self.counters.unavailable += len(batch)
            for pending in batch:
                fail(pending.future, type(error)(*error.args))
        else:
            self.failing = None
            self.counters.batches += 1
            self.counters.records += len(batch)
            for index, pending in enumerate(batch):
                if not pending.future.done():
                    pending.future.set_result(Offset(base + index))
        finally:
            self._in_flight = False

    async def _append_once(self, batch: Sequence[Pending[Entry]]) -> Offset:
        """The offset of the batch's first record, if the map that follows the log vouches that it is still that log.

        A log that was deleted and created anew under the same name takes writes as well, and loses them for us. Where
        its offsets are below what the map has applied, or the map was given up meanwhile, that shows here.
        """
        floor = self._witness()
        if floor is None:
            raise LogUnavailable("the log that this replica follows is not there; nothing was written")
        remaining = batch[0].deadline - asyncio.get_running_loop().time()
        base = await self._log.append([p.item for p in batch], timeout_seconds=max(remaining, 0.001))
        if base < floor or self._witness() is None:
            raise OutcomeUnknown("the log was replaced or lost records while the write was on its way")
        return base

    def _abandon(self, batch: Sequence[Pending[Entry]]) -> None:
        self._closed = True
        for pending in batch:
            fail(pending.future, OutcomeUnknown("the replica stopped while the write was on its way"))
        for pending in self._queue.drain():
            fail(pending.future, LogUnavailable("the replica stopped before it sent the write"))
        self._barrier = None

    async def drain(self) -> None:
        """Returns once nothing is queued or in flight; the caller bounds the time."""
        await self._idle.wait()
