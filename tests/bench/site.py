"""What all benchmarks share: the Kafka to measure on, filled topics, and a folder for what the programs write."""

import functools
import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.errors import BenchError
from tests.support.kafka import KafkaCluster

KEYS: Final = 1_000_000
VALUE_BYTES: Final = 100
REPLAY_RECORDS: Final = 1_000_000

# As the operator creates a topic, but for the number of copies, which is each measurement's business.
TOPIC_CONFIG: Final = {
    "cleanup.policy": "compact",
    "delete.retention.ms": "604800000",
    "message.timestamp.type": "LogAppendTime",
    "min.compaction.lag.ms": "600000",
    "segment.ms": "3600000",
    "unclean.leader.election.enable": "false",
}

_TOMBSTONE_SHARE: Final = 0.1
_QUEUED_RECORDS: Final = 200_000
_FLUSH_SECONDS: Final = 120.0
_WARM_UP_SECONDS: Final = 40.0
_WARM_UP_RECORDS: Final = 32


def key_name(number: int) -> bytes:
    """A key of 20 bytes; the load generators use the same names."""
    return b"key-%016d" % number


class Site:
    """Where the benchmarks run.

    Attributes:
        python: The Python whose installation of the project is measured; of a virtual environment.
        program: The words that start a replica; its options follow.
        folder: For logs and data of the programs; on the disk that the machine's temporary files are on.
        say: Tells the person who waits what is going on.
    """

    def __init__(
        self, bootstrap_servers: str, *, python: Path, program: Sequence[str], folder: Path, say: Callable[[str], None]
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.python = python
        self.program = program
        self.folder = folder
        self.say = say
        self._cluster = KafkaCluster(bootstrap_servers)
        self._topics: list[str] = []

    def log_url(self, topic: str) -> str:
        """The log in a topic as the replica's configuration names it."""
        return f"kafka://{self.bootstrap_servers}/{topic}"

    def create_topic(self, *, copies: int = 1, partitions: int = 1, config: Mapping[str, str] = TOPIC_CONFIG) -> str:
        """Creates an empty topic with so many copies, of which all but one must be in sync; returns its name.

        It goes with the site.

        Raises:
            BenchError: There are too few brokers.
        """
        brokers = self._cluster.broker_count()
        if brokers < copies:
            raise BenchError(f"{copies} brokers are needed, and there are {brokers}: name other measurements")
        topic = f"bench-{uuid.uuid4().hex[:12]}"
        in_sync = {"min.insync.replicas": str(max(1, copies - 1))}
        self._cluster.create_topic(
            topic, config={**config, **in_sync}, partitions=partitions, replication_factor=copies
        )
        self._topics.append(topic)
        return topic

    def create_filled_topic(self, *, keys: int, copies: int) -> str:
        """Creates a topic with so many keys of 20 bytes, each put once, with values of 100 bytes; returns its name."""
        topic = self.create_topic(copies=copies)
        self._fill(topic, ((key_name(number), b"x" * VALUE_BYTES, False) for number in _shuffled(keys)))
        return topic

    def warm_up(self) -> None:
        """Keeps all brokers busy with small batches, written and read, so that their compiler is done with these.

        A broker in use has been running for long. One that has just started interprets much of its code, or compiles
        it, for its first ten thousands of requests, which is more than most measurements send.
        """
        self.say(f"warming up the brokers for {_WARM_UP_SECONDS:.0f} s")
        brokers = self._cluster.broker_count()
        topic = self.create_topic(copies=min(3, brokers), partitions=brokers)  # each of them leads one
        common = {"bootstrap.servers": self.bootstrap_servers, "log_level": 0}
        small = {"linger.ms": 0, "batch.num.messages": _WARM_UP_RECORDS, "enable.idempotence": True}
        producer = Producer(common | small)
        consumer = Consumer(common | {"group.id": topic, "fetch.wait.max.ms": 100})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(brokers)])
        end = time.monotonic() + _WARM_UP_SECONDS
        partitions = itertools.cycle(range(brokers))
        while time.monotonic() < end:
            partition = next(partitions)
            for _ in range(_WARM_UP_RECORDS):
                producer.produce(topic, value=b"x" * VALUE_BYTES, key=key_name(0), partition=partition)
            while len(producer) > 4 * _WARM_UP_RECORDS:
                producer.poll(0.01)
            consumer.consume(1000, 0)
        producer.flush(_FLUSH_SECONDS)
        consumer.close()

    @functools.cached_property
    def million_keys(self) -> str:
        """A topic with `KEYS` keys of 20 bytes, each put once and in no order, with values of 100 bytes."""
        self.say(f"filling a topic with {KEYS:,} keys")
        return self.create_filled_topic(keys=KEYS, copies=1)

    @functools.cached_property
    def replay_records(self) -> str:
        """A topic with `REPLAY_RECORDS` records; a tenth are deletions, and every one has a header."""
        self.say(f"filling a topic with {REPLAY_RECORDS:,} records, deletions and headers among them")
        topic = self.create_topic()
        self._fill(topic, self._mixed_records())
        return topic

    def close(self) -> None:
        """Deletes the topics."""
        for topic in self._topics:
            self._cluster.delete_topic(topic)

    @staticmethod
    def _mixed_records() -> Iterator[tuple[bytes, bytes | None, bool]]:
        chance = random.Random(0)
        numbers = _shuffled(REPLAY_RECORDS)
        for count, number in enumerate(numbers):
            if count and chance.random() < _TOMBSTONE_SHARE:
                yield key_name(numbers[chance.randrange(count)]), None, True
            else:
                yield key_name(number), b"x" * VALUE_BYTES, True

    def _fill(self, topic: str, records: Iterator[tuple[bytes, bytes | None, bool]]) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "queue.buffering.max.messages": 2 * _QUEUED_RECORDS,
                "log_level": 0,
            }
        )
        header: list[tuple[str, str | bytes | None]] = [("r", b"0123456789abcdef")]
        for count, (key, value, with_header) in enumerate(records):
            producer.produce(topic, value=value, key=key, partition=0, headers=header if with_header else None)
            if count % 1000 == 0:
                producer.poll(0)
                while len(producer) > _QUEUED_RECORDS:
                    producer.poll(0.05)
        left = producer.flush(_FLUSH_SECONDS)
        assert left == 0, f"{left} records were not acknowledged within {_FLUSH_SECONDS} s"


def _shuffled(count: int) -> list[int]:
    """The numbers below `count` in no order, which is the same at each run."""
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    return numbers
