"""A shared log in a Kafka topic with one partition; implements `SharedLog`.

Three clients, each for what it does best: librdkafka's consumer reads (kafka_reader), our own batch writer appends
(kafka_writer), librdkafka's admin client answers questions about the topic (here).

The rights that this needs on the topic: Describe, DescribeConfigs, Read, and Write to append. To lead also Write on the
transactional id `sharedlogkv-<topic>` (kafka_fenced).
"""

import asyncio
import concurrent.futures
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType, TopicDescription

from sharedlogkv_replica.core.records import Batch, Entry, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.errors import ConfigError, LogRefused, LogUnavailable
from sharedlogkv_replica.log.base import LogDescription
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_delivery import Delivery
from sharedlogkv_replica.log.kafka_errors import ABSENT, DENIED, ask_for
from sharedlogkv_replica.log.kafka_fenced import KafkaFencedWriter
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from sharedlogkv_replica.log.kafka_reader import KafkaReader
from sharedlogkv_replica.log.kafka_security import PLAINTEXT, Credentials, KafkaSecurity, is_refusal
from sharedlogkv_replica.log.kafka_wire import Address, Connection, connect
from sharedlogkv_replica.log.kafka_writer import BatchWriter

PARTITION: Final = 0
REQUEST_TIMEOUT_SECONDS: Final = 3.0
"""How long a broker may take to answer the writer, before the batch is sent again over a new connection."""

BROKER_TIMEOUT_MS: Final = 2_500
"""How long the leader may wait for its in-sync replicas; below the above, so that it answers before we hang up."""

ATTEMPTS: Final = 3
"""How often a question can be asked within its time, if brokers don't answer: the one that is asked may be dead."""

ASK_AGAIN_SECONDS: Final = 0.1
CLOSED: Final = "the log was closed"
UNREADABLE: Final = "the Kafka credentials can't be used"

_LOCATION: Final = re.compile(r"kafka://(?P<brokers>[^/]+)/(?P<topic>[A-Za-z0-9._-]{1,249})", re.ASCII)
_BROKER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:,\s]+):(?P<port>[0-9]{1,5})", re.ASCII)
_URL_ALPHABET: Final = str.maketrans("+/", "-_")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KafkaLocation:
    """Where a log is.

    Attributes:
        bootstrap: addresses of brokers, one or more; IPv6 addresses without brackets.
        topic: the topic.
    """

    bootstrap: Sequence[Address]
    topic: str

    @property
    def bootstrap_servers(self) -> str:
        """The addresses as librdkafka wants them."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.bootstrap)


def parse_location(url: str) -> KafkaLocation:
    """The location that `kafka://host:port[,host:port...]/topic` spells; an IPv6 address is in brackets.

    Raises:
        ConfigError: it is not of that form.
    """
    match = _LOCATION.fullmatch(url)
    if match is None or match["topic"] in (".", ".."):
        raise ConfigError(
            f"the log {url!r} is not of the form kafka://host:port[,host:port...]/topic "
            "(a topic: up to 249 letters, digits, dots, underscores and hyphens)"
        )
    return KafkaLocation(tuple(_parse_address(url, broker) for broker in match["brokers"].split(",")), match["topic"])


def _parse_address(url: str, text: str) -> Address:
    match = _BROKER.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise ConfigError(f"in the log {url!r}, {text!r} is not of the form host:port (an IPv6 host is in brackets)")
    return Address(match["host"].strip("[]"), int(match["port"]))


def spell_topic_id(topic_id: Uuid | str) -> str:
    """The topic id as Kafka's own tools spell it (base64 for URLs); librdkafka uses `+` and `/`, unfit for a token."""
    return str(topic_id).translate(_URL_ALPHABET)


