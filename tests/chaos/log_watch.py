"""Watches the log while a run goes on, as a plain Kafka consumer: what it says about terms is the truth of the matter.

The fence, read off the log itself: once a claim or a resignation is in it, nothing of an earlier term follows. And each
of a leader's batches is in it once.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, TopicPartition

from sharedlogkv_replica.core.leadership import LEADERSHIP_KEY, STAMP_KEY, Claim, Resign, Stamp, decode_leadership
from sharedlogkv_replica.core.records import BARRIER_KEY
from tests.support.waiting import wait_until

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """One record about leadership, and when the watcher saw it (in ns of the monotonic clock)."""

    offset: int
    at: int
    record: Claim | Resign | Stamp


def check_fence(seen: Sequence[Seen]) -> list[str]:
    """Every breach, in words: records of a term that is over, and batches that are there twice."""
    term: int | None = None
    batches: set[tuple[int, int]] = set()
    found = []
    for entry in seen:
        match entry.record:
            case Claim():
                term = entry.offset
            case Stamp(term=of, batch=batch):
                if of != term:
                    found.append(f"batch {batch} of term {of} is at {entry.offset}, in term {term}")
                elif (of, batch) in batches:
                    found.append(f"batch {batch} of term {of} is there again, at {entry.offset}")
                batches.add((of, batch))
            case Resign(term=of):
                if of != term:
                    found.append(f"the resignation of term {of} is at {entry.offset}, in term {term}")
                else:
                    term = None
    return found


class LogWatch:
    """Reads a topic from its beginning, in a thread, while the context lasts.

    Attributes:
        seen: The records about leadership, in log order.
        records: How many records of users there were.
        values: All values that users have put.
        position: The next offset to read.
    """

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.seen: list[Seen] = []
        self.records = 0
        self.values: set[str] = set()
        self.position = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "watch",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.queue.backoff.ms": 5,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._consumer.close()

    @property
    def claims(self) -> list[tuple[int, Claim]]:
        """All claims, with their offsets, which are the terms."""
        return [(entry.offset, entry.record) for entry in list(self.seen) if isinstance(entry.record, Claim)]

    @property
    def term(self) -> int | None:
        """The present term; None before the first claim."""
        claims = self.claims
        return claims[-1][0] if claims else None

    def await_position(self, position: int, *, timeout_seconds: float = 60.0) -> None:
        """Returns once everything below `position` was read."""
        wait_until(lambda: self.position >= position, what=f"record {position}", timeout_seconds=timeout_seconds)

    def _run(self) -> None:
        while not self._over.is_set():
            for message in self._consumer.consume(500, _POLL_SECONDS):
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._ALL_BROKERS_DOWN:
                        time.sleep(0.01)
                    continue
                key, offset = message.key(), message.offset()
                assert offset is not None
                if key in (LEADERSHIP_KEY, STAMP_KEY):
                    assert isinstance(key, bytes)
                    record = decode_leadership(key, message.value())
                    if record is not None:
                        self.seen.append(Seen(offset, time.monotonic_ns(), record))
                elif key is not None and key != BARRIER_KEY:
                    self.records += 1
                    self.values.add((message.value() or b"").decode())
                self.position = offset + 1
