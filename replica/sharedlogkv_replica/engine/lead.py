"""The leader's work: claims, batches, beats and resignations, one append after the other, by one fenced writer.

Group commit: while one batch is on its way, the next one collects, and waits a moment for more (engine/gathering.py). A
batch is planned when the one before it is in the map (core/batch_plan.py), stamped with the term and its number, and
appended. What follows from how the append ended:

| it ended as | the writes (engine/outcomes.py) | the claim |
|---|---|---|
| acknowledged | are answered; the batch is in the map at once, or when the reader brings it | holds |
| `LogUnavailable`, `LogRefused`, `RecordTooLarge` | are told so: nothing was written | holds |
| `Fenced` | `NoLeader`: nothing was written, and somebody else leads | is spent |
| `OutcomeUnknown` | wait for what the log tells | is spent |

Caller's duties: `run()` in one supervised task; pass on each leadership record that the map applies (`observe`), and
the loss of the map (`lose_map`).
"""

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sharedlogkv_replica.core.batch_plan import BatchPlan
from sharedlogkv_replica.core.leadership import LeadershipRecord, Resign, Stamp, Term, Writer, encode_leadership
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.engine.flight import Flight
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.gathering import Gathering
from sharedlogkv_replica.engine.intake import Intake
from sharedlogkv_replica.engine.lead_listener import Listener
from sharedlogkv_replica.engine.outcomes import Outcomes, SentBatch
from sharedlogkv_replica.engine.write_queue import QueueLimits
from sharedlogkv_replica.errors import (
    Fenced,
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)
from sharedlogkv_replica.log.base import FencedWriter

HEIRS_MOST: Final = 8
"""Heirs named in a stamp, at most: a name has up to 63 bytes."""

APPEND_SECONDS: Final = 10.0
"""The longest time for one append or claim: above what Kafka takes to elect another leader of the partition, since a
resend then tells what became of the batch, where a new claim would cost every write that waits."""

RETRY_SECONDS: Final = 0.05
APPLY_SECONDS: Final = 0.25


@dataclass(slots=True)
class LeadCounters:
    """What the leader did since the start, for the metrics."""

    claims: int = 0
    failed_claims: int = 0
    resignations: int = 0
    batches: int = 0
    beats: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class _ClaimOrder:
    compose: Callable[[Writer], Sequence[Entry]]
    enlisted: Collection[int]


@dataclass(frozen=True, slots=True)
class _ResignOrder:
    entry: Entry


_Order: TypeAlias = _ClaimOrder | _ResignOrder


