"""The `LogSite` of the log in memory."""

from collections.abc import Sequence
from typing import Final

from sharedlogkv_replica.core.records import Entry, Position
from sharedlogkv_replica.log.base import SharedLog
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog

SHORT_SECONDS: Final = 0.05
"""A deadline for what will not come."""


class MemorySite:
    """A `LogSite` on a broker in memory."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._handles: list[MemoryLog] = []

    def handle(self, *, expected_id: str | None = None) -> SharedLog:
        log = MemoryLog(self.broker, expected_id=expected_id, query_timeout_seconds=SHORT_SECONDS)
        self._handles.append(log)
        return log

    async def produce(self, entries: Sequence[Entry]) -> None:
        self.broker.append(entries)

    async def transact(self, entries: Sequence[Entry], *, commit: bool) -> None:
        if commit:
            self.broker.append(entries)
        else:
            self.broker.skip(len(entries))
        self.broker.skip(1)

    async def delete_before(self, position: Position) -> None:
        self.broker.delete_before(position)

    async def delete(self) -> None:
        self.broker.delete()

    async def recreate(self, *, batch_limit_bytes: int | None = None) -> None:
        if batch_limit_bytes is not None:
            self.broker.batch_limit_bytes = batch_limit_bytes
        self.broker.recreate()

    async def close(self) -> None:
        for log in self._handles:
            await log.close()
