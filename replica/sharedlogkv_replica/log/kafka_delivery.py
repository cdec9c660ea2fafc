"""Sends a batch to the partition's leader until it is known what became of it; what all writers to Kafka share.

A batch carries (producer id, epoch, sequence of its first record). The partition's leader takes each sequence once and
in order, and answers a resent batch with the offset that it got the first time: so a batch is resent, as the same
bytes, until the answer is final (KIP-98, "Idempotent Producer").

`Fate` notes whether an attempt may have been written that was not acknowledged. It turns every further error, time-out
and refusal into `OutcomeUnknown`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sharedlogkv_replica.core.records import BARRIER, Entry
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, OutcomeUnknown, ReplicaError
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.held_claim import FENCE_EPOCH
from sharedlogkv_replica.log.kafka_errors import FENCED, MOVED, Verdict, name_of, verdict_of
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from sharedlogkv_replica.log.kafka_wire import Connection, Producer, build_batch

logger = logging.getLogger(__name__)

SEQUENCES: Final = 1 << 31
"""How many there are; behind the last one comes 0 again."""

FIRST_PAUSE_SECONDS: Final = 0.02
LAST_PAUSE_SECONDS: Final = 0.32

T = TypeVar("T")


@dataclass(slots=True)
class Fate:
    """What became of one batch so far.

    Attributes:
        open: some attempt was sent whose answer does not rule out that it was written, and none was acknowledged.
        attempts: times that it was sent.
    """

    open: bool = False
    attempts: int = 0


class Delivery:
    """One writer's way to the partition, with one deadline at a time.

    Args:
        link: the way to the partition's leader; closed with this.
        topic: the topic.
        partition: its partition.
        broker_timeout_ms: how long the leader may wait for its in-sync replicas before it answers.
        counters: where to count.
    """

    def __init__(
        self, link: LeaderLink, topic: str, partition: int, *, broker_timeout_ms: int, counters: LogCounters
    ) -> None:
        self._link = link
        self._topic = topic
        self._partition = partition
        self._broker_timeout_ms = broker_timeout_ms
        self._counters = counters
        self._time: asyncio.Timeout | None = None  # of the work under way
        self._trouble: Exception | None = None  # the last one of the work under way
        self._failing = False
        self._closed = False

    def check_open(self) -> None:
        """Returns unless this was closed.

        Raises:
            LogUnavailable: it was.
        """
        if self._closed:
            raise LogUnavailable("the log was closed")

    async def within(self, timeout_seconds: float, work: Awaitable[T], *, fate: Fate) -> T:
        """What `work` returns, which settles a batch of this `fate`; one at a time.

        Raises:
            LogUnavailable: time is up, and the batch was not written, nor will be.
            LogRefused: likewise, and there is no such topic; or what `work` raises.
            OutcomeUnknown: time is up, or `work` raises, and the batch may have been written.
        """
        assert self._time is None, "one append at a time"
        self._trouble = None
        self._time = asyncio.timeout(timeout_seconds)
        try:
            async with self._time:
                result = await work
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
        if self._failing:
            self._failing = False
            logger.info("the log can be written again")
        return result

    async def settle(self, batch: bytes, fate: Fate) -> tuple[int, int]:
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

        return await self.ask_leader(send)

    async def ask_leader(self, question: Callable[[Connection], Awaitable[tuple[int, T]]]) -> tuple[int, T]:
        """Asks the leader, whoever that is by then, until its answer is final: 0, or an error that no retry helps."""
        pauses = pause_seconds()
        while True:
            try:
                code, answer = await question(await self._link.connection())
            except (ConnectionError, LookupError) as error:
                self._trouble = error
                self._link.drop()
            else:
                if _is_final(code):
                    return code, answer
                self._trouble = ConnectionError(f"the leader of {self._topic} answers {name_of(code)}")
                if code in MOVED:
                    self._link.drop()
            await asyncio.sleep(next(pauses))

    async def ask_coordinator(self, transactional_id: str) -> tuple[int, Producer]:
        """Raises the epoch of the transactional id: the error code, once it is final, and the new name."""
        pauses = pause_seconds()
        while True:
            try:
                code, producer = await self._link.raise_epoch(transactional_id)
            except ConnectionError as error:
                self._trouble = error
            else:
                if _is_final(code):
                    return code, producer
                self._trouble = ConnectionError(f"the coordinator of {transactional_id} answers {name_of(code)}")
            await asyncio.sleep(next(pauses))

    async def shut_out(self, producer_id: int) -> None:
        """Has the partition refuse every batch of this producer id, for ever; does no harm twice.

        Raises:
            LogUnavailable: the broker refuses to.
        """
        fence = Producer(producer_id, FENCE_EPOCH)
        code, _ = await self.settle(build([BARRIER], fence, 0), Fate())
        if code != 0 and code not in FENCED:
            raise LogUnavailable(f"producer id {producer_id} can't be fenced: {name_of(code)}")
        self._counters.fences += 1

    def drop(self) -> None:
        """Hangs up: what still waits in our socket need not be sent."""
        self._link.drop()

    def _out_of_time(self, fate: Fate, timeout_seconds: float) -> ReplicaError:
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
        """Ends the work under way as if its time were up, and hangs up; idempotent."""
        self._closed = True
        if self._time is not None and not self._time.expired():
            self._time.reschedule(asyncio.get_running_loop().time())
        await self._link.close()


def build(entries: Sequence[Entry], producer: Producer, sequence: int) -> bytes:
    """The entries as one batch, as of now."""
    return build_batch(entries, producer=producer, sequence=sequence, now_ms=time.time_ns() // 1_000_000)


def pause_seconds() -> Iterator[float]:
    """How long to wait between attempts, for ever: short at first, since a new leader is often there at once."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LAST_PAUSE_SECONDS)


def _is_final(code: int) -> bool:
    return code == 0 or verdict_of(code) not in (Verdict.NOT_YET, Verdict.UNKNOWN)
