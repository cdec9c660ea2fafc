"""A simulated cluster: elections on an idealised fenced log, in a time of its own.

Every replica has a clock with its own rate and offset. Whatever passes between replicas and log takes time, may be lost
on either way, or come late; a replica may be asleep, and then does at once, in any order, what has come in meanwhile.
Beside each event it is checked that whoever holds a lease has applied every write that anybody has acknowledged.
"""

import heapq
import itertools
from collections.abc import Callable
from random import Random

from sharedlogkv_replica.core.election_events import ElectionConfig
from sharedlogkv_replica.core.leadership import Stamp, Term
from tests.support.election_network import Network
from tests.support.election_replica import SimulatedReplica
from tests.support.fenced_partition import FencedPartition


class Cluster:
    """Replicas, the log and the time.

    Attributes:
        compacts: a new process reads what compaction leaves at least, and all that came later.
        given_up: batches, by term and number, that a replica took for never to be written.
        now: seconds since the start, by no replica's clock.
        trace: what happened, a line each.
        acknowledged: the offset of the last write that a client was told to be in the log.
        leads: the replicas and terms that came to lead, in order.
    """

    def __init__(self, random: Random, network: Network, *, compacts: bool = False) -> None:
        self.random = random
        self.network = network
        self.partition = FencedPartition(lambda: self.now)
        self.replicas: dict[str, SimulatedReplica] = {}
        self.now = 0.0
        self.trace: list[str] = []
        self.acknowledged = -1
        self.leads: list[tuple[str, int]] = []
        self.compacts = compacts
        self.given_up: set[tuple[Term, int]] = set()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()

    def add(self, config: ElectionConfig, *, rate: float = 1.0, offset: float = 0.0) -> SimulatedReplica:
        """A new replica, or a new process of that name; it starts, reads the log, and is fit."""
        replica = self.replicas[config.name] = SimulatedReplica(self, config, rate=rate, offset=offset)
        replica.start()
        return replica

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Does `action` once `seconds` have passed."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._sequence), action))

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Lets `seconds` pass, or less, where `until` comes to hold."""
        end = self.now + seconds
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
            self._check_leases()
            if until():
                return
        self.now = end
        self._check_leases()

    def announce(self) -> None:
        """Lets every replica read what the log now has."""
        for replica in self.replicas.values():
            self.after(self.network.delay() + replica.reading_seconds, replica.reader(len(self.partition.records)))

    def expire_producer(self) -> None:
        """The coordinator gives another producer id from now on."""
        self.partition.forget_producer()

    def note(self, who: str, what: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{self.now:9.3f}  {who:<3}  {what}")

    def leader(self) -> SimulatedReplica | None:
        """Who leads under a valid lease."""
        found = [replica for replica in self.replicas.values() if replica.holds_lease()]
        return found[0] if len(found) == 1 else None

    def breaches(self) -> list[str]:
        """What is in the log, and must not be."""
        late = self.partition.late_records([term for _, term in self.leads])
        refuted = [
            appended
            for appended in self.partition.records
            if isinstance(appended.record, Stamp) and (appended.record.term, appended.record.batch) in self.given_up
        ]
        return [
            *(f"late, behind a claim that was led with: {appended}" for appended in late),
            *(f"written, after it was taken for never to be: {appended}" for appended in refuted),
        ]

    def _check_leases(self) -> None:
        for replica in self.replicas.values():
            if replica.holds_lease() and replica.applied < self.acknowledged:
                raise AssertionError(
                    f"at {self.now:.3f} {replica.name} answers reads from a map at {replica.applied}, "
                    f"and {self.acknowledged} is acknowledged\n" + "\n".join(self.trace[-60:])
                )
