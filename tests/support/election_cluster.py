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
from tests.support.election_network import Network
from tests.support.election_replica import SimulatedReplica
from tests.support.fenced_partition import FencedPartition


class Cluster:
    """Replicas, the log and the time.

    Attributes:
        now: seconds since the start, by no replica's clock.
        trace: what happened, a line each.
        acknowledged: the offset of the last write that a client was told to be in the log.
        leads: the replicas and terms that came to lead, in order.
    """

    def __init__(self, random: Random, network: Network) -> None:
        self.random = random
        self.network = network
        self.partition = FencedPartition()
        self.replicas: dict[str, SimulatedReplica] = {}
        self.now = 0.0
        self.trace: list[str] = []
        self.acknowledged = -1
        self.leads: list[tuple[str, int]] = []
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
        """The coordinator gives another producer id from now on.

        Only where no replica can be so late as never to have read of the last one: an id lives for days. A candidate
        that knows neither could not shut it out before its own claim.
        """
        producer_id = self.partition.producer_id
        if all(replica.would_shut_out(producer_id) for replica in self.replicas.values()):
            self.partition.forget_producer()

    def note(self, who: str, what: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{self.now:9.3f}  {who:<3}  {what}")

    def leader(self) -> SimulatedReplica | None:
        """Who leads under a valid lease."""
        found = [replica for replica in self.replicas.values() if replica.holds_lease()]
        return found[0] if len(found) == 1 else None

    def _check_leases(self) -> None:
        for replica in self.replicas.values():
            if replica.holds_lease() and replica.applied < self.acknowledged:
                raise AssertionError(
                    f"at {self.now:.3f} {replica.name} answers reads from a map at {replica.applied}, "
                    f"and {self.acknowledged} is acknowledged\n" + "\n".join(self.trace[-60:])
                )
