"""What a leader takes in: the writes that wait for its next batch, until they are planned into it.

Synchronous, and run for each write; what is done once for each batch is in engine/lead.py.
"""

import asyncio
from typing import Final

from sharedlogkv_replica.core.batch_plan import BatchPlan, Settled
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.core.writes import REQUEST_ID_LIMIT_BYTES, Write, WriteResult
from sharedlogkv_replica.engine.gathering import Gathering
from sharedlogkv_replica.engine.lead_listener import Listener
from sharedlogkv_replica.engine.outcomes import Outcomes, SentBatch
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.engine.write_queue import Pending, QueueLimits, WriteQueue
from sharedlogkv_replica.errors import LogUnavailable, NoLeader, RecordTooLarge, ReplicaError
from sharedlogkv_replica.log.base import BATCH_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES

STAMP_BYTES: Final = 1024
"""What a batch's stamp takes without its requests, at most: three numbers, and the names of a few heirs."""

REQUEST_BYTES: Final = 64
"""What one request takes in a stamp beside its id, at most: index, fingerprint and quoting."""

LEADER_FRAME_BYTES: Final = STAMP_BYTES + REQUEST_BYTES + REQUEST_ID_LIMIT_BYTES
"""What a leader's batch of one record takes more than any other batch of one, at most."""

BATCH_RECORDS: Final = 500


class Intake:
    """The writes of one leader that are not sent yet.

    Attributes:
        batch_limit_bytes: the largest batch, framing included.
        is_open: writes are taken.
        refused: writes refused so far, for the metrics.
        turn: by which those who wait for a write are told.
    """

    def __init__(
        self,
        window: RequestWindow,
        outcomes: Outcomes,
        gathering: Gathering,
        *,
        limits: QueueLimits,
        batch_limit_bytes: int,
        idle: asyncio.Event,
    ) -> None:
        """Takes nothing yet.

        Args:
            window: the requests carried out already.
            outcomes: answers those writes that need no batch, and counts those that got none.
            gathering: is told of each arrival.
            limits: of the writes that wait.
            batch_limit_bytes: the largest batch, until the log tells its own.
            idle: is cleared by each arrival.
        """
        self._window = window
        self._outcomes = outcomes
        self._gathering = gathering
        self._queue: WriteQueue[Write] = WriteQueue(limits, on_expired=self._note_expired)
        self._idle = idle
        self.batch_limit_bytes = batch_limit_bytes
        self.is_open = False
        self.refused = 0
        self.turn = Turn()

    def __len__(self) -> int:
        return len(self._queue)

    def submit(self, write: Write) -> Promise[WriteResult]:
        """Joins the next batch; ends with what became of the write.

        The promise's errors:
            NoLeader: this replica does not lead, or not any more; nothing was written.
            RecordTooLarge, LogUnavailable, LogRefused: nothing was written.
            OutcomeUnknown: sent, and no answer before the deadline.
        """
        promise: Promise[WriteResult] = Promise(self.turn)
        size = _size_of(write)
        problem = self._find_problem(write, size)
        if problem is not None:
            self.refused += 1
            fail(promise, problem)
            return promise
        self._queue.put(write, promise, size=size)
        self._idle.clear()
        self._gathering.note_arrival(len(self._queue))
        return promise

    def _find_problem(self, write: Write, size: int) -> ReplicaError | None:
        if not self.is_open:
            return NoLeader("this replica does not lead; nothing was written")
        if size + BATCH_OVERHEAD_BYTES + STAMP_BYTES > self.batch_limit_bytes:
            return RecordTooLarge(f"a record of {size} bytes does not fit the log's {self.batch_limit_bytes} bytes")
        if write.request is not None and self._window.is_full and self._window.find(write.request) is None:
            return LogUnavailable(
                f"{len(self._window)} requests with an Idempotency-Key are remembered, which is the most; send it later"
            )
        return self._queue.find_problem(size)

    def close(self, reason: str) -> None:
        """Takes no more writes; those not sent yet end as `NoLeader`."""
        self.is_open = False
        for pending in self._queue.drain():
            fail(pending.future, NoLeader(f"{reason}; nothing was written"))

    def fill(self, batch: SentBatch, plan: BatchPlan, listener: Listener) -> None:
        """Plans waiting writes into the batch, and answers those that need none."""
        queue = self._queue
        room = self.batch_limit_bytes - BATCH_OVERHEAD_BYTES - STAMP_BYTES
        while queue and len(plan.entries) < BATCH_RECORDS and (queue.next_size <= room or not batch.riders):
            pending = queue.pop()
            if pending.future.done():  # its caller gave up
                continue
            verdict = plan.add(pending.item)
            if isinstance(verdict, Settled) and not (verdict.is_read and not listener.lease_holds()):
                self._outcomes.answer(pending, verdict.result)
                continue
            room -= pending.size
            batch.riders.append((pending, verdict))

    def _note_expired(self, pending: Pending[Write]) -> None:
        self._outcomes.counters.failed += not pending.future.done()


def _size_of(write: Write) -> int:
    size = RECORD_OVERHEAD_BYTES + len(write.key) + len(write.value or b"")
    return size if write.request is None else size + len(write.request.id) + REQUEST_BYTES
