"""One leader in the making, on a broker in memory, without the election around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sharedlogkv_replica.core.leadership import (
    Claim,
    Stamp,
    Term,
    Writer,
    decode_leadership,
    encode_leadership,
    term_of,
)
from sharedlogkv_replica.core.records import START, Batch, Entry, LogRecord
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.lead import Lead
from sharedlogkv_replica.engine.write_queue import QueueLimits
from sharedlogkv_replica.errors import (
    ReplicaError,
)
from sharedlogkv_replica.log.base import Claimed
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from tests.support.eventually import eventually


@dataclass
class Ledger:
    """Records what a `Lead` tells; implements `Listener`. It holds its lease unless told otherwise."""

    holds: bool = True
    may: bool = True
    claimed: list[Claimed] = field(default_factory=list)
    failed: list[ReplicaError] = field(default_factory=list)
    committed: int = 0
    lost: list[bool] = field(default_factory=list)
    resigned: list[ReplicaError | None] = field(default_factory=list)

    def lease_holds(self) -> bool:
        return self.holds

    def may_append(self) -> bool:
        return self.may

    def on_claimed(self, claimed: Claimed, *, started: float) -> None:
        del started
        self.claimed.append(claimed)

    def on_claim_failed(self, error: ReplicaError) -> None:
        self.failed.append(error)

    def on_committed(self, *, started: float) -> None:
        del started
        self.committed += 1

    def on_writer_lost(self, *, fenced: bool) -> None:
        self.lost.append(fenced)

    def on_resigned(self, error: ReplicaError | None) -> None:
        self.resigned.append(error)


class Bench:
    """One leader in the making, on a broker in memory."""

    def __init__(self, broker: MemoryBroker, window: RequestWindow, *, timeout_seconds: float = 5.0) -> None:
        self.broker = broker
        self.log = MemoryLog(broker)
        self.window = window
        self.window.window_ms = 600_000
        self.ledger = Ledger()
        self.follower = Follower(self.log)
        self.follower.watch_leadership(on_applied=self._on_applied, on_lost=lambda: None)
        self.lead = Lead(
            self.log.fenced_writer(),
            self.follower,
            self.window,
            limits=QueueLimits(timeout_seconds),
            batch_limit_bytes=100_000,
        )
        self.lead.bind(self.ledger)

    def _on_applied(self, batch: Batch, reserved: object) -> None:
        for offset, key, value in batch.records:
            record = decode_leadership(key or b"", value)
            if isinstance(record, Stamp):
                self.window.note(offset, record, timestamp_ms=batch.timestamp_ms)
            if record is not None:
                self.lead.observe(offset, record)

    def compose(self, writer: Writer) -> list[Entry]:
        return [encode_leadership(Claim(writer, "me", "", 3000))]

    async def claim(self) -> Term:
        """Claims, and waits until the map has the claim."""
        before = len(self.ledger.claimed)
        self.lead.claim(self.compose, enlisted=())
        await eventually(lambda: len(self.ledger.claimed) > before)
        claimed = self.ledger.claimed[-1]
        await eventually(lambda: self.follower.position > claimed.offset)
        return term_of(claimed.offset)

    async def take_over(self) -> Term:
        """Claims, and takes writes."""
        term = await self.claim()
        self.lead.begin(term)
        return term


@asynccontextmanager
async def bench(
    broker: MemoryBroker | None = None, *, window: RequestWindow | None = None, timeout_seconds: float = 5.0
) -> AsyncIterator[Bench]:
    """A bench whose map follows the log, and whose leader in the making has a turn."""
    made = Bench(
        broker or MemoryBroker(), RequestWindow() if window is None else window, timeout_seconds=timeout_seconds
    )
    tasks = [asyncio.create_task(made.follower.run()), asyncio.create_task(made.lead.run())]
    try:
        await eventually(lambda: made.follower.standing.ready)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def records_in(broker: MemoryBroker) -> list[LogRecord]:
    """All records of the log."""
    batch = broker.fetch(START)
    return [] if batch is None else list(batch.records)


def keys_in(broker: MemoryBroker) -> list[bytes | None]:
    """The keys of all records of the log."""
    return [key for _, key, _ in records_in(broker)]
