"""A store in discrete time, a second a step: a log, replicas that boot, apply and serve, and clients that read.

What is simulated is the arithmetic of a shared log, not its code. Every replica applies every record. Reads go evenly
to the replicas that serve, come first, and leave at least 5 % of the CPU to records; what finds no CPU is turned away.
A replica boots in two steps: its pod starts, then it replays the compacted log at full speed, without reads.
"""

import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

RECORD_COST = 100e-6
REQUEST_COST = 200e-6
SHED_COST = 20e-6
IDLE_CPU = 0.015
"""CPU seconds that a record, a request and a refusal take; and CPUs that a replica spends in any case: half as much
again as the model of the autoscaler believes."""
READ_SHARE = 0.95
START_SECONDS = 15
REPLAY_RECORDS = 300_000
RECORD_BYTES = 200
NOISE = 0.3
"""Each second's records and requests, and what they cost each replica, differ from their mean by up to so much."""

Rate = Callable[[int], float]


def make_noisy(mean: float, chance: random.Random) -> float:
    """A number about `mean`."""
    return mean * (1 + NOISE * (2 * chance.random() - 1))


def steady(rate: float) -> Rate:
    """The same at all times."""
    return lambda second: rate


def pulse(base: float, peak: float, *, start: int, seconds: int) -> Rate:
    """`base`, and `peak` for `seconds` from `start` on."""
    return lambda second: peak if start <= second < start + seconds else base


@dataclass(slots=True)
class Replica:
    """One replica.

    Attributes:
        name: its pod's name.
        created: the second in which its pod was made.
        cpu: CPUs that it really gets.
        position: the next record to apply.
        replay: records left to replay before it serves.
        target: the log's end when the replay began; None before it began.
        serves: it is Ready.
        lag_seconds: the age of the oldest record that it has not applied.
        apply_cpu, serve_cpu, applied, served, shed: counters since its start.
    """

    name: str
    created: int
    cpu: float = 1.0
    position: float = 0.0
    replay: float = REPLAY_RECORDS
    target: float | None = None
    serves: bool = False
    lag_seconds: float = 0.0
    apply_cpu: float = 0.0
    serve_cpu: float = 0.0
    applied: float = 0.0
    served: float = 0.0
    shed: float = 0.0
    _behind: int = 0
    _chance: random.Random = field(default_factory=random.Random)

    def vary(self, cost: float) -> float:
        """What a record or a request costs this second that costs so much on average."""
        return make_noisy(cost, self._chance)

    def restart(self, second: int) -> None:
        """Begins anew as another process of another pod."""
        self.created, self.position, self.replay, self.target = second, 0.0, REPLAY_RECORDS, None
        self.serves, self.lag_seconds, self._behind = False, 0.0, 0
        self.apply_cpu = self.serve_cpu = self.applied = self.served = self.shed = 0.0


@dataclass(slots=True)
class World:
    """A store, its load and its troubles.

    Attributes:
        appends: records written, a second.
        reads: requests sent to all replicas, a second.
        fetches: records that a replica can fetch, a second; infinite unless the brokers are in trouble.
        seed: of the noise. Who scales it makes no difference to its load, nor to what work costs a replica of a name.
        sticky: new replicas get no requests, as if clients never opened a new connection.
    """

    appends: Rate
    reads: Rate
    fetches: Rate = field(default=lambda second: float("inf"))
    seed: int = 1
    sticky: bool = False
    second: int = 0
    replicas: list[Replica] = field(default_factory=list)
    ends: list[float] = field(default_factory=lambda: [0.0])
    _chance: random.Random = field(default_factory=random.Random)
    _made: int = 0

    def __post_init__(self) -> None:
        self._chance.seed(self.seed)

    @property
    def end(self) -> float:
        """The log's end."""
        return self.ends[-1]

    @property
    def serving(self) -> list[Replica]:
        """The replicas that are Ready."""
        return [replica for replica in self.replicas if replica.serves]

    def fill(self, count: int) -> None:
        """Adds replicas that serve already."""
        for _ in range(count):
            replica = self._add()
            replica.serves, replica.replay, replica.position = True, 0.0, self.end

    def scale(self, count: int, victims: tuple[str, ...] = ()) -> None:
        """Has `count` replicas, as a Deployment would: those not ready go first, then by the order of `victims`."""
        while len(self.replicas) < count:
            self._add()
        order = {name: place for place, name in enumerate(victims)}
        while len(self.replicas) > count:
            self.replicas.remove(
                min(self.replicas, key=lambda r: (r.serves, order.get(r.name, len(order)), -r.created, r.name))
            )

    def step(self) -> None:
        """Lets one second pass."""
        second = self.second
        self.ends.append(self.end + make_noisy(self.appends(second), self._chance))
        self.second += 1
        reads = make_noisy(self.reads(second), self._chance)
        fetchable = self.fetches(second)
        readers = [replica for replica in self.serving if not self.sticky or replica.created < 0] or self.serving
        read_by = {id(replica) for replica in readers}
        share = reads / len(readers) if readers else 0.0
        for replica in self.replicas:
            if replica.serves:
                self._serve(replica, share if id(replica) in read_by else 0.0, fetchable)
            elif self.second - replica.created > START_SECONDS:
                self._boot(replica, fetchable)

    def _serve(self, replica: Replica, offered: float, fetchable: float) -> None:
        cpu = replica.cpu - IDLE_CPU
        record_cost, request_cost = replica.vary(RECORD_COST), replica.vary(REQUEST_COST)
        served = min(offered, READ_SHARE * cpu / request_cost)
        reading = served * request_cost
        applied = min(self.end - replica.position, (cpu - reading) / record_cost, fetchable)
        replica.position += applied
        replica.served += served
        replica.shed += offered - served
        replica.serve_cpu += IDLE_CPU + reading + (offered - served) * SHED_COST
        replica.applied += applied
        replica.apply_cpu += applied * record_cost
        self._measure_lag(replica)

    def _boot(self, replica: Replica, fetchable: float) -> None:
        if replica.target is None:
            replica.target = self.end
        replayed = min(replica.replay, replica.cpu / RECORD_COST, fetchable)
        replica.replay -= replayed
        replica.applied += replayed
        replica.apply_cpu += replayed * RECORD_COST
        if replica.replay <= 0:
            replica.position, replica.serves = replica.target, True
            self._measure_lag(replica)

    def _measure_lag(self, replica: Replica) -> None:
        ends = self.ends
        # The first end above the position is that of the second in which the oldest unapplied record was written.
        if ends[replica._behind] <= replica.position:
            replica._behind = bisect_left(ends, replica.position + 1e-6, lo=replica._behind)
        is_behind = replica._behind < len(ends)
        replica.lag_seconds = float(len(ends) - replica._behind) if is_behind else 0.0
        replica._behind = min(replica._behind, len(ends) - 1)

    def _add(self) -> Replica:
        self._made += 1
        name = f"store-{self._made}"
        replica = Replica(name, created=self.second or -3600, _chance=random.Random(f"{self.seed}/{name}"))
        self.replicas.append(replica)
        return replica
