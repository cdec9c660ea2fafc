"""The batch writer: appends one batch after the other to one partition, each exactly once.

One batch is in flight at a time, and is resent until its fate is known (kafka_delivery). What became of it, and what
follows:

| seen | error | then |
|---|---|---|
| acknowledged | none | the sequence moves on |
| no attempt was sent, or each was plainly refused before it was written | `LogUnavailable` or a refusal | nothing |
| one may have been written, and time is up or we are refused | `OutcomeUnknown` | the id is retired and fenced |
| the broker lost our sequence, no attempt may have been written | none | retired and fenced, then sent with a new id |

**The fence.** A batch whose outcome is unknown may still be under way, in a socket of a broker that will wake up. The
sequence can't be used again: the broker looks at nothing else, and would acknowledge another batch without writing it.
So the writer takes a new producer id, and before anything else it appends a barrier with (old producer id, epoch 32767,
sequence 0). Once that is in the partition, its leader refuses every batch of the old id and a lower epoch with
INVALID_PRODUCER_EPOCH, also after a change of leader: the abandoned batch is now before the fence, or nowhere.

Invariants:
1. A sequence of a producer id is used by one batch only.
2. While an abandoned batch is not fenced, no other batch is sent.
3. Two different batches are never in flight together.

Source: KIP-98 and KIP-360; that the broker fences without transactions was measured (docs/adr).
"""

import asyncio
from collections.abc import Sequence

from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.errors import LogRefused, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.log.continuity import PLAIN, Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_delivery import SEQUENCES, Delivery, Fate, build, pause_seconds
from sharedlogkv_replica.log.kafka_errors import Verdict, describe_refusal, name_of, verdict_of
from sharedlogkv_replica.log.kafka_wire import Producer


class BatchWriter:
    """Appends to one partition; one `append` at a time.

    Args:
        delivery: the way to the partition; the writer closes it.
        continuity: who judges the offsets that are acknowledged.
        counters: where to count.
    """

    def __init__(self, delivery: Delivery, *, continuity: Continuity, counters: LogCounters) -> None:
        self._delivery = delivery
        self._continuity = continuity
        self._counters = counters
        self._producer: Producer | None = None
        self._sequence = 0
        self._unfenced: Producer | None = None

    @property
    def producer(self) -> Producer | None:
        """Who appends now; None before the first append, and after an outcome that stayed unknown."""
        return self._producer

    async def append(self, entries: Sequence[Entry], *, limit_bytes: int, timeout_seconds: float) -> Offset:
        """See `SharedLog.append`; a batch above `limit_bytes` is refused before it is sent."""
        self._delivery.check_open()
        self._continuity.check_writable()
        fate = Fate()
        try:
            return await self._delivery.within(timeout_seconds, self._append(entries, limit_bytes, fate), fate=fate)
        finally:
            if fate.open:  # also when the caller was cancelled
                self._counters.abandoned_batches += 1
                self._retire()

    async def _append(self, entries: Sequence[Entry], limit_bytes: int, fate: Fate) -> Offset:
        pauses = pause_seconds()
        while True:
            producer = await self._become_producer()
            batch = build(entries, producer, self._sequence)
            if len(batch) > limit_bytes:
                raise RecordTooLarge(f"{len(batch)} bytes in one batch are more than the {limit_bytes} of the log")
            code, offset = await self._delivery.settle(batch, fate)
            if code == 0:
                self._sequence = (self._sequence + len(entries)) % SEQUENCES
                self._continuity.acknowledge(Offset(offset), records=len(entries), writer=PLAIN)
                self._counters.count_appended(records=len(entries), size_bytes=len(batch))
                return Offset(offset)
            if fate.open:
                raise OutcomeUnknown(f"a batch was sent, and then the broker answered {name_of(code)}")
            match verdict_of(code):
                case Verdict.TOO_LARGE:
                    raise RecordTooLarge(f"{len(batch)} bytes in one batch are more than the broker takes")
                case Verdict.REFUSED:
                    raise LogRefused(f"the broker refuses our batch: {describe_refusal(code)}")
                case verdict:
                    assert verdict is Verdict.SEQUENCE_LOST, "the others are no final answers"
            self._retire()
            await asyncio.sleep(next(pauses))

    async def _become_producer(self) -> Producer:
        """Sees to it that there is a producer id, and that nothing abandoned can land any more."""
        if self._producer is None:
            code, producer = await self._delivery.ask_leader(lambda connection: connection.take_producer_id(None))
            if code != 0:
                raise LogRefused(f"the broker gives us no producer id: {describe_refusal(code)}")
            self._producer, self._sequence = producer, 0
            self._counters.producer_ids += 1
        if self._unfenced is not None:
            await self._delivery.shut_out(self._unfenced.producer_id)
            self._unfenced = None
        return self._producer

    def _retire(self) -> None:
        """Never uses this producer id again; the next append fences it first."""
        self._unfenced, self._producer = self._producer, None
        self._delivery.drop()

    async def close(self) -> None:
        """Ends the append under way as if its time were up, and hangs up; idempotent."""
        await self._delivery.close()
