"""Watches the log while a run goes on, as a plain Kafka consumer: what it says about terms is the truth of the matter.

The fence, read off the log itself: once a claim or a resignation is in it, nothing of an earlier term follows, but
under a producer id that the claim left open; and then the claim is not led with. And each of a leader's batches is in
it once.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, TopicPartition

from sharedlogkv_replica.core.leadership import (
    Claim,
    Enlisted,
    LeadershipRecord,
    Resign,
    Retired,
    Stamp,
    decode_leadership,
)
from sharedlogkv_replica.core.records import RESERVED_PREFIX
from tests.support.waiting import wait_until

_POLL_SECONDS: Final = 0.2
_OVER: Final = -1  # no term, and none can be written in before the next claim


@dataclass(frozen=True, slots=True)
class Seen:
    """One record about leadership, and when the watcher saw it (in ns of the monotonic clock)."""

    offset: int
    at: int
    record: LeadershipRecord


def check_fence(seen: Sequence[Seen]) -> list[str]:
    """Every breach, in words: records of a term that is over, and batches that are there twice."""
    terms: dict[int, int] = {}  # by producer id, the one that may be written in
    batches: set[tuple[int, int]] = set()
    found = []
    for entry in seen:
        match entry.record:
            case Claim(writer=writer):
                terms[writer.producer_id] = entry.offset
            case Retired(producer_id=producer_id):
                terms.pop(producer_id, None)
            case Stamp(term=of, batch=batch, records=records):
                if of not in terms.values():
                    found.append(f"batch {batch} of term {of} is at {entry.offset}, in term {_words(terms)}")
                elif (of, batch) in batches:
                    found.append(f"batch {batch} of term {of} is there again, at {entry.offset}")
                elif records and of == max(terms.values()) and len(terms) > 1:
                    found.append(f"term {of} is led at {entry.offset}, and could be written in of {_words(terms)}")
                batches.add((of, batch))
            case Resign(term=of, claim=claim):
                if of not in terms.values():
                    found.append(f"the resignation of term {of} is at {entry.offset}, in term {_words(terms)}")
                elif len(terms) == 1:
                    terms[claim.writer.producer_id] = _OVER
            case Enlisted():
                pass
    return found


def _words(terms: Mapping[int, int]) -> str:
    return ", ".join(str(term) for term in sorted(terms.values()) if term != _OVER) or "None"


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
                assert not isinstance(key, str)
                if key is not None and key.startswith(RESERVED_PREFIX):
                    record = decode_leadership(key, message.value())
                    if record is not None:
                        self.seen.append(Seen(offset, time.monotonic_ns(), record))
                elif key is not None:
                    self.records += 1
                    self.values.add((message.value() or b"").decode())
                self.position = offset + 1