class Lead:
    """What one replica does while it leads, and when it claims to.

    Attributes:
        counters: for the metrics.
        outcomes: of the batches sent.
        intake: takes writes in.
        term: the term in which writes are taken; None while they are not.
        committed: the offset of the last record acknowledged in this term; a read index is not below it.
        flight: of the batch that is on its way.
    """

    def __init__(
        self,
        writer: FencedWriter,
        follower: Follower,
        window: RequestWindow,
        *,
        limits: QueueLimits,
        batch_limit_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Claims and appends nothing before `run`.

        Args:
            writer: appends.
            follower: whose map the conditions are held against.
            window: the requests carried out already.
            limits: of the writes that wait.
            batch_limit_bytes: the largest batch, until the log tells its own.
            clock: the monotonic clock, in seconds. Not that of the loop, which stands still between two turns, and so
                would not see that the process was stopped.
        """
        self._writer = writer
        self._follower = follower
        self._window = window
        self._clock = clock
        self._timeout_seconds = limits.timeout_seconds
        self.outcomes = Outcomes(timeout_seconds=limits.timeout_seconds)
        self._listener: Listener | None = None
        self.counters = LeadCounters()
        self.term: Term | None = None
        self.committed = Offset(-1)
        self.heirs: tuple[str, ...] = ()
        self._batch_number = 0
        self._producer_id = -1  # of our last claim
        self._orders: collections.deque[_Order] = collections.deque()
        self._beat_term: Term | None = None  # a sign of life is due
        self._idle = asyncio.Event()
        self._idle.set()
        self._wake = asyncio.Event()
        self._busy_since: float | None = None
        self._gathering = Gathering(self._wake)
        self.intake = Intake(
            window, self.outcomes, self._gathering, limits=limits, batch_limit_bytes=batch_limit_bytes, idle=self._idle
        )
        self.flight = Flight(self.intake.turn)

    def bind(self, listener: Listener) -> None:
        """Tells who decides; before `run`."""
        self._listener = listener

    @property
    def queued_records(self) -> int:
        """Writes that wait for a batch now."""
        return len(self.intake)

    @property
    def busy_seconds(self) -> float:
        """How long the append or claim under way has taken so far; 0 when there is none."""
        return 0.0 if self._busy_since is None else self._clock() - self._busy_since

    # --- what others ask for ---

    def claim(self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int]) -> None:
        """Orders a claim; its end is told to the listener."""
        self._order(_ClaimOrder(compose, enlisted))

    def begin(self, term: Term) -> None:
        """Takes writes from now on, in the term that our last claim began."""
        self.term = term
        self.intake.is_open = True
        self._wake.set()

    def end(self, reason: str) -> None:
        """Takes no more writes; those not sent yet end as `NoLeader`."""
        self.term = self._beat_term = None
        self.intake.close(reason)

    def beat(self, term: Term) -> None:
        """Orders a sign of life, also before writes are taken; any batch is one."""
        self._beat_term = term
        self._wake.set()

    def resign(self, record: Resign) -> None:
        """Orders a resignation, after `end`; its end is told to the listener."""
        self._order(_ResignOrder(encode_leadership(record)))

    def _order(self, order: _Order) -> None:
        self._orders.append(order)
        self._idle.clear()
        self._wake.set()

    # --- what the log tells ---

    def observe(self, offset: Offset, record: LeadershipRecord) -> None:
        """Takes in a record that the map has applied: it may tell what became of a batch of ours."""
        if isinstance(record, Stamp) and record.term == self.term:
            # The reader may bring a batch in two parts: what is answered now must be in every read index from now on.
            self.committed = max(self.committed, Offset(offset + record.records))
        self.outcomes.observe(offset, record)

    def lose_map(self) -> None:
        """Gives up on every open outcome: the log that could have told is gone."""
        self.outcomes.lose("the log was replaced or lost records")

    # --- the one task that appends ---

    async def run(self) -> None:
        """Appends until cancelled; then what was sent ends as `OutcomeUnknown`, what was not as `NoLeader`."""
        assert self._listener is not None, "bind it first"
        try:
            while True:
                if self._orders:
                    await self._carry_out(self._orders.popleft(), self._listener)
                elif self._beat_term is not None or (self.term is not None and self.intake):
                    await asyncio.sleep(0)  # every client that is ready in this turn of the loop joins the batch
                    if self._beat_term is None and self._gathering.lacks(len(self.intake)):
                        with self._gathering:
                            await self._wake.wait()
                    else:
                        await self._commit(self._listener)
                else:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                    self._idle.clear()
        finally:
            self.end("the replica stops")
            self.outcomes.lose("the replica stopped")

    async def drain(self) -> None:
        """Returns once nothing is queued or on its way; the caller bounds the time."""
        await self._idle.wait()

    async def _carry_out(self, order: _Order, listener: Listener) -> None:
        started = self._busy_since = self._clock()
        try:
            match order:
                case _ClaimOrder(compose, enlisted):
                    await self._claim(compose, enlisted, started, listener)
                case _ResignOrder(entry):
                    await self._resign(entry, listener)
        finally:
            self._busy_since = None

    async def _claim(
        self,
        compose: Callable[[Writer], Sequence[Entry]],
        enlisted: Collection[int],
        started: float,
        listener: Listener,
    ) -> None:
        self.counters.claims += 1
        try:
            claimed = await self._writer.claim(compose, enlisted=enlisted, timeout_seconds=APPEND_SECONDS)
        except (Fenced, LogUnavailable, LogRefused, OutcomeUnknown, RecordTooLarge) as error:
            self.counters.failed_claims += 1
            listener.on_claim_failed(error)
        else:
            self.committed = claimed.offset
            self._producer_id = claimed.writer.producer_id
            self._batch_number = 0
            listener.on_claimed(claimed, started=started)

    async def _resign(self, entry: Entry, listener: Listener) -> None:
        try:
            await self._writer.append([entry], timeout_seconds=self._timeout_seconds)
        except (Fenced, LogUnavailable, LogRefused, OutcomeUnknown, RecordTooLarge) as error:
            listener.on_resigned(error)
        else:
            self.counters.resignations += 1
            listener.on_resigned(None)

    async def _commit(self, listener: Listener) -> None:
        """One batch, if anything needs one: planned, appended, applied, answered."""
        term = self.term if self.term is not None else self._beat_term
        if term is None or (self.term is not None and not listener.may_append()):
            return
        plan = BatchPlan(self._follower.store.get, position=self._follower.position, window=self._window)
        batch = SentBatch(term, self._batch_number + 1, self._producer_id)
        self.intake.fill(batch, plan, listener)
        if not batch.riders and self._beat_term is None:
            return
        self._batch_number += 1
        self._beat_term = None
        stamp = plan.stamp(batch.term, batch=batch.number, heirs=self.heirs)
        self.heirs = ()
        self._busy_since = self._clock()
        try:
            with self.flight:
                last = await self._append(batch, [encode_leadership(stamp), *plan.entries], listener)
        finally:
            self._busy_since = None
        if last is not None:
            await self._wait_applied(last)

    async def _append(self, batch: SentBatch, entries: Sequence[Entry], listener: Listener) -> Offset | None:
        """Appends the batch and answers its writes; the offset that the map must reach before the next, if any."""
        self.outcomes.await_outcome(batch)
        started, floor = self._clock(), self._follower.position
        try:
            base = await self._writer.append(entries, timeout_seconds=APPEND_SECONDS)
        except Fenced:
            self.outcomes.fail(batch, NoLeader("another replica leads by now; nothing was written"))
            listener.on_writer_lost(fenced=True)
            return None
        except OutcomeUnknown:
            listener.on_writer_lost(fenced=False)
            return None
        except (LogUnavailable, LogRefused, RecordTooLarge) as error:
            self.outcomes.fail(batch, self._explain(error, len(entries)))
            await asyncio.sleep(RETRY_SECONDS)
            return None
        if base < floor or not self._follower.standing.ready:
            self.outcomes.fail(batch, OutcomeUnknown("the log was replaced while the write was on its way"))
            listener.on_writer_lost(fenced=False)
            return None
        last = self.committed = Offset(base + len(entries) - 1)
        self.counters.batches += 1
        self.counters.beats += len(entries) == 1
        self.counters.records += len(entries) - 1
        listener.on_committed(started=started)
        seconds = self._clock() - started
        self._gathering.note_batch(len(batch.riders), queued=len(self.intake), seconds=seconds)
        self.outcomes.settle(batch, base)  # its callers run in the loop's next turn, when the map has it
        return None if self._follower.apply_acknowledged(base, entries) else last

    def _explain(self, error: ReplicaError, records: int) -> ReplicaError:
        """The error for the writes of a batch that the log did not take."""
        if isinstance(error, RecordTooLarge) and records > 2:
            # The log takes less than it told: each of them may still fit alone.
            self.intake.batch_limit_bytes //= 2
            return LogUnavailable(f"{error}; smaller batches follow, so try again")
        return error

    async def _wait_applied(self, offset: Offset) -> None:
        """Returns once the map has our batch, which the next plan must see; or once we lead no more."""
        while self.term is not None and self._follower.position <= offset:
            with contextlib.suppress(ReplicaError):
                await self._follower.waiters.wait(offset, timeout_seconds=APPLY_SECONDS)
