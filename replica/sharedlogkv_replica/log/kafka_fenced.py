"""The fenced writer: appends to the partition such that nothing of an earlier claim can follow a later one.

The log has one transactional id, of which only the producer epoch is used. `InitProducerId` gives whoever asks the same
producer id with the next epoch. Batches are plain ones (no transaction, no marker), with that id, that epoch and
sequences of our own. The partition's leader refuses every batch of a lower epoch than it has seen, with
INVALID_PRODUCER_EPOCH: so from the append of a claim on, nothing of an earlier claim can be written, whatever was
paused, slow or cut off. Taking over and fencing are one append.

A claim, in order:

1. The topic is still the one that was opened, and stamps its batches itself (LogAppendTime). The broker forgets an
   epoch by the time in its batches: a leader with a slow clock would open its own fence.
2. The epoch is raised; twice if it is a new producer id's first, since step 5 needs an epoch before.
3. Producer ids of earlier claims that are not ours (their epochs are used up, or they expired) are shut out by hand:
   each by a batch with the highest epoch, which no coordinator hands out.
4. The claim is appended, with sequence 0, in one batch with what it says of producer ids.
5. A batch of the epoch before must be refused. A log that takes it can't be led.

What became of a batch, and what follows:

| seen | error | the claim |
|---|---|---|
| acknowledged | none | holds |
| no attempt was sent, or each was plainly refused before it was written | `LogUnavailable` or a refusal | holds |
| refused by the fence, or the broker lost our sequence; no attempt may have been written | `Fenced` | is spent |
| one may have been written, and there is no final answer | `OutcomeUnknown` | is spent |

Whoever's claim is spent reads the log up to the next claim: the batch is before that one, or it never will be there.

Invariants:
1. A sequence under a claim is used by one batch only: de-duplication looks at nothing else, and would acknowledge a
   different batch without writing it.
2. Two different batches are never in flight together.

Source: KIP-98 and KIP-360; the fence without transactions was measured (docs/adr/0004-leadership-by-producer-epoch.md).
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import BARRIER, Entry, Offset
from sharedlogkv_replica.errors import Fenced, LogRefused, RecordTooLarge, ReplicaError
from sharedlogkv_replica.log.base import Claimed
from sharedlogkv_replica.log.continuity import FENCED, Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.held_claim import HeldClaim
from sharedlogkv_replica.log.kafka_delivery import SEQUENCES, Delivery, Fate, build
from sharedlogkv_replica.log.kafka_errors import SHUT_OUT, Verdict, describe_refusal, name_of, verdict_of
from sharedlogkv_replica.log.kafka_wire import Producer

_ADVICE: Final = "use a Kafka that fences producers by their epoch, or the write mode Leaderless"


class KafkaFencedWriter:
    """Appends to one partition under its own claims; implements `FencedWriter`.

    Args:
        delivery: the way to the partition; the writer closes it.
        transactional_id: what all claims of this log share.
        admit: returns the largest batch in bytes that the log takes; raises as `claim` does where the log must not be
            claimed.
        continuity: who judges the offsets that are acknowledged.
        counters: where to count.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        transactional_id: str,
        admit: Callable[[], Awaitable[int]],
        continuity: Continuity,
        counters: LogCounters,
    ) -> None:
        self._delivery = delivery
        self._transactional_id = transactional_id
        self._admit = admit
        self._continuity = continuity
        self._counters = counters
        self._claim = HeldClaim(continuity)
        self._sequence = 0
        self._limit_bytes = 0

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        """See `FencedWriter.claim`."""
        self._claim.spend()
        fate = Fate()
        with self._counters.count_claim():
            self._delivery.check_open()
            try:
                work = self._take_over(compose, enlisted, fate)
                claimed = await self._delivery.within(timeout_seconds, work, fate=fate)
            finally:
                if fate.open:
                    self._delivery.drop()
        self._claim.hold(claimed.writer)
        return claimed

    async def _take_over(
        self, compose: Callable[[Writer], Sequence[Entry]], enlisted: Collection[int], fate: Fate
    ) -> Claimed:
        self._limit_bytes = await self._admit()
        producer = await self._raise_epoch()
        if producer.epoch == 0:
            producer = await self._raise_epoch()
        for other in sorted({*enlisted} - {producer.producer_id}):
            await self._delivery.shut_out(other)
        writer = Writer(producer.producer_id, producer.epoch)
        entries = compose(writer)
        code, offset = await self._delivery.settle(build(entries, producer, 0), fate)
        if code != 0:
            raise _failure(code)
        fate.open = True  # it is in the log, and it is not known yet whether it may be used
        self._continuity.acknowledge(Offset(offset), records=len(entries), writer=FENCED)
        self._sequence = len(entries)
        await self._test_fence(producer, fate)
        fate.open = False
        return Claimed(Offset(offset + len(entries) - 1), writer)

    async def _raise_epoch(self) -> Producer:
        code, producer = await self._delivery.ask_coordinator(self._transactional_id)
        if code != 0:
            raise LogRefused(
                f"the coordinator of the transactional id {self._transactional_id} refuses us: {name_of(code)}; "
                "a replica that is to lead needs the right to Write (which includes Describe) on that transactional id"
            )
        return producer

    async def _test_fence(self, producer: Producer, fate: Fate) -> None:
        self._counters.fence_tests += 1
        proven = False
        try:
            before = Producer(producer.producer_id, producer.epoch - 1)
            code, _ = await self._delivery.settle(build([BARRIER], before, 0), Fate())
            proven = code in SHUT_OUT
        finally:
            self._counters.fence_test_failures += not proven
        if not proven:
            fate.open = False
            answer = "was taken" if code == 0 else f"got {name_of(code)} and not INVALID_PRODUCER_EPOCH"
            raise LogRefused(f"this log can't be led: a batch of an earlier claim {answer}; {_ADVICE}")

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """See `FencedWriter.append`."""
        assert entries, "an empty batch has no offset"
        with self._counters.count_append():
            self._delivery.check_open()
            with self._claim.at_stake() as writer:
                fate = Fate()
                try:
                    work = self._append(entries, Producer(writer.producer_id, writer.epoch), fate)
                    return await self._delivery.within(timeout_seconds, work, fate=fate)
                finally:
                    if fate.open:  # also when the caller was cancelled
                        self._counters.abandoned_batches += 1
                        self._delivery.drop()

    async def _append(self, entries: Sequence[Entry], producer: Producer, fate: Fate) -> Offset:
        batch = build(entries, producer, self._sequence)
        if len(batch) > self._limit_bytes:
            raise RecordTooLarge(f"{len(batch)} bytes in one batch are more than the {self._limit_bytes} of the log")
        code, offset = await self._delivery.settle(batch, fate)
        if code != 0:
            raise _failure(code)
        self._sequence = (self._sequence + len(entries)) % SEQUENCES
        self._continuity.acknowledge(Offset(offset), records=len(entries), writer=FENCED)
        self._counters.count_appended(records=len(entries), size_bytes=len(batch))
        return Offset(offset)

    async def close(self) -> None:
        """See `FencedWriter.close`."""
        await self._delivery.close()


def _failure(code: int) -> ReplicaError:
    """What a final error says of a batch that was surely not written; `Delivery.within` sees to the others."""
    if code in SHUT_OUT:
        return Fenced(f"another replica has claimed the log: {name_of(code)}")
    match verdict_of(code):
        case Verdict.TOO_LARGE:
            return RecordTooLarge("a batch is larger than the broker takes")
        case Verdict.REFUSED:
            return LogRefused(f"the broker refuses our batch: {describe_refusal(code)}")
        case verdict:
            assert verdict is Verdict.SEQUENCE_LOST, "the others are no final answers"
            return Fenced(f"the broker has lost our sequence, so our claim is spent: {name_of(code)}")
