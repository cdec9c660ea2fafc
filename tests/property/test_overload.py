"""The law by which reads are turned away keeps the map's lag in bounds, in a model of the event loop.

In each turn the loop answers one read of every connection, then applies a batch; while that is urgent, several batches.
Every client sends its next read at once, also after a refusal. Times are the model's own.
"""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.overload import LARGEST_SHARE, is_urgent, share_to_shed
from sharedlogkv_replica.engine.follow import URGENT_BATCHES
from sharedlogkv_replica.engine.read_guard import LOOK_SECONDS
from sharedlogkv_replica.log.kafka_reader import BATCH_RECORDS, HANDED_OVER_BATCHES

RECORD_SECONDS = 5e-6
REFUSAL_SECONDS = 10e-6
LIMIT_SECONDS = 10.0
RECORDS_OF_URGENT_TURN = BATCH_RECORDS * min(URGENT_BATCHES, HANDED_OVER_BATCHES)
"""The reader hands over so many batches before it needs the loop again."""


@dataclass(slots=True)
class Loop:
    """One replica's loop.

    Attributes:
        appended: records a second.
        connections: clients that read without a pause.
        read_seconds: what a read takes.
        limit_seconds: the lag that there may be.
        now: the time.
        applied: records applied.
        share: the share of reads that are turned away.
        worst_lag: the greatest lag so far.
    """

    appended: float
    connections: int
    read_seconds: float
    limit_seconds: float = LIMIT_SECONDS
    now: float = 0.0
    applied: float = 0.0
    share: float = 0.0
    worst_lag: float = 0.0

    def run(self, seconds: float) -> None:
        """Turns until so much time has passed."""
        end, looked = self.now + seconds, self.now
        while self.now < end:
            lag = self.now - self.applied / self.appended
            self.worst_lag = max(self.worst_lag, lag)
            if self.now - looked >= LOOK_SECONDS:
                looked = self.now
                self.share = share_to_shed(lag, self.limit_seconds, waiting_share=0.0)
            most = RECORDS_OF_URGENT_TURN if is_urgent(lag, self.limit_seconds) else BATCH_RECORDS
            records = min(most, self.appended * self.now - self.applied)
            self.applied += records
            self.now += self.connections * read_turn_seconds(self.read_seconds, self.share) + records * RECORD_SECONDS


def read_turn_seconds(read_seconds: float, share: float) -> float:
    """What one connection's read takes, on average."""
    return (1 - share) * read_seconds + share * REFUSAL_SECONDS


@given(
    keeps_up=st.floats(0.1, 0.8),
    connections=st.integers(50, 1_000),
    read_seconds=st.floats(1e-4, 2e-3),
)
def test_reads_that_would_starve_the_map_leave_the_lag_below_the_limit(
    keeps_up: float, connections: int, read_seconds: float
) -> None:
    """Whatever the load, if what is left when most reads are turned away suffices for the records."""
    turn = connections * read_turn_seconds(read_seconds, LARGEST_SHARE) + RECORDS_OF_URGENT_TURN * RECORD_SECONDS
    loop = Loop(keeps_up * RECORDS_OF_URGENT_TURN / turn, connections, read_seconds)
    loop.run(60.0)
    assert loop.worst_lag < LIMIT_SECONDS


def test_without_the_law_the_same_reads_starve_it() -> None:
    lawless = Loop(5_000.0, 500, 1e-3, limit_seconds=0.0)
    lawless.run(60.0)
    assert lawless.worst_lag > LIMIT_SECONDS
    loop = Loop(5_000.0, 500, 1e-3)
    loop.run(60.0)
    assert 0 < loop.share < LARGEST_SHARE
    assert loop.worst_lag < LIMIT_SECONDS


def test_reads_that_leave_enough_are_never_turned_away() -> None:
    loop = Loop(5_000.0, 50, 1e-3)
    loop.run(60.0)
    assert (loop.share, loop.worst_lag < 1.0) == (0.0, True)
