"""What becomes of a leader's batches: the answers to their writes, by acknowledgement, by the log, or by deadline.

A batch is here from before it is sent until its outcome is known. Its stamp in the log says that it was written, and
perhaps sooner than the acknowledgement does; a later claim without that stamp before it says that it never will be,
where it has shut out the leader that sent the batch:

| first seen | the writes are answered |
|---|---|
| acknowledgement, or its stamp applied | with their results |
| an error that says that nothing was written | with that error |
| a later claim applied, under the same producer id | `NoLeader`: nothing was written |
| word applied that the producer id is retired | `NoLeader`: nothing was written |
| the write's deadline | `OutcomeUnknown`; the other writes of the batch go on waiting |
| the map given up | `OutcomeUnknown` |
"""

import asyncio
from dataclasses import dataclass, field

from sharedlogkv_replica.core.batch_plan import Appended, Settled, Verdict
from sharedlogkv_replica.core.leadership import LeadershipRecord, Stamp, Term, rules_out
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import ConditionFailed, RequestMismatch, Write, WriteResult, Written
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.engine.write_queue import Pending
from sharedlogkv_replica.errors import NoLeader, OutcomeUnknown, ReplicaError


@dataclass(slots=True)
class AnswerCounters:
    """Answers to writes, by what became of them, for the metrics."""

    written: int = 0
    repeated: int = 0
    condition_failures: int = 0
    mismatches: int = 0
    failed: int = 0
    unknown: int = 0
    resolved_batches: int = 0


@dataclass(slots=True)
class SentBatch:
    """One batch, and the writes whose answers depend on it.

    Attributes:
        term: the leader's.
        number: its number in the term.
        producer_id: under which it is appended.
        riders: those writes, in order of arrival, and what the plan says of each.
    """

    term: Term
    number: int
    producer_id: int
    riders: list[tuple[Pending[Write], Verdict]] = field(default_factory=list)


class Outcomes:
    """The batches of one leader whose outcome is not known yet.

    Args:
        timeout_seconds: of a write, for the message of its deadline.

    Attributes:
        counters: for the metrics.
    """

    def __init__(self, *, timeout_seconds: float) -> None:
        self.counters = AnswerCounters()
        self._timeout_seconds = timeout_seconds
        self._open: dict[tuple[Term, int], SentBatch] = {}  # deadlines rise along it, and along each batch
        self._expiry: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def await_outcome(self, batch: SentBatch) -> None:
        """Takes in a batch that is about to be sent."""
        self._open[batch.term, batch.number] = batch
        if self._expiry is None and batch.riders:
            self._expiry = asyncio.get_running_loop().call_at(batch.riders[0][0].deadline, self._expire)

    def answer(self, pending: Pending[Write], result: WriteResult) -> None:
        """Answers one write, unless it was answered or given up."""
        if pending.future.done():
            return
        counters = self.counters
        match result:
            case Written(repeated=repeated):
                counters.repeated += repeated
                counters.written += not repeated
            case ConditionFailed():
                counters.condition_failures += 1
            case RequestMismatch():
                counters.mismatches += 1
        pending.future.set_result(result)

    def settle(self, batch: SentBatch, stamp_offset: Offset) -> None:
        """Answers the writes of a batch whose stamp is at `stamp_offset`, unless its outcome was known before."""
        if not self._end(batch):
            return
        first, written = Offset(stamp_offset + 1), 0
        for pending, verdict in batch.riders:
            if not isinstance(verdict, Appended):
                self.answer(pending, verdict.result if isinstance(verdict, Settled) else verdict.result(first))
            elif not pending.future.done():  # what nearly all are: told without a call for each
                written += 1
                pending.future.set_result(verdict.result(first))
        self.counters.written += written

    def fail(self, batch: SentBatch, error: ReplicaError) -> None:
        """Ends the writes of a batch with `error`, unless its outcome was known before."""
        if not self._end(batch):
            return
        for pending, _ in batch.riders:
            if not pending.future.done():
                self.counters.failed += 1
                fail(pending.future, type(error)(*error.args))

    def _end(self, batch: SentBatch) -> bool:
        """Whether the batch was open until now. Else its writes were told, and some may be with the next leader."""
        return self._open.pop((batch.term, batch.number), None) is not None

    def observe(self, offset: Offset, record: LeadershipRecord) -> None:
        """Takes in a record that the map has applied, each in order: it may tell what became of a batch."""
        if not self._open:
            return
        if isinstance(record, Stamp):
            stamped = self._open.get((record.term, record.batch))
            if stamped is not None:
                self.counters.resolved_batches += 1
                self.settle(stamped, offset)
            return
        for batch in list(self._open.values()):
            if rules_out(record, offset, term=batch.term, producer_id=batch.producer_id):
                self.fail(batch, NoLeader("another term began before the write reached the log; nothing was written"))

    def lose(self, reason: str) -> None:
        """Gives up on every outcome: what could have told is gone, or nobody is left to listen."""
        for batch in list(self._open.values()):
            self.fail(batch, OutcomeUnknown(f"{reason} while the write was on its way"))
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _expire(self) -> None:
        """Ends the writes whose deadline has come; their batches go on without them."""
        loop = asyncio.get_running_loop()
        now, self._expiry = loop.time(), None
        for batch in self._open.values():
            late = [pending for pending, _ in batch.riders if pending.deadline <= now]
            del batch.riders[: len(late)]
            for pending in late:
                if not pending.future.done():
                    self.counters.unknown += 1
                    waited = self._timeout_seconds
                    fail(pending.future, OutcomeUnknown(f"sent, and not acknowledged within {waited:g} s"))
            if batch.riders:
                self._expiry = loop.call_at(batch.riders[0][0].deadline, self._expire)
                return
