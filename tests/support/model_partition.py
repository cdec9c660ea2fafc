"""A partition's leader as far as the batch writer can tell: sequences, epochs and what may happen to a request.

The rules are those of KIP-98 for a producer without transactions, as the tests on a real broker show them
(tests/integration/log/test_kafka_writer.py, test_kafka_fenced.py). It coordinates one transactional id, too.
"""

import asyncio
import collections
import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from sharedlogkv_replica.log.kafka_wire import Address, Leadership, Producer

ADDRESS = Address("model", 9092)
_HEADER = struct.Struct(">qiibIhiqqqhii")
_REMEMBERED_BATCHES = 5


class Happening(enum.Enum):
    """What becomes of one request, and of its answer."""

    ANSWERED = "all is well"
    REQUEST_LOST = "the connection breaks before the request arrives"
    ANSWER_LOST = "the connection breaks before the answer arrives"
    LATE = "the connection breaks, and the request arrives later"
    HANGS = "the request arrives, and no answer ever comes"
    HANGS_LATE = "no answer ever comes, and the request arrives later"
    NOT_LEADER = "the leader says that it is none, and does nothing"
    STEPPED_DOWN = "the leader appends, and then says that it is none"
    NOT_REPLICATED = "the leader appends, and says that it was not replicated in time"
    TOO_FEW_REPLICAS = "the leader refuses for want of replicas"
    FENCED = "somebody fences the producer, and then the request arrives"
    DENIED = "the broker refuses for want of rights; on a new connection, to tell who leads"


@dataclass
class _State:
    epoch: int
    next_sequence: int
    batches: "collections.deque[tuple[int, int, int]]" = field(
        default_factory=lambda: collections.deque(maxlen=_REMEMBERED_BATCHES)
    )


class ModelPartition:
    """The partition, and the script of what happens to the requests that come.

    Args:
        script: what happens.

    Attributes:
        fences: whether batches of an epoch below the highest one are refused, as they must be.
        batches: first offset and bytes of every batch in the partition.
    """

    def __init__(self, script: Iterable[Happening]) -> None:
        self.fences = True
        self._newest: Producer | None = None  # of the transactional id
        self._script = iter(script)
        self.batches: list[tuple[int, bytes]] = []
        self._end = 0
        self._states: dict[int, _State] = {}
        self._late: list[bytes] = []
        self._producer_ids = 0

    async def connect(self, _: Address) -> "ModelConnection":
        """A connection, or `ConnectionError`, as the script has it."""
        happening = self.happens()
        if happening in (Happening.REQUEST_LOST, Happening.TOO_FEW_REPLICAS):
            raise ConnectionError(happening.value)
        return ModelConnection(self, denied=happening is Happening.DENIED)

    def happens(self) -> Happening:
        """The next thing to happen; all is well at the script's end."""
        return next(self._script, Happening.ANSWERED)

    def take_producer_id(self) -> Producer:
        """A new id."""
        self._producer_ids += 1
        return Producer(self._producer_ids, 0)

    def raise_epoch(self) -> Producer:
        """The next epoch of the transactional id."""
        newest = self._newest
        self._newest = Producer(newest.producer_id, newest.epoch + 1) if newest else self.take_producer_id()
        return self._newest

    def forget_producer(self) -> None:
        """Has the transactional id get another producer id, as when its epochs are used up."""
        self._newest = None

    def arrive_later(self, batch: bytes) -> None:
        """Keeps a request back until `deliver_late`."""
        self._late.append(batch)

    def deliver_late(self) -> None:
        """Everything that was kept back arrives, and is answered to nobody."""
        late, self._late = self._late, []
        for batch in late:
            self.append(batch)

    def fence(self, batch: bytes) -> None:
        """Somebody else writes in the name of this batch's producer."""
        producer_id = _HEADER.unpack_from(batch)[9]
        self._states[producer_id] = _State(epoch=32_767, next_sequence=1)

    def append(self, batch: bytes) -> tuple[int, int]:
        """Takes a batch by the rules: the error code, and the first offset."""
        producer_id, epoch, sequence, count = _HEADER.unpack_from(batch)[9:]
        state = self._states.get(producer_id)
        if state is None or epoch > state.epoch:
            if state is not None and sequence != 0:
                return 45, -1
            state = self._states[producer_id] = _State(epoch, sequence)
        elif epoch < state.epoch and self.fences:
            return 47, -1
        for first, records, offset in state.batches:
            if (first, records) == (sequence, count):
                return 0, offset
        if sequence != state.next_sequence:
            return 45, -1
        offset = self._end
        self._end += count
        self.batches.append((offset, batch))
        state.batches.append((sequence, count, offset))
        state.next_sequence = sequence + count
        return 0, offset


class ModelConnection:
    """Implements `Connection`."""

    def __init__(self, partition: ModelPartition, *, denied: bool) -> None:
        self._partition = partition
        self._denied = denied
        self.alive = True

    async def find_leader(self, _topic: str, _partition: int) -> Leadership:
        return Leadership(29, None, (ADDRESS,)) if self._denied else Leadership(0, ADDRESS, (ADDRESS,))

    async def find_coordinator(self, _transactional_id: str) -> tuple[int, Address]:
        return 0, ADDRESS

    async def take_producer_id(self, transactional_id: str | None) -> tuple[int, Producer]:
        match self._partition.happens():
            case Happening.REQUEST_LOST | Happening.ANSWER_LOST as happening:
                raise ConnectionError(happening.value)
            case Happening.NOT_LEADER:
                return 15, Producer(-1, -1)
            case Happening.DENIED:
                return 31, Producer(-1, -1)
            case _ if transactional_id is None:
                return 0, self._partition.take_producer_id()
            case _:
                return 0, self._partition.raise_epoch()

    async def produce(self, _topic: str, _partition: int, batch: bytes, *, timeout_ms: int) -> tuple[int, int]:
        assert timeout_ms > 0
        assert self.alive
        partition = self._partition
        happening = partition.happens()
        match happening:
            case Happening.ANSWERED:
                return partition.append(batch)
            case Happening.REQUEST_LOST:
                raise ConnectionError(happening.value)
            case Happening.ANSWER_LOST:
                partition.append(batch)
                raise ConnectionError(happening.value)
            case Happening.LATE:
                partition.arrive_later(batch)
                raise ConnectionError(happening.value)
            case Happening.HANGS | Happening.HANGS_LATE:
                partition.append(batch) if happening is Happening.HANGS else partition.arrive_later(batch)
                await asyncio.sleep(3600)
                raise ConnectionError(happening.value)
            case Happening.NOT_LEADER:
                return 6, -1
            case Happening.STEPPED_DOWN:
                code, _ = partition.append(batch)
                return code or 6, -1
            case Happening.NOT_REPLICATED:
                code, _ = partition.append(batch)
                return code or 7, -1
            case Happening.TOO_FEW_REPLICAS:
                return 19, -1
            case Happening.DENIED:
                return 29, -1
            case Happening.FENCED:
                partition.fence(batch)
                return partition.append(batch)

    def abort(self) -> "asyncio.Future[None]":
        self.alive = False
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done
