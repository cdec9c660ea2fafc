"""The protocol that every shared log implements, and what its callers may rely on.

One contract test suite (tests/support/log_contract.py) runs against every implementation. The duties, in the order in
which the engine uses them:

1. `open()`, before anything else, and again whenever the log may have become another one. It names the log and its
   limits, or says why the log can't be used. A handle is bound to the id that it first opened: it never opens a log
   with another one.
2. `read(position)` yields everything from there on, for ever: batches in log order, each record once.
3. `end()` is the position after every record acknowledged before it was called, by anyone.
4. `append(entries)` adds one atomic batch. One call at a time: the caller groups (engine/commit.py).
5. `identify()` is asked now and then, since a log can be deleted and created anew under the same name: a reader or
   writer that goes on would not notice, as long as the new log is longer than the old one was. A writer does notice a
   shorter one, or lost records: by an acknowledged offset that is not above the last one. From then on `identify()` and
   `end()` raise `LogTruncated`, and `append` writes nothing, until the next `open()` that succeeds.
6. `close()` ends everything, also a `read` and an `append` under way.

Where one replica shall write alone, it appends through a `FencedWriter`, whose claim shuts out every earlier one.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Batch, Entry, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.log.counters import LogCounters

BATCH_OVERHEAD_BYTES: Final = 61
"""What a batch takes beside its records. Source: Kafka's record batch format, version 2 (KIP-98)."""

RECORD_OVERHEAD_BYTES: Final = 21
"""The most that a record without headers takes beside its key and value: its length, attributes, two deltas, the
lengths of key and value, and the header count. Source: as above; all numbers are variable-length."""


@dataclass(frozen=True, slots=True)
class LogDescription:
    """What `open()` learned.

    Attributes:
        identity: the log's id and partition.
        batch_limit_bytes: the largest batch that the log takes, with all its framing. A batch whose
            `batch_bound_bytes` is not above it is never too large.
        tombstone_seconds: how long a deletion stays readable after compaction could have dropped it
            (`delete.retention.ms`); a replay that takes longer may resurrect a deleted key.
        compaction_lag_seconds: how long every record stays readable, also when a later one has its key
            (`min.compaction.lag.ms`).
    """

    identity: LogIdentity
    batch_limit_bytes: int
    tombstone_seconds: float
    compaction_lag_seconds: float


def entry_bound_bytes(entry: Entry) -> int:
    """The most that `entry` adds to the size of a batch."""
    return RECORD_OVERHEAD_BYTES + len(entry.key) + len(entry.value or b"")


def batch_bound_bytes(entries: Sequence[Entry]) -> int:
    """The most that `entries` take as one batch."""
    return BATCH_OVERHEAD_BYTES + sum(map(entry_bound_bytes, entries))


