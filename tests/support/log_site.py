"""A place with one log that a test may do anything to, and what tests of logs do with its handles."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final, Protocol

from sharedlogkv_replica.core.records import START, Batch, Entry, LogRecord, Offset, Position
from sharedlogkv_replica.log.base import SharedLog

DEADLINE_SECONDS: Final = 30.0
"""How long a test waits for a state that must come; far above what any implementation takes."""


class LogSite(Protocol):
    """A place with one log, empty at first, and what others can do to it."""

    def handle(self, *, expected_id: str | None = None) -> SharedLog:
        """A new handle on the log, not opened; the site closes it in the end."""
        ...

    async def produce(self, entries: Sequence[Entry]) -> None:
        """Has somebody else append the entries and waits for the acknowledgement."""
        ...

    async def transact(self, entries: Sequence[Entry], *, commit: bool) -> None:
        """Has somebody else write the entries in a transaction and end it."""
        ...

    async def delete_before(self, position: Position) -> None:
        """Deletes the records below `position`."""
        ...

    async def delete(self) -> None:
        """Deletes the log."""
        ...

    async def recreate(self, *, batch_limit_bytes: int | None = None) -> None:
        """Deletes the log where there is one, and creates an empty one under the same name."""
        ...


async def opened(site: LogSite) -> SharedLog:
    """A handle that is open."""
    log = site.handle()
    await log.open()
    return log


async def read_to(log: SharedLog, end: Position, *, start: Position = START) -> list[LogRecord]:
    """All records from `start` until the position has reached `end`, checked to come in order."""
    return [record for batch in await batches_to(log, end, start=start) for record in batch.records]


async def batches_to(log: SharedLog, end: Position, *, start: Position = START) -> list[Batch]:
    """All batches from `start` until the position has reached `end`, checked to come in order."""
    batches: list[Batch] = []
    position = start
    if position >= end:
        return batches
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.read(start)) as reading:
        async for batch in reading:
            assert batch.position >= position
            for offset, _, _ in batch.records:
                assert position <= offset < batch.position
                position = Position(offset + 1)
            assert (batch.timestamp_ms > 0) == bool(batch.records)
            position = batch.position
            batches.append(batch)
            if position >= end:
                break
    return batches


async def append(log: SharedLog, *entries: Entry) -> Offset:
    """Appends with a time that is ample."""
    return await log.append(entries, timeout_seconds=DEADLINE_SECONDS)


def numbered(count: int, prefix: str = "key") -> list[Entry]:
    """Entries with distinct keys, each with a value of its own."""
    return [Entry(f"{prefix}-{number}".encode(), f"value-{number}".encode()) for number in range(count)]


def as_records(first: Offset, entries: Sequence[Entry]) -> list[LogRecord]:
    """What a reader must see of a batch appended at `first`."""
    return [(Offset(first + index), entry.key, entry.value) for index, entry in enumerate(entries)]
