"""A shared log in this process's memory: `--log memory:` for a first try, and for tests the faults of a real log.

`MemoryBroker` stands where Kafka stands: several `MemoryLog` handles on one broker are several replicas on one log.
Nothing outlives the process.
"""

import asyncio
import contextlib
import enum
import secrets
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Final, Never

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import START, Batch, Entry, LogRecord, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.errors import (
    Fenced,
    LogRefused,
    LogTruncated,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
)
from sharedlogkv_replica.log.base import LogDescription, batch_bound_bytes
from sharedlogkv_replica.log.continuity import FENCED, PLAIN, Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.local_fenced import LocalFencedWriter

_KAFKA_DEFAULT_BATCH_LIMIT_BYTES: Final = 1_048_588
_BATCH_RECORDS: Final = 500
_COMPACT_FROM_RECORDS: Final = 100_000


class Fault(enum.Enum):
    """What can be wrong with a broker, for every handle on it."""

    UNREACHABLE = "no call gets through; reads wait"
    REQUEST_LOST = "an append leaves the handle, never arrives, and gets no answer"
    ANSWER_LOST = "an append is written, and its answer is lost"
    REQUEST_LATE = "a fenced append gets no answer, and arrives only at `deliver_late`; a plain one is lost"
    WRITE_REFUSED = "appends are refused for lack of rights"
    UNFENCED = "batches of an earlier claim are taken"


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryBroker:
    """One compacted log, and what can befall it. Owned by one event loop.

    Compacts itself when it has doubled, so that overwriting a few keys for ever takes no more memory than they do.

    Attributes:
        log_id: the id of the log now there; None when it was deleted.
        begin: the offset that the log begins at.
        end: the offset that the next record gets.
    """

    def __init__(
        self,
        *,
        batch_limit_bytes: int = _KAFKA_DEFAULT_BATCH_LIMIT_BYTES,
        tombstone_seconds: float = 7 * 86_400.0,
        compaction_lag_seconds: float = 0.0,
        now_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        self.batch_limit_bytes = batch_limit_bytes
        self.tombstone_seconds = tombstone_seconds
        self.compaction_lag_seconds = compaction_lag_seconds
        self._now_ms = now_ms
        self._fault: Fault | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self.log_id: str | None = None
        self.begin = self.end = START
        self._records: list[LogRecord] = []
        self._timestamps_ms: list[int] = []
        self._compact_from = _COMPACT_FROM_RECORDS
        self._newest_writer = Writer(producer_id=1, epoch=0)
        self._fences: dict[int, int] = {}  # the highest epoch that each producer id has written with
        self._late: list[tuple[Writer, Sequence[Entry], bool]] = []
        self.recreate()

    @property
    def fault(self) -> Fault | None:
        """What is wrong now; None when nothing is."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self._fault = fault
        self.wake()

    def append(self, entries: Iterable[Entry]) -> Offset:
        """Writes the entries behind each other, as any producer may; returns the offset of the first."""
        first = self.end
        now_ms = self._now_ms()
        for entry in entries:
            self._records.append((Offset(self.end), entry.key, entry.value))
            self._timestamps_ms.append(now_ms)
            self.end = Position(self.end + 1)
        if len(self._records) >= self._compact_from:
            self.compact()
        self.wake()
        return Offset(first)

    def take_epoch(self) -> Writer:
        """A name for the next claim, with an epoch above all that were handed out before."""
        self._newest_writer = Writer(self._newest_writer.producer_id, self._newest_writer.epoch + 1)
        return self._newest_writer

    def forget_producer(self) -> None:
        """Has the next `take_epoch` begin a new producer id, as when the old one expired or its epochs are used up."""
        self._newest_writer = Writer(self._newest_writer.producer_id + 1, epoch=0)

    def append_as(self, writer: Writer, entries: Iterable[Entry], *, claims: bool = False) -> Offset:
        """Writes the entries in the name of `writer`, and refuses all its earlier epochs from now on.

        Raises:
            Fenced: a later epoch has written already; for a claim also the same one.
        """
        fence = self._fences.get(writer.producer_id, 0)
        if (writer.epoch < fence or (claims and writer.epoch == fence)) and self._fault is not Fault.UNFENCED:
            raise Fenced(f"the log has a claim of epoch {fence}, and refuses epoch {writer.epoch}")
        self._fences[writer.producer_id] = max(fence, writer.epoch)
        return self.append(entries)

    def hold_back(self, writer: Writer, entries: Sequence[Entry], *, claims: bool) -> None:
        """Keeps a batch on its way until `deliver_late`."""
        self._late.append((writer, entries, claims))

    def deliver_late(self) -> None:
        """Every batch that was kept on its way arrives now, and is answered to nobody."""
        late, self._late = self._late, []
        for writer, entries, claims in late:
            with contextlib.suppress(Fenced):
                self.append_as(writer, entries, claims=claims)

    def skip(self, offsets: int) -> None:
        """Takes offsets that no reader sees, as transaction markers and aborted transactions do."""
        self.end = Position(self.end + offsets)
        self.wake()

    def compact(self) -> None:
        """Keeps the last record of each key, and all of the last `compaction_lag_seconds`.

        Also of the last ones no deletion stays that has been readable for `tombstone_seconds`.
        """
        last = {key: offset for offset, key, _ in self._records}
        now_ms = self._now_ms()
        dead_ms = now_ms - self.tombstone_seconds * 1000
        young_ms = now_ms - self.compaction_lag_seconds * 1000
        kept = [
            (record, timestamp_ms)
            for record, timestamp_ms in zip(self._records, self._timestamps_ms, strict=True)
            if timestamp_ms > young_ms
            or (last[record[1]] == record[0] and (record[2] is not None or timestamp_ms > dead_ms))
        ]
        self._records = [record for record, _ in kept]
        self._timestamps_ms = [timestamp_ms for _, timestamp_ms in kept]
        self._compact_from = max(_COMPACT_FROM_RECORDS, 2 * len(self._records))

    def delete_before(self, begin: Position) -> None:
        """Drops every record below `begin`; the log then begins there."""
        kept = bisect_left(self._records, int(begin), key=_offset)
        del self._records[:kept], self._timestamps_ms[:kept]
        self.begin = begin
        self.wake()

    def lose_from(self, end: Position) -> None:
        """Drops every record from `end` on, acknowledged or not, as an unclean election of a leader does."""
        kept = bisect_left(self._records, int(end), key=_offset)
        del self._records[kept:], self._timestamps_ms[kept:]
        self.end = end
        self.wake()

    def delete(self) -> None:
        """Deletes the log; there is none until `recreate`."""
        self.log_id = None
        self.wake()

    def recreate(self) -> None:
        """Puts an empty log with a new id in the place of the one that was there."""
        self.log_id = f"memory-{secrets.token_hex(8)}"
        self._fences = {}
        self.begin = self.end = START
        self._records = []
        self._timestamps_ms = []
        self._compact_from = _COMPACT_FROM_RECORDS
        self.wake()

    def fetch(self, position: Position) -> Batch | None:
        """The next batch from `position`; None when there is nothing yet.

        Raises:
            LogTruncated: the log does not have `position`, which is not `START`.
            LogRefused: there is no log.
        """
        if self._fault is Fault.UNREACHABLE:
            return None
        self.existing_id()
        if (position < self.begin and position != START) or position > self.end:
            raise LogTruncated(f"the log holds positions {self.begin} to {self.end}, and no longer {position}")
        if position == self.end:
            return None
        first = bisect_left(self._records, int(position), key=_offset)
        records = self._records[first : first + _BATCH_RECORDS]
        last = first + len(records)
        if last == len(self._records):
            return Batch(records, self.end, self._timestamps_ms[last - 1] if records else 0)
        return Batch(records, Position(records[-1][0] + 1), self._timestamps_ms[last - 1])

    def existing_id(self) -> str:
        """The log's id.

        Raises:
            LogRefused: there is no log.
        """
        if self.log_id is None:
            raise LogRefused("the log was deleted; create it again, or point the replica at another one")
        return self.log_id

    def wake(self) -> None:
        """Has everybody who waits for a change look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        """Returns after the next change of any kind."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


def _offset(record: LogRecord) -> Offset:
    return record[0]


class MemoryLog:
    """One replica's handle on a `MemoryBroker`; implements `SharedLog`.

    Args:
        broker: the log, shared with other handles.
        expected_id: the only id that `open` accepts; None accepts any at first.
        query_timeout_seconds: how long `open`, `end` and `identify` wait while the broker is unreachable.
    """

    def __init__(
        self, broker: MemoryBroker, *, expected_id: str | None = None, query_timeout_seconds: float = 5.0
    ) -> None:
        self.counters = LogCounters()
        self._broker = broker
        self._continuity = Continuity("the log", expected_id=expected_id)
        self._query_timeout_seconds = query_timeout_seconds
        self._closed = False

    async def open(self) -> LogDescription:
        """See `SharedLog.open`."""
        with self.counters.count_query():
            await self._reach(self._query_deadline())
            log_id = self._broker.existing_id()
            self._continuity.bind(log_id)
        return LogDescription(
            LogIdentity(log_id, 0),
            self._broker.batch_limit_bytes,
            tombstone_seconds=self._broker.tombstone_seconds,
            compaction_lag_seconds=self._broker.compaction_lag_seconds,
        )

    async def read(self, start: Position) -> AsyncGenerator[Batch, None]:
        """See `SharedLog.read`."""
        position = start
        while not self._closed:
            batch = self._broker.fetch(position)
            if batch is None:
                await self._broker.changed()
                continue
            position = batch.position
            self.counters.read_batches += 1
            self.counters.read_records += len(batch.records)
            yield batch
            await asyncio.sleep(0)  # a consumer that never awaits would otherwise hold the loop for the whole replay

    async def end(self) -> Position:
        """See `SharedLog.end`."""
        with self.counters.count_query():
            self._continuity.check_whole()
            await self._reach(self._query_deadline())
            self._broker.existing_id()
        return self._broker.end

    async def identify(self) -> str | None:
        """See `SharedLog.identify`."""
        with self.counters.count_query():
            self._continuity.check_whole()
            await self._reach(self._query_deadline())
        return self._broker.log_id

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """See `SharedLog.append`."""
        assert entries, "an empty batch has no offset"
        with self.counters.count_append():
            self._continuity.check_writable()
            deadline = asyncio.get_running_loop().time() + timeout_seconds
            offset = await self._deliver(entries, deadline=deadline)
        self.counters.count_appended(records=len(entries), size_bytes=batch_bound_bytes(entries))
        return offset

    def fenced_writer(self) -> LocalFencedWriter:
        """See `SharedLog.fenced_writer`."""
        return LocalFencedWriter(self._deliver, self._take_epoch, continuity=self._continuity, counters=self.counters)

    async def _deliver(
        self, entries: Sequence[Entry], *, deadline: float, writer: Writer | None = None, claims: bool = False
    ) -> Offset:
        """Appends the batch, in the name of `writer` or as anybody may, as far as the broker's fault lets it."""
        size_bytes = batch_bound_bytes(entries)
        if size_bytes > self._broker.batch_limit_bytes:
            raise RecordTooLarge(
                f"{len(entries)} records take {size_bytes} bytes as one batch; "
                f"the log takes {self._broker.batch_limit_bytes}"
            )
        await self._reach(deadline)
        fault = self._broker.fault
        if fault is Fault.WRITE_REFUSED or self._broker.log_id is None:
            raise LogRefused("the log was deleted, or refuses our writes")
        if fault is Fault.REQUEST_LATE and writer is not None:
            self._broker.hold_back(writer, entries, claims=claims)
        if fault in (Fault.REQUEST_LOST, Fault.REQUEST_LATE):
            await self._lose_answer(deadline)
        offset = (
            self._broker.append(entries) if writer is None else self._broker.append_as(writer, entries, claims=claims)
        )
        if fault is Fault.ANSWER_LOST:
            await self._lose_answer(deadline)
        self._continuity.acknowledge(offset, records=len(entries), writer=PLAIN if writer is None else FENCED)
        return offset

    async def _take_epoch(self, deadline: float) -> tuple[str, Writer]:
        await self._reach(deadline)
        return self._broker.existing_id(), self._broker.take_epoch()

    async def close(self) -> None:
        """See `SharedLog.close`."""
        self._closed = True
        self._broker.wake()

    def _query_deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._query_timeout_seconds

    async def _reach(self, deadline: float) -> None:
        """Returns once the broker is in reach.

        Raises:
            LogUnavailable: it was not by `deadline` (of the loop's clock), or this handle is closed.
        """
        try:
            await self._until(lambda: self._broker.fault is not Fault.UNREACHABLE, deadline)
        except TimeoutError:
            problem = "was closed" if self._closed else "could not be reached in time"
            raise LogUnavailable(f"the log {problem}") from None

    async def _lose_answer(self, deadline: float) -> Never:
        try:
            await self._until(lambda: False, deadline)
        except TimeoutError:
            raise OutcomeUnknown("the batch was sent, and no answer came in time") from None
        raise AssertionError("an answer that is lost never comes")

    async def _until(self, satisfied: Callable[[], bool], deadline: float) -> None:
        """Returns once `satisfied`.

        Raises:
            TimeoutError: `deadline` (by the loop's clock) has come, or the handle is closed.
        """
        async with asyncio.timeout_at(deadline):
            while not satisfied():
                if self._closed:
                    raise TimeoutError
                await self._broker.changed()
        if self._closed:
            raise TimeoutError
