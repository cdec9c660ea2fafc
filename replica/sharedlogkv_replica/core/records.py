"""What a record of the log is, and which keys are whose.

The lowest module of all: every layer speaks in these types. The topic stays plain (DESIGN: any Kafka tool can read
it): the Kafka key is the user's key, the Kafka value the user's value, a null value deletes, an empty value is a value.
Keys that begin with byte 0x00 are ours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias, final

Offset = NewType("Offset", int)
"""The place of one record in the log, from 0; rises along the log, with gaps."""

Position = NewType("Position", int)
"""The next offset to read. A map at position p has applied every record with an offset below p."""

LogRecord: TypeAlias = tuple[Offset, bytes | None, bytes | None]
"""One record as read: its offset, key and value. A plain tuple of atoms, because a replay makes millions of them."""

START: Final = Position(0)
RESERVED_PREFIX: Final = b"\x00"
BARRIER_KEY: Final = b"\x00B"
KEY_LIMIT_BYTES: Final = 4096


class Value:
    """What is made for every single write: never changed, and equal to another one of its kind with the same parts.

    As a frozen dataclass is. That is made by way of the interpreter, which takes several times as long as a plain class
    does once it is compiled (setup.py).
    """

    __slots__ = ()

    def parts(self) -> tuple[object, ...]:
        """All that makes it what it is."""
        raise NotImplementedError  # each kind names its own

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.parts() == other.parts()

    def __hash__(self) -> int:
        return hash(self.parts())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.parts()!r}"


@final
class Entry(Value):
    """One record to append.

    Attributes:
        key: the user's key (1 to `KEY_LIMIT_BYTES` bytes), or one of our reserved keys.
        value: the bytes to store, which may be empty; None deletes the key.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: bytes, value: bytes | None) -> None:
        self.key: Final = key
        self.value: Final = value

    def parts(self) -> tuple[object, ...]:
        """See `Value`."""
        return self.key, self.value


def records_from(first: Offset, entries: Iterable[Entry]) -> list[LogRecord]:
    """Entries appended as one batch, as a reader of the log gets them; the first one has the offset `first`."""
    records: list[LogRecord] = []
    offset = first
    for entry in entries:
        records.append((offset, entry.key, entry.value))
        offset = Offset(offset + 1)
    return records


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records as read from the log.

    Attributes:
        records: in log order; empty when the log only moved on over records that are not for readers (transaction
            markers, aborted transactions, the end of the partition).
        position: where to read next; above every offset in `records`, and never falling from batch to batch.
        timestamp_ms: when the log took the last of `records`, in ms since the epoch by the log's clock; 0 when empty.
    """

    records: Sequence[LogRecord]
    position: Position
    timestamp_ms: int


BARRIER: Final = Entry(BARRIER_KEY, b"")
"""A record that changes nothing. Whoever has applied it has applied everything acknowledged before it was appended."""
