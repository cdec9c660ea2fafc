"""Administers topics: a thin asyncio face on confluent-kafka's AdminClient, which answers from threads of its own.

No call blocks the event loop, and each has a deadline. Kafka's own words go into the errors, since they end in the
resource's conditions.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from sharedlogkv_operator import names
from sharedlogkv_operator.errors import KafkaRefused, KafkaSilent, KafkaUnavailable
from sharedlogkv_operator.kafka_security import NO_LOGIN, Login, advise_rights
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.topic import CreateTopic, ObservedTopic

T = TypeVar("T")

REQUEST_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 1.0
"""How much longer than the client itself we wait for its answer."""

POLL_SECONDS: Final = 0.05

URL_ALPHABET: Final = str.maketrans("+/", "-_")
"""librdkafka spells ids in another base64 than Kafka's own tools, which people compare with."""

LOGIN_FAILED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})
"""One side refuses the connection for what the other has shown."""

DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
RIGHTS: Final[Mapping[str, str]] = {
    "describe_topics": "Describe",
    "describe_configs": "DescribeConfigs",
    "create_topics": "Create",
    "alter_configs": "AlterConfigs",
    "delete_topics": "Delete",
}
"""The ACL on the topic that each request takes. Source: the Kafka documentation, "Operations and Resources"."""

BROKER_OUT_OF_ORDER: Final = frozenset(
    {
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN,
    }
)
"""Errors of the broker that pass; all its others are refusals."""


class KafkaAdmin(Protocol):
    """What the reconcile asks of a Kafka cluster. Calls raise `KafkaUnavailable` or `KafkaRefused` where they fail."""

    async def describe_topic(self, name: str) -> ObservedTopic | None:
        """The topic as it is; None when there is none."""
        ...

    async def count_brokers(self) -> int:
        """How many brokers are up."""
        ...

    async def create_topic(self, wanted: CreateTopic) -> bool:
        """Whether this call created the topic, which the brokers then know; an existing one is left as it is."""
        ...

    async def alter_topic(self, name: str, settings: Mapping[str, str]) -> None:
        """Sets these settings of the topic, and no others."""
        ...

    async def delete_topic(self, name: str) -> None:
        """Deletes the topic; gone already is as good."""
        ...

    def refuse_rights(self, rights: Sequence[str], topic: str) -> KafkaRefused:
        """The error to raise when our user lacks these rights on the topic."""
        ...