class KafkaLog:
    """One replica's handle on a topic; made and used within one event loop.

    Args:
        location: where it is.
        expected_id: the only topic id that `open` accepts, in either spelling of base64; None accepts any at first.
        query_timeout_seconds: how long `open`, `end` and `identify` wait for an answer.
        security: how to connect.
    """

    def __init__(
        self,
        location: KafkaLocation,
        *,
        expected_id: str | None = None,
        query_timeout_seconds: float = 5.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self.counters = LogCounters()
        self._location = location
        self._topic = location.topic
        self._continuity = Continuity(
            f"the topic {self._topic}", expected_id=None if expected_id is None else spell_topic_id(expected_id)
        )
        self._query_timeout_seconds = query_timeout_seconds
        self._security = security
        self._attempt_seconds = query_timeout_seconds / ATTEMPTS
        self._properties = {"bootstrap.servers": location.bootstrap_servers}
        self._admin_client: AdminClient | None = None  # kept: without a reference, its futures end in _DESTROY
        self._admin_credentials = Credentials()  # that it was made with
        self._reader: KafkaReader | None = None
        self._batch_limit_bytes: int | None = None
        self._trouble = ""  # the last one of the question under way
        self._refusal = ""  # of the connection, while the question under way was open
        self._closed = False
        self._writer = BatchWriter(self._new_delivery(), continuity=self._continuity, counters=self.counters)
        self._fenced_writers: list[KafkaFencedWriter] = []

    def _new_delivery(self) -> Delivery:
        link = LeaderLink(
            self._location.bootstrap,
            self._topic,
            PARTITION,
            connect=self._connect,
            counters=self.counters,
        )
        return Delivery(link, self._topic, PARTITION, broker_timeout_ms=BROKER_TIMEOUT_MS, counters=self.counters)

    async def open(self) -> LogDescription:
        """See `SharedLog.open`."""
        with self.counters.count_query():
            async with self._deadline():
                topic = await self._describe_existing()
                self._check(topic)
                config = await self._describe_config()
        policy = {word.strip() for word in config["cleanup.policy"].split(",")}
        if policy != {"compact"}:
            raise LogRefused(
                f"the topic {self._topic} has cleanup.policy={config['cleanup.policy']}; it must be compact alone, "
                "or records would vanish that no later one replaces"
            )
        topic_id = spell_topic_id(topic.topic_id)
        self._continuity.bind(topic_id)
        self._batch_limit_bytes = int(config["max.message.bytes"])
        return LogDescription(
            LogIdentity(topic_id, PARTITION),
            self._batch_limit_bytes,
            tombstone_seconds=int(config["delete.retention.ms"]) / 1000,
            compaction_lag_seconds=int(config["min.compaction.lag.ms"]) / 1000,
        )

    def _check(self, topic: TopicDescription) -> None:
        self._continuity.check_id(spell_topic_id(topic.topic_id))
        if len(topic.partitions) != 1:
            raise LogRefused(
                f"the topic {self._topic} has {len(topic.partitions)} partitions; a log must have exactly one, "
                "since there is no order between partitions"
            )

    async def read(self, start: Position) -> AsyncGenerator[Batch, None]:
        """See `SharedLog.read`."""
        if self._closed:
            return
        assert self._reader is None, "one reading at a time"
        self._reader = KafkaReader(
            self._properties,
            self._topic,
            PARTITION,
            start=start,
            counters=self.counters,
            security=self._security,
        )
        batches = self._reader.batches()
        try:
            async for batch in batches:
                yield batch
        finally:
            await batches.aclose()
            self._reader = None

    async def end(self) -> Position:
        """See `SharedLog.end`. It is the high watermark, below which is every acknowledged record."""
        partition = TopicPartition(self._topic, PARTITION)
        with self.counters.count_query():
            self._continuity.check_whole()
            async with self._deadline():
                try:
                    answer = await self._ask(
                        lambda admin: admin.list_offsets(
                            {partition: OffsetSpec.latest()},
                            isolation_level=IsolationLevel.READ_UNCOMMITTED,
                            request_timeout=self._attempt_seconds,
                        )[partition],
                        right="Describe",
                    )
                except LookupError as error:
                    raise LogRefused(str(error)) from error
        return Position(answer.offset)

    async def identify(self) -> str | None:
        """See `SharedLog.identify`."""
        with self.counters.count_query():
            self._continuity.check_whole()
            async with self._deadline():
                topic = await self._describe()
        return None if topic is None else spell_topic_id(topic.topic_id)

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """See `SharedLog.append`."""
        assert entries, "an empty batch has no offset"
        assert self._batch_limit_bytes is not None, "open it first"
        with self.counters.count_append():
            return await self._writer.append(
                entries, limit_bytes=self._batch_limit_bytes, timeout_seconds=timeout_seconds
            )

    def fenced_writer(self) -> KafkaFencedWriter:
        """See `SharedLog.fenced_writer`."""
        writer = KafkaFencedWriter(
            self._new_delivery(),
            transactional_id=f"sharedlogkv-{self._topic}",
            admit=self._admit_claim,
            continuity=self._continuity,
            counters=self.counters,
        )
        self._fenced_writers.append(writer)
        return writer

    async def _admit_claim(self) -> int:
        """Checks that the log may be claimed; returns the largest batch in bytes that it takes."""
        async with self._deadline():
            topic = await self._describe_existing()
            config = await self._describe_config()
        self._continuity.check_claimable(spell_topic_id(topic.topic_id))
        if config["message.timestamp.type"] != "LogAppendTime":
            raise LogRefused(
                f"the topic {self._topic} has message.timestamp.type={config['message.timestamp.type']}; to be led it "
                "must be LogAppendTime, or a leader with a slow clock could no longer shut out the ones before it"
            )
        return int(config["max.message.bytes"])

    async def close(self) -> None:
        """See `SharedLog.close`."""
        self._closed = True
        if self._reader is not None:
            self._reader.stop()
        await self._writer.close()
        for writer in self._fenced_writers:
            await writer.close()
        self._admin_client = None

    # --- questions ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        if self._closed:
            raise LogUnavailable(CLOSED)
        self._trouble, self._refusal = f"no answer within {self._query_timeout_seconds:g} s", ""
        try:
            async with asyncio.timeout(self._query_timeout_seconds):
                yield
        except TimeoutError:
            raise self._explain_silence() from None
        if self._reader is not None:
            self._reader.reached()

    def _explain_silence(self) -> LogRefused | LogUnavailable:
        """Why there was no answer. A client with outdated credentials is given up: the next question gets another."""
        where = f"Kafka at {self._location.bootstrap_servers}, topic {self._topic}"
        if self._admin_client is not None:
            self._admin_client.poll(0)  # has it tell what went wrong meanwhile
            if self._security.has_changed_since(self._admin_credentials):
                last = [self._admin_client]
                self._admin_client = None
                # There: librdkafka joins its threads, which may take a moment.
                asyncio.get_running_loop().run_in_executor(None, last.clear)
        if self._refusal:
            return LogRefused(f"{where}: the connection is refused: {self._refusal}")
        return LogUnavailable(f"{where}: {self._trouble}")

    def _note_error(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refusal = error.str()

    def _description(self, admin: AdminClient) -> "concurrent.futures.Future[TopicDescription]":
        topics = TopicCollection([self._topic])
        return admin.describe_topics(topics, request_timeout=self._attempt_seconds)[self._topic]

    async def _describe(self) -> TopicDescription | None:
        try:
            return await self._ask(self._description, right="Describe")
        except LookupError:
            return None

    async def _describe_existing(self) -> TopicDescription:
        topic = await self._describe()
        if topic is None:
            raise LogRefused(f"there is no topic {self._topic} at {self._location.bootstrap_servers}")
        return topic

    async def _describe_config(self) -> Mapping[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        try:
            config = await self._ask(
                lambda admin: admin.describe_configs([resource], request_timeout=self._attempt_seconds)[resource],
                right="DescribeConfigs",
            )
        except LookupError as error:
            raise LogRefused(str(error)) from error
        return {name: entry.value for name, entry in config.items()}

    async def _ask(self, question: Callable[[AdminClient], "concurrent.futures.Future[T]"], *, right: str) -> T:
        """The answer to a question, asked again until there is one; what is passing passes within the deadline.

        Args:
            question: asks it.
            right: the ACL on the topic that it takes.

        Raises:
            LookupError: the topic does not exist.
            LogRefused: we lack the rights.
            LogUnavailable: the log was closed meanwhile.
        """
        while not self._closed:
            try:
                return await self._ask_once(question)
            except KafkaException as exception:
                error = exception.args[0]
                if error.code() in ABSENT:
                    raise LookupError(f"the topic {self._topic} does not exist") from exception
                if error.code() in DENIED:
                    what = f"topic {self._topic}"
                    raise LogRefused(f"the {what} is denied: {error.str()}; {ask_for(right, what)}") from exception
                self._trouble = error.str()
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            if self._admin_client is None:
                continue
            # By itself the client would go on with what it knew for as long as a broker is dead, or for minutes:
            # describe_* waits for the broker that was the controller, list_offsets for the one that led the partition.
            with contextlib.suppress(KafkaException):
                await asyncio.to_thread(self._admin_client.list_topics, self._topic, timeout=self._attempt_seconds / 2)
        raise LogUnavailable(CLOSED)

    async def _ask_once(self, question: Callable[[AdminClient], "concurrent.futures.Future[T]"]) -> T:
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                loop.call_soon_threadsafe(answered.set)

        # Never cancelled: librdkafka's thread would then fail to store the answer, and say so on stderr.
        future = question(self._admin())
        future.add_done_callback(wake)
        await answered.wait()
        return future.result()

    def _admin(self) -> AdminClient:
        if self._admin_client is None:
            try:
                self._admin_credentials = self._security.read()
            except (OSError, ValueError) as error:
                raise LogUnavailable(f"{UNREADABLE}: {error}") from error
            secured = self._security.client_properties(self._admin_credentials)
            # A connection on which nothing is heard is given up, or a frozen broker would be asked again and again.
            silence_ms = int(self._attempt_seconds * 1000)
            own: dict[str, Any] = {"log_level": 0, "socket.timeout.ms": silence_ms, "error_cb": self._note_error}
            self._admin_client = AdminClient({**own, **self._properties, **secured})
        return self._admin_client

    async def _connect(self, address: Address) -> Connection:
        try:
            options = self._security.connection_options()
        except (OSError, ValueError) as error:
            raise ConnectionError(f"{UNREADABLE}: {error}") from error
        return await connect(address, timeout_seconds=REQUEST_TIMEOUT_SECONDS, options=options)
