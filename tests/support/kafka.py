"""A real Kafka for tests: topics, foreign producers, and the `LogSite` on which the log's contract is run."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from sharedlogkv_replica.core.records import Entry, Position
from sharedlogkv_replica.log.kafka import KafkaLog, parse_location, spell_topic_id
from tests.support.eventually import eventually
from tests.support.waiting import wait_until

COMPACTED: Final = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
ANSWER_SECONDS: Final = 30.0
_METADATA_SECONDS: Final = 2.0


class KafkaCluster:
    """Somebody with all rights on a Kafka; its calls block, so async tests put them into a thread.

    Args:
        bootstrap_servers: `host:port[,host:port...]`.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        # A frozen broker must be given up before it has taken all the time that there is.
        timeout_ms = int(_METADATA_SECONDS * 1000)
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap_servers, "log_level": 0, "socket.timeout.ms": timeout_ms}
        )

    def create_topic(
        self, topic: str, *, config: Mapping[str, str] = COMPACTED, partitions: int = 1, replication_factor: int = 1
    ) -> str:
        """Creates a topic, and returns its id once it can be asked for."""
        new = NewTopic(topic, partitions, replication_factor, config=dict(config))
        self._answer(self._admin.create_topics([new])[topic])
        # Once: the broker that is asked next may not know the topic yet.
        return wait_until(lambda: self.topic_id(topic), what=f"the new topic {topic}", timeout_seconds=ANSWER_SECONDS)

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic, if it is there, and returns once it is gone."""
        if self.topic_id(topic) is not None:
            self._answer(self._admin.delete_topics([topic])[topic])
            self._wait(lambda: self.topic_id(topic) is None, f"the end of the topic {topic}")

    def topic_id(self, topic: str) -> str | None:
        """The id of the topic that bears the name now; None when there is none."""
        try:
            described = self._answer(self._admin.describe_topics(TopicCollection([topic]))[topic])
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        return spell_topic_id(described.topic_id)

    def leader(self, topic: str) -> int:
        """The id of the broker that leads the topic's one partition; -1 when none does."""
        return int(self._partition(topic).leader)

    def in_sync(self, topic: str) -> int:
        """How many in-sync replicas the topic's one partition has."""
        return len(self._partition(topic).isrs)

    def _partition(self, topic: str) -> Any:
        """What the brokers that answer say of the topic's one partition: this must work while one is dead or frozen."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return self._admin.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic].partitions[0]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def broker_count(self) -> int:
        """How many brokers there are."""
        return len(self._answer(self._admin.describe_cluster()).nodes)

    def configure_topic(self, topic: str, config: Mapping[str, str]) -> None:
        """Sets some of the topic's properties."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self._answer(self._admin.incremental_alter_configs([resource])[resource])

    def configure_broker(self, broker: int, config: Mapping[str, str | None]) -> None:
        """Sets some properties of a broker; None puts its own setting back into force."""
        entries = [
            ConfigEntry(
                name,
                value,
                incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
            )
            for name, value in config.items()
        ]
        resource = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=entries)
        self._answer(self._admin.incremental_alter_configs([resource])[resource])

    def delete_records(self, topic: str, position: Position) -> None:
        """Drops all records below the position; the topic's policy lets it happen meanwhile."""
        partition = TopicPartition(topic, 0, position)
        self.configure_topic(topic, {"cleanup.policy": "compact,delete"})

        def deleted() -> bool:
            try:
                self._answer(self._admin.delete_records([partition])[partition])
            except KafkaException as error:
                # The controller has taken the policy; the leader learns of it a little later.
                if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                    raise
                return False
            return True

        self._wait(deleted, f"leave to delete records of {topic}")
        self.configure_topic(topic, {"cleanup.policy": "compact"})

    def produce(self, topic: str, entries: Sequence[Entry]) -> None:
        """Appends the entries as a foreign idempotent producer, and waits for the acknowledgements."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
        )
        self._send(producer, topic, entries)
        assert producer.flush(ANSWER_SECONDS) == 0

    def transact(self, topic: str, entries: Sequence[Entry], *, commit: bool) -> None:
        """Writes the entries in a foreign transaction, ends it, and returns once its marker is in the log."""
        marker = self.stable_end(topic) + len(entries)
        producer = Producer(
            {"bootstrap.servers": self.bootstrap_servers, "transactional.id": f"test-{uuid.uuid4()}", "log_level": 0}
        )
        producer.init_transactions(ANSWER_SECONDS)
        producer.begin_transaction()
        self._send(producer, topic, entries)
        assert producer.flush(ANSWER_SECONDS) == 0
        if commit:
            producer.commit_transaction(ANSWER_SECONDS)
        else:
            producer.abort_transaction(ANSWER_SECONDS)
        self._wait(lambda: self.stable_end(topic) > marker, f"the marker of a transaction in {topic}")

    def stable_end(self, topic: str) -> int:
        """The last stable offset: above every record, and transaction marker, that no open transaction holds back."""
        partition = TopicPartition(topic, 0)
        committed = IsolationLevel.READ_COMMITTED
        listed = self._admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=committed)
        return int(self._answer(listed[partition]).offset)

    @staticmethod
    def _send(producer: Producer, topic: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            while True:
                try:
                    producer.produce(topic, value=entry.value, key=entry.key, partition=0)
                    break
                except BufferError:  # as many wait as may
                    producer.poll(0.1)

    @staticmethod
    def _wait(condition: Callable[[], bool], what: str) -> None:
        asyncio.run(eventually(condition, timeout_seconds=ANSWER_SECONDS, what=what))

    @staticmethod
    def _answer(future: "Future[Any]") -> Any:
        return future.result(ANSWER_SECONDS)


class KafkaSite:
    """A `LogSite` in one topic of its own; made within the test's event loop."""

    def __init__(self, cluster: KafkaCluster, *, replication_factor: int = 1) -> None:
        self.cluster = cluster
        self.topic = f"log-{uuid.uuid4().hex[:12]}"
        self._replication_factor = replication_factor
        self._handles: list[KafkaLog] = []

    @property
    def url(self) -> str:
        """The log as the replica's configuration names it."""
        return f"kafka://{self.cluster.bootstrap_servers}/{self.topic}"

    def handle(self, *, expected_id: str | None = None) -> KafkaLog:
        return self.keep(KafkaLog(parse_location(self.url), expected_id=expected_id))

    def keep(self, log: KafkaLog) -> KafkaLog:
        """The same handle, which will be closed with the site."""
        self._handles.append(log)
        return log

    async def create(self, config: Mapping[str, str] = COMPACTED, *, partitions: int = 1) -> str:
        """Creates the topic; returns its id."""
        return await asyncio.to_thread(
            self.cluster.create_topic,
            self.topic,
            config=config,
            partitions=partitions,
            replication_factor=self._replication_factor,
        )

    async def produce(self, entries: Sequence[Entry]) -> None:
        await asyncio.to_thread(self.cluster.produce, self.topic, entries)

    async def transact(self, entries: Sequence[Entry], *, commit: bool) -> None:
        await asyncio.to_thread(self.cluster.transact, self.topic, entries, commit=commit)

    async def delete_before(self, position: Position) -> None:
        await asyncio.to_thread(self.cluster.delete_records, self.topic, position)

    async def delete(self) -> None:
        await asyncio.to_thread(self.cluster.delete_topic, self.topic)

    async def recreate(self, *, batch_limit_bytes: int | None = None) -> None:
        limit = {} if batch_limit_bytes is None else {"max.message.bytes": str(batch_limit_bytes)}
        await self.delete()
        await self.create({**COMPACTED, **limit})

    async def close(self) -> None:
        """Closes all handles, and deletes the topic."""
        for log in self._handles:
            await log.close()
        await self.delete()
