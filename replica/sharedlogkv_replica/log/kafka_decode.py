"""What a run of the client library's messages says: records, and what is no record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError

from sharedlogkv_replica.core.records import Batch, LogRecord, Offset, Position
from sharedlogkv_replica.errors import LogRefused, LogTruncated, ReplicaError
from sharedlogkv_replica.log.kafka_errors import ABSENT, DENIED, OF_THE_GROUP, TRUNCATED, UNDECODABLE, ask_for


class Message(Protocol):
    """What the client library hands out: a record, or an error in the place of one."""

    def error(self) -> KafkaError | None: ...  # noqa: D102 # the library's
    def offset(self) -> int | None: ...  # noqa: D102 # the library's
    def key(self) -> bytes | None: ...  # noqa: D102 # the library's
    def value(self) -> bytes | None: ...  # noqa: D102 # the library's
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102 # the library's


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a run of messages says.

    Attributes:
        batch: the records, and the position after all of it.
        undecodable: the offset that is left out since it can't be decoded, and why; the batch ends behind it.
        errors: what the client got over by itself, for the log.
        failure: why reading can't go on after `batch`; None when it can.
    """

    batch: Batch
    undecodable: str | None = None
    errors: Sequence[str] = ()
    failure: ReplicaError | None = None


def decode(messages: Sequence[Message], position: Position) -> Decoded:
    """The records among `messages`, read from `position` on, and where reading stands after them."""
    records: list[LogRecord] = [
        (message.offset(), message.key(), message.value())  # type: ignore[misc] # only an error may have no offset
        for message in messages
        if message.error() is None
    ]
    if len(records) == len(messages):
        return Decoded(Batch(records, Position(records[-1][0] + 1), messages[-1].timestamp()[1]))
    return _decode_with_errors(messages, position)


def _decode_with_errors(messages: Sequence[Message], position: Position) -> Decoded:
    records: list[LogRecord] = []
    timestamp_ms = 0
    undecodable: str | None = None
    errors: list[str] = []
    failure: ReplicaError | None = None
    for message in messages:
        error, offset = message.error(), message.offset() or 0
        if error is None:
            records.append((Offset(offset), message.key(), message.value()))
            position = Position(offset + 1)
            timestamp_ms = message.timestamp()[1]
            continue
        code, text = error.code(), error.str()
        if code == KafkaError._PARTITION_EOF:
            position = Position(max(position, offset))
        elif code in UNDECODABLE:
            # The client reports it at the start of its batch, or at a garbled offset, and again for ever. So one offset
            # is stepped over; what follows is read again from there, as the client may have lost its way in the batch.
            undecodable = f"{position}: {text}"
            position = Position(position + 1)
            break
        elif code in TRUNCATED:
            failure = LogTruncated(f"the log does not have the position {position}: {text}")
        elif code in ABSENT or code in DENIED:
            right = f"; {ask_for('Read', 'the topic')}" if code in DENIED else ""
            failure = LogRefused(f"the log can't be read: {text}{right}")
        elif code not in OF_THE_GROUP:
            errors.append(text)
    return Decoded(Batch(records, position, timestamp_ms), undecodable, errors, failure)
