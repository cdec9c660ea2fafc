"""Kafka's wire as far as the writer needs it: one batch as bytes, and one connection to one broker.

This module is the only one that touches aiokafka. We use its connection (framing, API versions, TLS, SASL) and its
record builder, and neither its producer (which owns sequences and transactions in a way that the writer must not) nor
its client: that one keeps a background task and an address book of its own, lets brokers create missing topics by the
mere question for them, and never goes back to the bootstrap addresses. None of it is documented as public, so the
version is pinned in pyproject.toml, and the integration tests hold it to what is used here.

Every fault of a connection is raised as `ConnectionError`, whatever aiokafka calls it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from sharedlogkv_replica.core.records import Entry

# aiokafka logs each failed attempt as an error and, at debug level, requests with the users' values in them. The
# writer says itself, once per outage, what is the matter.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

ACKS_ALL: Final = -1
COORDINATOR_OF_TRANSACTIONS: Final = 1
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""Must be a valid one, though no transaction is ever begun."""

UNLIMITED_BATCH_BYTES: Final = 1 << 30
"""For the record builder, which would otherwise leave records out in silence: the writer checks sizes before."""


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Producer:
    """Who writes a batch, for the broker's de-duplication and fencing. Source: KIP-98, "Idempotent Producer"."""

    producer_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """What a broker says about the partition.

    Attributes:
        code: Kafka's error code for the topic or else the partition; 0 when there is a leader.
        leader: where the leader listens; None when there is none, or its broker is not known.
        brokers: where the cluster's live brokers listen.
    """

    code: int
    leader: Address | None
    brokers: Sequence[Address]


def build_batch(entries: Sequence[Entry], *, producer: Producer, sequence: int, now_ms: int) -> bytes:
    """The entries as one record batch of format version 2, uncompressed, without the transactional flag."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        base_sequence=sequence,
        batch_size=UNLIMITED_BATCH_BYTES,
    )
    add = builder.append
    for index, entry in enumerate(entries):
        add(index, now_ms, entry.key, entry.value, [])
    return bytes(builder.build())


class Connection(Protocol):
    """One connection to one broker. After any fault it is of no more use: `abort` it."""

    @property
    def alive(self) -> bool:
        """Whether the broker has not been seen to hang up."""
        ...

    async def find_leader(self, topic: str, partition: int) -> Leadership:
        """Asks the broker who leads the partition; a missing topic is never created by that.

        Raises:
            ConnectionError: the connection is lost, or no answer came in time.
        """
        ...

    async def find_coordinator(self, transactional_id: str) -> tuple[int, Address]:
        """Asks who keeps the book of the transactional id. Returns Kafka's error code, and where when the code is 0.

        Raises:
            ConnectionError: the connection is lost, or no answer came in time.
        """
        ...

    async def take_producer_id(self, transactional_id: str | None) -> tuple[int, Producer]:
        """Asks for a producer id. Returns Kafka's error code, and the id when the code is 0.

        Args:
            transactional_id: whose epoch to raise; only its coordinator answers. None for an id of one's own.

        Raises:
            ConnectionError: the connection is lost, or no answer came in time.
        """
        ...

    async def produce(self, topic: str, partition: int, batch: bytes, *, timeout_ms: int) -> tuple[int, int]:
        """Sends one batch. Returns Kafka's error code, and the batch's first offset when the code is 0.

        Args:
            topic: the topic.
            partition: its partition, which this broker should lead.
            batch: what `build_batch` made.
            timeout_ms: how long the broker may wait for its in-sync replicas.

        Raises:
            ConnectionError: the connection is lost, or no answer came in time.
        """
        ...

    def abort(self) -> "asyncio.Future[None]":
        """Hangs up at once: what was not handed to the kernel is never sent. The future ends when all is released."""
        ...


class AiokafkaConnection:
    """A `Connection` over TCP or TLS; made by `connect`."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport = connection._writer.transport  # the only way to abort it

    @property
    def alive(self) -> bool:
        """See `Connection`."""
        return bool(self._connection.connected())

    async def find_leader(self, topic: str, partition: int) -> Leadership:
        """See `Connection`."""
        answer = await self._send(MetadataRequest([topic], allow_auto_topic_creation=False))
        brokers = {node_id: Address(host, port) for node_id, host, port, *_ in answer.brokers}
        code, leader_id = _leader_in(answer.topics, topic, partition)
        return Leadership(code, brokers.get(leader_id), tuple(brokers.values()))

    async def find_coordinator(self, transactional_id: str) -> tuple[int, Address]:
        """See `Connection`."""
        answer = await self._send(FindCoordinatorRequest(transactional_id, COORDINATOR_OF_TRANSACTIONS))
        return answer.error_code, Address(answer.host, answer.port)

    async def take_producer_id(self, transactional_id: str | None) -> tuple[int, Producer]:
        """See `Connection`."""
        answer = await self._send(InitProducerIdRequest(transactional_id, TRANSACTION_TIMEOUT_MS))
        return answer.error_code, Producer(answer.producer_id, answer.producer_epoch)

    async def produce(self, topic: str, partition: int, batch: bytes, *, timeout_ms: int) -> tuple[int, int]:
        """See `Connection`."""
        answer = await self._send(ProduceRequest(None, ACKS_ALL, timeout_ms, [(topic, [(partition, batch)])]))
        _, code, offset, *_ = answer.topics[0][1][0]
        return code, offset

    def abort(self) -> "asyncio.Future[None]":
        """See `Connection`."""
        self._transport.abort()
        closed: asyncio.Future[None] = self._connection.close()
        return closed

    async def _send(self, request: object) -> Any:
        try:
            return await self._connection.send(request)
        except TimeoutError as error:
            raise ConnectionError(f"no answer from {self} in time") from error
        except (KafkaError, NotImplementedError, OSError) as error:
            raise ConnectionError(f"lost {self}: {error}") from error

    def __str__(self) -> str:
        return f"{self._connection.host}:{self._connection.port}"


async def connect(address: Address, *, timeout_seconds: float, options: Mapping[str, object]) -> Connection:
    """A new connection to the broker at `address`, whose requests time out after `timeout_seconds` as well.

    `options` are further keyword arguments of aiokafka's `create_conn` (`security_protocol`, `ssl_context`, ...).

    Raises:
        ConnectionError: nobody answers there, or not as a Kafka broker.
    """
    try:
        connection = await create_conn(
            address.host,
            address.port,
            client_id="sharedlogkv",
            request_timeout_ms=int(timeout_seconds * 1000),
            **options,
        )
    except TimeoutError as error:
        raise ConnectionError(f"no answer from {address.host}:{address.port} in {timeout_seconds:g} s") from error
    except (KafkaError, NotImplementedError, OSError) as error:
        raise ConnectionError(f"can't connect to {address.host}:{address.port}: {error}") from error
    return AiokafkaConnection(connection)


def _leader_in(topics: Sequence[Any], topic: str, partition: int) -> tuple[int, int]:
    """The error code and the leader's id of the partition, from a metadata answer of version 1 to 5."""
    for code, name, _, partitions in topics:
        if name == topic and code != 0:
            return code, -1
        for partition_code, index, leader_id, *_ in partitions:
            if name == topic and index == partition:
                return partition_code, leader_id
    raise ConnectionError(f"the broker left partition {partition} of {topic} out of its answer")
