"""Finds the broker that leads the partition, and keeps one connection to it; finds a coordinator, and asks it once.

One call makes one attempt, so that whoever calls decides on pauses and deadlines. There is no background task, and
nothing that can get stuck: the bootstrap addresses are always among those that are asked, so brokers may vanish for
any time and come back anywhere that the bootstrap addresses lead to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from sharedlogkv_replica.errors import LogRefused
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_errors import ABSENT, Verdict, name_of, verdict_of
from sharedlogkv_replica.log.kafka_wire import Address, Connection, Producer

CLOSE_SECONDS: Final = 1.0
NOBODY: Final = Producer(-1, -1)


class LeaderLink:
    """The connection to the leader of one partition.

    Args:
        bootstrap: addresses of brokers, one or more, as configured.
        topic: the topic.
        partition: its partition.
        connect: makes a connection to an address; tests put something bad in between.
        counters: where to count.
    """

    def __init__(
        self,
        bootstrap: Sequence[Address],
        topic: str,
        partition: int,
        *,
        connect: Callable[[Address], Awaitable[Connection]],
        counters: LogCounters,
    ) -> None:
        self._bootstrap = tuple(bootstrap)
        self._topic = topic
        self._partition = partition
        self._make_connection = connect
        self._counters = counters
        self._addresses = list(bootstrap)  # who to ask, the most promising first
        self._connection: Connection | None = None
        self._closing: set[asyncio.Future[None]] = set()

    @property
    def alive(self) -> bool:
        """Whether there is a connection to the leader that has not been seen to break."""
        return self._connection is not None and self._connection.alive

    async def connection(self) -> Connection:
        """The connection to the leader; makes one attempt to get one if need be.

        Raises:
            ConnectionError: nobody answered, or nobody leads at the moment.
            LookupError: the broker does not know the topic.
            LogRefused: we lack the rights.
        """
        if self._connection is not None and self._connection.alive:
            return self._connection
        self.drop()
        asked = self._addresses[0]
        leader = await self._ask_for_leader(asked)
        return await self._connect_leader(leader)

    async def raise_epoch(self, transactional_id: str) -> tuple[int, Producer]:
        """Makes one attempt to raise the epoch of the transactional id: Kafka's error code, and the new name when 0.

        Raises:
            ConnectionError: nobody answered.
        """
        asked = self._addresses[0]
        self._demote(asked)  # whatever becomes of this question, the next one goes to another broker
        connection = await self._connect(asked)
        try:
            code, coordinator = await connection.find_coordinator(transactional_id)
        finally:
            self._hang_up(connection)
        if code != 0:
            return code, NOBODY
        connection = await self._connect(coordinator)
        try:
            return await connection.take_producer_id(transactional_id)
        finally:
            self._hang_up(connection)

    async def _ask_for_leader(self, asked: Address) -> Address:
        self._demote(asked)  # whatever becomes of this question, the next one goes to another broker
        connection = await self._connect(asked)
        try:
            found = await connection.find_leader(self._topic, self._partition)
        finally:
            self._hang_up(connection)
        self._addresses = _unique([asked, *found.brokers, *self._bootstrap])
        if found.code in ABSENT:
            raise LookupError(f"the topic {self._topic} does not exist")
        if found.code != 0 and verdict_of(found.code) is Verdict.REFUSED:
            raise LogRefused(f"the topic {self._topic} can't be used: {name_of(found.code)}")
        if found.leader is None:
            raise ConnectionError(f"partition {self._partition} of {self._topic} has no leader at the moment")
        return found.leader

    async def _connect_leader(self, leader: Address) -> Connection:
        self._demote(leader)  # if it fails us, somebody else is to be asked who leads now
        self._connection = await self._connect(leader)
        return self._connection

    async def _connect(self, address: Address) -> Connection:
        self._counters.connections += 1
        try:
            return await self._make_connection(address)
        except ConnectionError:
            self._counters.connection_failures += 1
            raise

    def drop(self) -> None:
        """Hangs up on the leader; the next `connection()` asks anew who it is."""
        if self._connection is not None:
            self._hang_up(self._connection)
            self._connection = None

    def _hang_up(self, connection: Connection) -> None:
        closed = connection.abort()
        self._closing.add(closed)
        closed.add_done_callback(self._closing.discard)

    def _demote(self, address: Address) -> None:
        self._addresses = _unique([*(known for known in self._addresses if known != address), address])

    async def close(self) -> None:
        """Hangs up and waits until the sockets are released."""
        self.drop()
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=CLOSE_SECONDS)


def _unique(addresses: Iterable[Address]) -> list[Address]:
    return list(dict.fromkeys(addresses))