class SharedLog(Protocol):
    """A totally ordered, durable, compacted sequence of records that many processes append to and read.

    All methods are called from one event loop. Every coroutine may be cancelled at any await; a cancelled `append` may
    or may not have written, exactly as with `OutcomeUnknown`.

    Attributes:
        counters: what this handle has done so far.
    """

    counters: LogCounters

    async def open(self) -> LogDescription:
        """Connects, checks that the log is fit, and learns what it is.

        Raises:
            LogUnavailable: it can't be reached within the configured time; call again.
            LogRefused: it does not exist, is unfit (more than one partition, not compacted), or we lack the rights.
            LogReplaced: it has another id than the one that this handle was told to expect, or that it first opened.
        """
        ...

    def read(self, start: Position) -> AsyncGenerator[Batch, None]:
        """Everything from `start` on, in order, for ever; at most one iteration at a time.

        The caller closes the iteration (`aclose`, or `contextlib.aclosing`) when it ends early.

        `START` means the beginning, wherever that is: a log may have lost its first records before anybody here read
        them. Only records of committed transactions. A batch holds at most a few thousand records. Where the log is
        out of reach, the iteration waits, and goes on where it was.

        Raises:
            LogTruncated: the log no longer has the next position: it begins after it, or ends before it.
            LogRefused: the topic is gone (which a reader need not notice: `identify` does), or we lack the rights.
            LogUnavailable: the reading itself failed, of which an outage is no reason; read again.
        """
        ...

    async def end(self) -> Position:
        """The log's end: above the offset of every record acknowledged before the call.

        Raises:
            LogUnavailable: no answer within the configured time.
            LogRefused: the topic is gone, or we lack the rights.
            LogTruncated: an `append` since the last `open` has seen that acknowledged records are gone, or that the log
                was replaced.
        """
        ...

    async def identify(self) -> str | None:
        """The id of the log that now bears the name; None when there is none.

        Raises:
            LogUnavailable: no answer within the configured time.
            LogRefused: we lack the rights.
            LogTruncated: as `end` does.
        """
        ...

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """Appends the entries (one or more) as one atomic batch; returns the first offset, the others follow it.

        Acknowledged means: on all in-sync replicas of the log. Passing faults are retried within the time, such that
        the batch is in the log at most once. After `OutcomeUnknown` (or a cancellation) the batch may yet appear, but
        never after a batch that a later `append` of this object got acknowledged.

        Raises:
            LogUnavailable: nothing was written, nor will be; also while the log must be opened anew.
            OutcomeUnknown: sent, and no answer in time; or written to a log that is no longer the one it was.
            RecordTooLarge: larger than the log takes; nothing was written.
            LogRefused: we may not write here; nothing was written.
        """
        ...

    def fenced_writer(self) -> "FencedWriter":
        """A new writer that appends to this log under its own claims; ends with this handle, or before."""
        ...

    async def close(self) -> None:
        """Ends everything; idempotent. A `read` under way stops without an error; an `append` ends as on a fault."""
        ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim got.

    Attributes:
        offset: of the claim's record.
        writer: under which name the log knows what is appended from now on.
    """

    offset: Offset
    writer: Writer


class FencedWriter(Protocol):
    """Appends such that no batch of an earlier claim can follow a later claim in the log, whatever was paused or slow.

    The log keeps one epoch for all writers of this kind. A claim raises it and is itself appended under it; from that
    append on the log refuses, for ever, every batch of a lower one. One call at a time, of either method.

    After `Fenced`, `OutcomeUnknown` or a cancellation the claim is spent: `append` raises `Fenced` until the next
    successful `claim`. What became of a batch whose outcome is unknown is then told by the log alone: it lies before
    the next claim, or it never will be there.
    """

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        """Raises the epoch and appends the claim's batch under it, then proves that the log refuses the epoch before.

        Args:
            compose: makes the batch from the name under which the log knows us, the claim last; may be called more than
                once.
            enlisted: producer ids under which the log may have been claimed; those that we are not given are shut out
                by hand, before the batch is sent.
            timeout_seconds: for all of it.

        Raises:
            LogUnavailable: nothing was written, nor will be; also while the log must be opened anew.
            OutcomeUnknown: the claim was sent, and no answer came in time; if it is in the log, it holds.
            Fenced: another replica claimed at the same time, and after us.
            LogRefused: we may not claim here, or this log does not fence; the message says what to change.
        """
        ...

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """Appends the entries (one or more) as one atomic batch under our claim; returns the first offset.

        Raises:
            Fenced: another replica has claimed the log, or our claim is spent; nothing was written by this call.
            LogUnavailable: nothing was written, nor will be; our claim still holds.
            OutcomeUnknown: sent, and no answer in time; or the log was replaced. Our claim is spent.
            RecordTooLarge: larger than the log takes; nothing was written, and our claim still holds.
            LogRefused: we may not write here; nothing was written, and our claim still holds.
        """
        ...

    async def close(self) -> None:
        """Ends everything; idempotent."""
        ...
