"""A replay of the log from its beginning: how far it is, and what it is spared meanwhile."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sharedlogkv_replica.core.records import START, Position


@dataclass(slots=True)
class Replay:
    """The progress of a replay.

    Attributes:
        target: the log's end when the replay began; Ready once the map has reached it.
        started: the monotonic clock then, in seconds.
        seconds: how long it took; None while it is under way.
        records: records applied by it.
        position: the map's position.
    """

    target: Position
    started: float
    seconds: float | None = None
    records: int = 0
    position: Position = START

    def elapsed(self, now: float) -> float:
        """Seconds since the replay began, or that it took; `now` by the monotonic clock."""
        return self.seconds if self.seconds is not None else now - self.started

    def records_per_second(self, now: float) -> float:
        """The mean rate so far."""
        elapsed = self.elapsed(now)
        return self.records / elapsed if elapsed > 0 else 0.0

    def remaining_seconds(self, now: float) -> float | None:
        """An estimate from the share of offsets done; None before there is one."""
        if self.position >= self.target:
            return 0.0
        if self.position == START:
            return None
        return self.elapsed(now) * (self.target - self.position) / self.position


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Without the collector a replay is up to twice as fast: it would look at a growing heap, over and over, in vain.

    What was replayed is then frozen, unseen: it stays, and one look at a million records takes a quarter of a second.
    """
    gc.collect()  # now, while there is little: what is garbage when all is frozen stays for ever
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
