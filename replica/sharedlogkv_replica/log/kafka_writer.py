"""The batch writer: appends one batch after the other to one partition, each exactly once.

A batch carries (producer id, epoch, sequence of its first record). The partition's leader takes each sequence once and
in order, and answers a resent batch with the offset that it got the first time: so a batch is resent, as the same
bytes, until the answer is final (KIP-98, "Idempotent Producer"). One batch is in flight at a time.

What became of a batch, and what follows:

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
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sharedlogkv_replica.core.records import BARRIER, Entry, Offset
from sharedlogkv_replica.errors import (
    LogRefused,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_errors import FENCED, MOVED, Verdict, name_of, verdict_of
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from sharedlogkv_replica.log.kafka_wire import Connection, Producer, build_batch

logger = logging.getLogger(__name__)

FENCE_EPOCH: Final = 32_767
"""Above every epoch that a broker hands out, so that it shuts out every holder of the producer id."""

SEQUENCES: Final = 1 << 31
FIRST_PAUSE_SECONDS: Final = 0.02
LAST_PAUSE_SECONDS: Final = 0.32

T = TypeVar("T")


@dataclass(slots=True)
class _Fate:
    """What became of one batch so far.

    Attributes:
        open: some attempt was sent whose answer does not rule out that it was written, and none was acknowledged.
        attempts: times that it was sent.
    """

    open: bool = False
    attempts: int = 0


class BatchWriter:
    """Appends to one partition; one `append` at a time.

    Args:
        link: the way to the partition's leader; the writer closes it.
        topic: the topic.
        partition: its partition.
        broker_timeout_ms: how long the leader may wait for its in-sync replicas before it answers.
        continuity: who judges the offsets that are acknowledged.
        counters: where to count.
    """

    def __init__(
        self,
        link: LeaderLink,
        topic: str,
        partition: int,
        *,
        broker_timeout_ms: int,
        continuity: Continuity,
        counters: LogCounters,
    ) -> None:
        self._link = link
        self._topic = topic
        self._partition = partition
        self._broker_timeout_ms = broker_timeout_ms
        self._continuity = continuity
        self._counters = counters
        self._producer: Producer | None = None
        self._sequence = 0
        self._unfenced: Producer | None = None
        self._time: asyncio.Timeout | None = None  # of the append under way
        self._trouble: Exception | None = None  # the last one of the append under way
        self._failing = False
        self._closed = False

    @property
    def producer(self) -> Producer | None:
        """Who appends now; None before the first append, and after an outcome that stayed unknown."""
        return self._producer

    async def append(self, entries: Sequence[Entry], *, limit_bytes: int, timeout_seconds: float) -> Offset:
        """See `SharedLog.append`; a batch above `limit_bytes` is refused before it is sent."""
        assert self._time is None, "one append at a time"
        if self._closed:
            raise LogUnavailable("the log was closed")
        self._continuity.check_writable()
        fate = _Fate()
        self._trouble = None
        self._time = asyncio.timeout(timeout_seconds)
        try:
            async with self._time:
                offset = await self._append(entries, limit_bytes, fate)
        except TimeoutError:
            raise self._note_failure(self._out_of_time(fate, timeout_seconds)) from self._trouble
        except OutcomeUnknown:
            raise
        except ReplicaError as error:
            if not fate.open:
                raise
            unknown = OutcomeUnknown(f"a batch was sent and not acknowledged, and no further attempt can be: {error}")
            raise self._note_failure(unknown) from error
        finally:
            self._time = None
            if fate.open:  # also when the caller was cancelled
                self._counters.abandoned_batches += 1
                self._retire()
        if self._failing:
            self._failing = False
            logger.info("the log can be written again")
        return offset

    async def _append(self, entries: Sequence[Entry], limit_bytes: int, fate: _Fate) -> Offset:
        pauses = _pauses()
        while True:
            producer = await self._become_producer()
            batch = build_batch(entries, producer=producer, sequence=self._sequence, now_ms=_now_ms())
            if len(batch) > limit_bytes:
                raise RecordTooLarge(f"{len(batch)} bytes in one batch are more than the {limit_bytes} of the log")
            code, offset = await self._settle(batch, fate)
            if code == 0:
                self._sequence = (self._sequence + len(entries)) % SEQUENCES
                return self._acknowledge(Offset(offset), entries, size_bytes=len(batch))
            if fate.open:
                raise OutcomeUnknown(f"a batch was sent, and then the broker answered {name_of(code)}")
            match verdict_of(code):
                case Verdict.TOO_LARGE:
                    raise RecordTooLarge(f"{len(batch)} bytes in one batch are more than the broker takes")
                case Verdict.REFUSED:
                    raise LogRefused(f"the broker refuses our batch for {self._topic}: {name_of(code)}")
                case verdict:
                    assert verdict is Verdict.SEQUENCE_LOST, "the others are no final answers"
            self._retire()
            await asyncio.sleep(next(pauses))

    def _acknowledge(self, offset: Offset, entries: Sequence[Entry], *, size_bytes: int) -> Offset:
        self._continuity.acknowledge(offset, records=len(entries))
        self._counters.count_appended(records=len(entries), size_bytes=size_bytes)
        return offset

    async def _become_producer(self) -> Producer:
        """Sees to it that there is a producer id, and that nothing abandoned can land any more."""
        if self._producer is None:
            code, producer = await self._ask(lambda connection: connection.take_producer_id())
            if code != 0:
                raise LogRefused(f"the broker gives us no producer id: {name_of(code)}")
            self._producer, self._sequence = producer, 0
            self._counters.producer_ids += 1
        if self._unfenced is not None:
            await self._fence(self._unfenced)
            self._unfenced = None
            self._counters.fences += 1
        return self._producer

    async def _fence(self, old: Producer) -> None:
        fence = Producer(old.producer_id, FENCE_EPOCH)
        batch = build_batch([BARRIER], producer=fence, sequence=0, now_ms=_now_ms())
        code, _ = await self._settle(batch, _Fate())
        if code != 0 and code not in FENCED:
            raise LogUnavailable(f"an abandoned batch can't be fenced: {name_of(code)}")

    def _retire(self) -> None:
        """Never uses this producer id again; the next append fences it first."""
        self._unfenced, self._producer = self._producer, None
        self._link.drop()  # what still waits in our socket need not be sent

    async def _settle(self, batch: bytes, fate: _Fate) -> tuple[int, int]:
        """Sends the same bytes again and again until the answer is final: the error code and the first offset."""

        async def send(connection: Connection) -> tuple[int, int]:
            was_open, fate.open = fate.open, True
            self._counters.resends += fate.attempts > 0
            fate.attempts += 1
            code, offset = await connection.produce(
                self._topic, self._partition, batch, timeout_ms=self._broker_timeout_ms
            )
            if code == 0 or verdict_of(code) is not Verdict.UNKNOWN:
                fate.open = was_open and code != 0
            return code, offset

        return await self._ask(send)

    async def _ask(self, question: Callable[[Connection], Awaitable[tuple[int, T]]]) -> tuple[int, T]:
        """Asks the leader, whoever that is by then, until its answer is final: 0, or an error that no retry helps."""
        pauses = _pauses()
        while True:
            try:
                code, answer = await question(await self._link.connection())
            except (ConnectionError, LookupError) as error:
                self._trouble = error
                self._link.drop()
            else:
                if code == 0 or verdict_of(code) not in (Verdict.NOT_YET, Verdict.UNKNOWN):
                    return code, answer
                self._trouble = ConnectionError(f"the leader of {self._topic} answers {name_of(code)}")
                if code in MOVED:
                    self._link.drop()
            await asyncio.sleep(next(pauses))

    def _out_of_time(self, fate: _Fate, timeout_seconds: float) -> ReplicaError:
        within = "when the log was closed" if self._closed else f"within {timeout_seconds:g} s"
        if fate.open:
            return OutcomeUnknown(f"a batch was sent and not acknowledged {within}: {self._trouble or 'no answer'}")
        if isinstance(self._trouble, LookupError):
            return LogRefused(f"{self._trouble}")
        return LogUnavailable(f"a batch could not be sent {within}: {self._trouble or 'no answer'}")

    def _note_failure(self, error: ReplicaError) -> ReplicaError:
        if not self._failing and not self._closed:
            self._failing = True
            self._counters.write_outages += 1
            logger.warning("the log can't be written", extra={"detail": str(error)})
        return error

    async def close(self) -> None:
        """Ends the append under way as if its time were up, and hangs up; idempotent."""
        self._closed = True
        if self._time is not None and not self._time.expired():
            self._time.reschedule(asyncio.get_running_loop().time())
        await self._link.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _pauses() -> Iterator[float]:
    """Seconds to wait between attempts, for ever: short at first, since a new leader is often there at once."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LAST_PAUSE_SECONDS)
