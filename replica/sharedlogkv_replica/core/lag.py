"""How far the map is behind the log, in records and, what counts, in seconds.

The lag in seconds is the age of the oldest record not yet applied. A follower can't see that record before it has
fetched it, so this is the least upper bound of what it does know: the oldest unapplied record is younger than the last
one applied, and younger than the last moment at which nothing was unapplied.
"""

import math
from dataclasses import dataclass

from sharedlogkv_replica.core.records import START, Position


@dataclass(slots=True)
class LagMeter:
    """Lag from two kinds of observation: what was applied, and where the log ended.

    Attributes:
        position: every record below it is applied.
        end: the highest end of the log seen so far.
        caught_up_ms: the last time at which nothing was unapplied, as far as known (ms since the epoch).
        applied_ms: the log's timestamp of the last record applied (ms since the epoch); 0 before the first.
        awaited: an end of the log that the map has not reached yet, and when it was asked for (ms since the epoch).
    """

    position: Position = START
    end: Position = START
    caught_up_ms: int = 0
    applied_ms: int = 0
    awaited: tuple[Position, int] | None = None

    def observe_applied(self, position: Position, timestamp_ms: int) -> None:
        """Notes that the map has reached `position`; `timestamp_ms` is that of its last record, 0 if it had none."""
        self.position = position
        self.end = max(self.end, position)
        self.applied_ms = max(self.applied_ms, timestamp_ms)
        if self.awaited is not None and position >= self.awaited[0]:
            self.caught_up_ms = max(self.caught_up_ms, self.awaited[1])
            self.awaited = None

    def observe_end(self, end: Position, *, asked_at_ms: int) -> None:
        """Notes that the log ended at `end`, as asked for at `asked_at_ms` (ms since the epoch)."""
        self.end = max(self.end, end)
        if self.position >= end:
            self.caught_up_ms = max(self.caught_up_ms, asked_at_ms)
        elif self.awaited is None:
            self.awaited = (end, asked_at_ms)

    @property
    def lag_records(self) -> int:
        """Offsets between the map and the end of the log; an upper bound of records, as compaction leaves gaps."""
        return max(0, self.end - self.position)

    def lag_seconds(self, now_ms: int) -> float:
        """The least upper bound of the age of the oldest unapplied record; 0 when none is known to be unapplied.

        "Known" is as fresh as the last `observe_end`; where the log does not answer, `silence_seconds` tells more.
        """
        if self.position >= self.end:
            return 0.0
        return max(0, now_ms - max(self.applied_ms, self.caught_up_ms)) / 1000

    def silence_seconds(self, now_ms: int) -> float:
        """The time since nothing was unapplied, as far as known: bounds the lag whatever happened since."""
        return max(0, now_ms - self.caught_up_ms) / 1000


@dataclass(slots=True)
class Freshness:
    """As of when the map was complete, by the replica's own monotonic clock: what a bounded read relies on.

    An end of the log that is asked for is above every record acknowledged before the question. So once the map has
    reached that end, it has everything acknowledged before the question was asked, whatever the clocks of others say.

    Attributes:
        complete_as_of: when the latest question was asked whose answer the map has reached, in seconds; None: none yet.
        awaited: the oldest answer that the map has not reached, and when it was asked for.
    """

    complete_as_of: float | None = None
    awaited: tuple[Position, float] | None = None

    def observe_end(self, end: Position, *, position: Position, asked_at: float) -> None:
        """Notes that the log ended at `end`, as asked for at `asked_at`, while the map is at `position`."""
        if position >= end:
            self._complete(asked_at)
        elif self.awaited is None:
            self.awaited = (end, asked_at)

    def observe_applied(self, position: Position) -> None:
        """Notes that the map has reached `position`."""
        if self.awaited is not None and position >= self.awaited[0]:
            self._complete(self.awaited[1])
            self.awaited = None

    def _complete(self, asked_at: float) -> None:
        self.complete_as_of = asked_at if self.complete_as_of is None else max(self.complete_as_of, asked_at)

    def staleness_ms(self, now: float) -> int | None:
        """For how long, at `now`, something may have been missing; rounded up. None: no bound is known."""
        return None if self.complete_as_of is None else math.ceil((now - self.complete_as_of) * 1000)
