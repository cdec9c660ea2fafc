"""Replicas that break one promise on purpose, to see that the checks notice: the tests of the tests.

    python -m tests.chaos.faulty_replica FAULT [OPTIONS OF A REPLICA]

A fault is a subclass that is put in the place of a part of the program; the program itself has no switch for it.
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from sharedlogkv_replica import __main__ as program
from sharedlogkv_replica import app
from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Batch, Entry, Offset, Position
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log import kafka
from sharedlogkv_replica.log.base import Claimed, SharedLog
from sharedlogkv_replica.log.kafka_fenced import KafkaFencedWriter

LATE_SECONDS: Final = 0.05


class LateLog:
    """A log that brings each batch a moment late, as a busy replica takes it in."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, start: Position) -> AsyncGenerator[Batch, None]:
        """See `SharedLog.read`."""
        async with aclosing(self._log.read(start)) as batches:
            async for batch in batches:
                await asyncio.sleep(LATE_SECONDS)
                yield batch


class StaleReads(Replica):
    """Takes its own map, which is a moment late, for up to date: a linearizable read is answered at once."""

    def __init__(self, log: SharedLog, **others: Any) -> None:
        super().__init__(LateLog(log), **others)

    async def read_index(self, *, timeout_seconds: float) -> Offset:
        """The last offset that is applied already."""
        del timeout_seconds
        return Offset(self.position - 1)

    def lease_index(self) -> Offset | None:
        """Nothing, so that the one above is asked."""
        return None


class UnfencedWriter(KafkaFencedWriter):
    """Has a producer id of its own, so that its claims shut nobody out."""

    def __init__(
        self, *arguments: Any, transactional_id: str, admit: Callable[[], Awaitable[int]], **others: Any
    ) -> None:
        own = f"{transactional_id}-{uuid.uuid4()}"
        super().__init__(*arguments, transactional_id=own, admit=admit, **others)

    async def claim(
        self, compose: Callable[[Writer], Sequence[Entry]], *, enlisted: Collection[int], timeout_seconds: float
    ) -> Claimed:
        """Claims, and says that the others were shut out, and does nothing of the kind."""
        del enlisted
        return await super().claim(compose, enlisted=(), timeout_seconds=timeout_seconds)


def _read_stale() -> None:
    vars(app).update(Replica=StaleReads)


def _do_not_fence() -> None:
    vars(kafka).update(KafkaFencedWriter=UnfencedWriter)


FAULTS: Final[Mapping[str, Callable[[], None]]] = {"stale-reads": _read_stale, "unfenced": _do_not_fence}


def command(fault: str) -> list[str]:
    """The words that start a replica with that fault; its options follow."""
    assert fault in FAULTS, fault
    return [sys.executable, "-m", "tests.chaos.faulty_replica", fault]


if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    program.main()