class ConfluentAdmin:
    """A Kafka cluster, over one client that connects on first use."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        metrics: Metrics,
        login: Login = NO_LOGIN,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        """Connects nothing yet.

        Args:
            bootstrap_servers: `host:port[,host:port...]`.
            metrics: where requests are counted.
            login: how to log in.
            request_seconds: how long a request may take.
        """
        self._bootstrap_servers = bootstrap_servers
        self._metrics = metrics
        self._login = login
        self._request_seconds = request_seconds
        self._client: AdminClient | None = None
        self._opening = asyncio.Lock()
        self._complaints = _Complaints()

    async def describe_topic(self, name: str) -> ObservedTopic | None:
        """See `KafkaAdmin`."""
        description: TopicDescription | None = None
        with contextlib.suppress(_TopicUnknown):
            description = await self._call(
                "describe_topics",
                lambda client: client.describe_topics(
                    TopicCollection([name]), request_timeout=self._request_seconds, include_authorized_operations=True
                )[name],
                topic=name,
            )
        # Asked of a topic that is not there too: without this right one could be created, and then not be known again.
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            entries: Mapping[str, ConfigEntry] = await self._call(
                "describe_configs",
                lambda client: client.describe_configs([resource], request_timeout=self._request_seconds)[resource],
                topic=name,
            )
        except _TopicUnknown:
            return None
        if description is None:  # it has come into being meanwhile
            return None
        return ObservedTopic(
            id=str(description.topic_id).translate(URL_ALPHABET),
            partitions=len(description.partitions),
            replication_factor=min((len(partition.replicas) for partition in description.partitions), default=0),
            config={key: entry.value for key, entry in entries.items() if entry.value is not None},
            rights=_name_rights(description.authorized_operations),
        )

    async def count_brokers(self) -> int:
        """See `KafkaAdmin`."""
        cluster = await self._call(
            "describe_cluster", lambda client: client.describe_cluster(request_timeout=self._request_seconds)
        )
        return len(cluster.nodes)

    async def create_topic(self, wanted: CreateTopic) -> bool:
        """See `KafkaAdmin`."""
        topic = NewTopic(
            wanted.name, num_partitions=1, replication_factor=wanted.replication_factor, config=dict(wanted.config)
        )
        try:
            await self._call(
                "create_topics",
                lambda client: client.create_topics([topic], request_timeout=self._request_seconds)[wanted.name],
                topic=wanted.name,
            )
        except _TopicExists:
            return False
        # The broker that answered may know of it before the next one asked does.
        try:
            async with asyncio.timeout(self._request_seconds):
                while await self.describe_topic(wanted.name) is None:  # noqa: ASYNC110 -- a broker sends no event
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise KafkaUnavailable(f"topic {wanted.name} was created, but is not seen yet") from error
        return True

    async def alter_topic(self, name: str, settings: Mapping[str, str]) -> None:
        """See `KafkaAdmin`."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        await self._call(
            "alter_configs",
            lambda client: client.incremental_alter_configs([resource], request_timeout=self._request_seconds)[
                resource
            ],
            topic=name,
        )

    async def delete_topic(self, name: str) -> None:
        """See `KafkaAdmin`."""
        try:
            await self._call(
                "delete_topics",
                lambda client: client.delete_topics([name], request_timeout=self._request_seconds)[name],
                topic=name,
            )
        except _TopicUnknown:
            return

    async def close(self) -> None:
        """Ends the client; requests under way fail."""
        async with self._opening:
            if self._client is None:
                return
            # The last reference must go in that thread: librdkafka then joins its own, which may take a moment.
            last = [self._client]
            self._client = None
            await asyncio.to_thread(last.clear)
            self._metrics.kafka_clients.dec()

    def refuse_rights(self, rights: Sequence[str], topic: str) -> KafkaRefused:
        """See `KafkaAdmin`."""
        advice = advise_rights(self._login.user, rights, topic=topic, servers=self._bootstrap_servers)
        return KafkaRefused(advice, reason=Reason.KAFKA_ACCESS_DENIED)

    async def _call(self, operation: str, start: Callable[[AdminClient], "Future[T]"], *, topic: str = "") -> T:
        """The answer to one request, which is about that topic.

        Raises:
            KafkaSilent: no answer in time.
            KafkaUnavailable: a broker that is not in order.
            KafkaRefused: the client or the broker says no.
        """
        client = await self._open()
        self._metrics.kafka_requests.labels(operation).inc()
        try:
            async with asyncio.timeout(self._request_seconds + GRACE_SECONDS):
                # The client's futures can't be cancelled, so a cancelled wait leaves them to end by themselves.
                answer = await asyncio.wrap_future(start(client))
        except TimeoutError as error:
            client.poll(0)
            failure: Exception = KafkaSilent(self._describe_silence())
            self._metrics.kafka_failures.labels(operation).inc()
            raise failure from error
        except KafkaException as error:
            client.poll(0)
            failure = self._translate(error, operation, topic)
            if not isinstance(failure, _TopicUnknown | _TopicExists):
                self._metrics.kafka_failures.labels(operation).inc()
            raise failure from error
        client.poll(0)  # has what was logged meanwhile thrown away
        self._complaints.clear()
        return answer

    async def _open(self) -> AdminClient:
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await asyncio.to_thread(self._build_client)
                except KafkaException as error:  # it reads the certificates, and nothing else of it can be wrong
                    text = f"the Kafka client can't use what the Secrets hold: {error.args[0].str()}"
                    raise KafkaRefused(text, reason=Reason.SECRET_INVALID) from error
                self._metrics.kafka_clients.inc()
            return self._client

    def _build_client(self) -> AdminClient:
        return AdminClient(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "client.id": names.FIELD_MANAGER,
                "socket.connection.setup.timeout.ms": int(self._request_seconds * 1000),
                "reconnect.backoff.ms": 250,
                "reconnect.backoff.max.ms": 2000,
                **dict(self._login.properties),
            },
            logger=self._complaints.logger,
        )

    def _translate(self, exception: KafkaException, operation: str, topic: str) -> Exception:
        error: KafkaError = exception.args[0]
        code = error.code()
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return _TopicUnknown(error.str())
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return _TopicExists(error.str())
        words = f"{self._bootstrap_servers} says {error.name()}: {error.str()}"
        if code in DENIED and operation in RIGHTS:
            advice = advise_rights(self._login.user, [RIGHTS[operation]], topic=topic, servers=self._bootstrap_servers)
            return KafkaRefused(f"{words} {advice}", reason=Reason.KAFKA_ACCESS_DENIED)
        if code in LOGIN_FAILED or self._complaints.is_refusal:
            words = f"{self._bootstrap_servers} refuses the connection: {self._complaints.last or error.str()}"
            return KafkaRefused(words, reason=Reason.KAFKA_LOGIN_FAILED)
        if code == KafkaError._INVALID_ARG or (code > 0 and code not in BROKER_OUT_OF_ORDER):
            return KafkaRefused(words)
        if code in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            return KafkaSilent(self._describe_silence())
        return KafkaUnavailable(words)

    def _describe_silence(self) -> str:
        text = f"no answer from {self._bootstrap_servers} within {self._request_seconds:g} s"
        return f"{text}: {self._complaints.last}" if self._complaints.last else text


class _Complaints(logging.Handler):
    """The last thing that the client logged about a broken connection: it says more than the request's time-out.

    The client hands its log over in `poll`, in the thread that calls it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        # A logger for this client alone, outside the tree: what it says goes into errors, not into the log.
        self.logger = logging.Logger("librdkafka", logging.INFO)  # noqa: LOG001 -- a named one would be shared
        self.logger.addHandler(self)

    @property
    def is_refusal(self) -> bool:
        text = self.last.lower()
        return any(words in text for words in ("authentication", "ssl handshake failed", "ssl routines"))

    def clear(self) -> None:
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, rest = record.getMessage().partition(" ")
        if kind == "FAIL":
            text = rest.rpartition("]: ")[2]
            self.last = re.sub(r" \(after \d+ms in state \w+\)|, \d+ identical error\(s\) suppressed", "", text)


def _name_rights(operations: Sequence[Enum] | None) -> frozenset[str] | None:
    """What is allowed, in the words of Kafka's tools (`DescribeConfigs`); None where the broker did not tell."""
    if not operations:
        return None
    return frozenset(operation.name.title().replace("_", "") for operation in operations)


class _TopicUnknown(KafkaRefused):
    """There is no such topic."""


class _TopicExists(KafkaRefused):
    """There is such a topic already."""
