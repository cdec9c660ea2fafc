"""A change of leader: how long no write is acknowledged, what becomes of those that were, and whether reads go on.

Three replicas of a log with three copies. The clients are at the two that do not lead; half of them write and half read
(`eventual`), each 10 ms after its last answer. Then the leader goes: killed, asked to hand over, or stopped as by a
rollout. What is counted begins with the last acknowledgement before that. Afterwards both survivors must hold every
write that was acknowledged, and no read may have been refused: else there is no figure, but an error.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.bench.errors import BenchError
from tests.bench.figures import Figure, Target
from tests.bench.group import Group
from tests.bench.load import Watch
from tests.bench.replica import Replica
from tests.bench.silence import Observation
from tests.bench.site import Site
from tests.support.replica_http import ReplicaClient

SIZE: Final = 3
CONNECTIONS: Final = 16
_BEFORE_SECONDS: Final = 1.5
_AFTER_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which a leader goes.

    Attributes:
        name: The figure's.
        title: For the table.
        times: How often it is measured.
        unit: `s` or `ms`.
        bound: The most that is good of the worst, in that unit.
        go: Makes the leader go.
        ends: Its process ends by that.
    """

    name: str
    title: str
    times: int
    unit: str
    bound: float
    go: Callable[[Group, Replica], None]
    ends: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What one change of leader cost, in seconds, and writes of which the clients do not know."""

    write_silence: float
    read_silence: float
    unknown: int


def _kill(_: Group, leader: Replica) -> None:
    leader.kill()


def _hand_over(group: Group, leader: Replica) -> None:
    group.hand_over(leader)


def _stop(_: Group, leader: Replica) -> None:
    leader.terminate()


CHANGES: Final = (
    Change("failover-crash", "leader killed", 20, "s", 5.0, _kill, ends=True),
    Change("failover-transfer", "leader asked to hand over", 20, "ms", 500.0, _hand_over, ends=False),
    Change("failover-stop", "leader stopped by SIGTERM", 10, "ms", 500.0, _stop, ends=True),
)


def measure(site: Site) -> list[Figure]:
    """The figures of changes of the leader."""
    topic = site.create_topic(copies=SIZE)
    with ExitStack() as stack:
        group = stack.enter_context(Group(site, topic, name="failover", size=SIZE))
        group.await_ready()
        return [figure for change in CHANGES for figure in _measure(site, group, change)]


def _measure(site: Site, group: Group, change: Change) -> list[Figure]:
    site.say(f"{change.times} times: {change.title}")
    seen = [_observe(group, change, f"{change.name}-{number}-") for number in range(change.times)]
    return figures(change, seen)


def _observe(group: Group, change: Change, prefix: str) -> Seen:
    leader, term = group.await_leader()
    survivors = [replica for replica in group.replicas if replica is not leader]
    with Watch([replica.url for replica in survivors], connections=CONNECTIONS, prefix=prefix) as watch:
        time.sleep(_BEFORE_SECONDS)  # the leader learns once a second who is fit to succeed it, and nothing shows it
        begin = time.time()
        change.go(group, leader)
        group.await_leader(after=term, gone=leader if change.ends else None)
        time.sleep(_AFTER_SECONDS)  # what is under way is answered, and what goes wrong behind a new leader shows
        until = time.time()
        observation = watch.finish()
    require_unharmed(observation, {replica.name: _keys(replica, prefix) for replica in survivors}.items())
    if change.ends:
        leader.await_end()
        leader.start()
        leader.await_ready()
    return Seen(
        observation.write_silence(since=begin, until=until),
        observation.read_silence(since=begin, until=until),
        observation.unknown,
    )


def _keys(replica: Replica, prefix: str) -> set[str]:
    """The keys with a prefix that a replica has, all acknowledged writes included."""
    with ReplicaClient("127.0.0.1", replica.port) as client:
        client.get(prefix.encode(), consistency="linearizable")
        return {item["key"] for item in client.items(prefix=prefix.encode())}


def require_unharmed(observation: Observation, kept: Iterable[tuple[str, set[str]]]) -> None:
    """Holds what the clients were told against the keys that each replica has now, by name.

    Raises:
        BenchError: An acknowledged write is missing, or a read was refused.
    """
    for name, keys in kept:
        lost = observation.acknowledged.keys() - keys
        if lost:
            raise BenchError(f"{name} lost {len(lost)} acknowledged writes, {min(lost)} among them")
    if observation.failed_reads:
        raise BenchError(f"{observation.failed_reads} reads failed, the first with: {observation.first_failure}")


def figures(change: Change, seen: list[Seen]) -> list[Figure]:
    """The rows of one way to go: of the writes, and of the reads meanwhile."""
    scale = {"s": 1.0, "ms": 1000.0}[change.unit]
    writes = [scale * one.write_silence for one in seen]
    reads = [1000 * one.read_silence for one in seen]
    times = f"the worst of {len(seen)}"
    return [
        Figure(
            name=change.name,
            title=f"{change.title}: no write acknowledged, {times}",
            unit=change.unit,
            ours=max(writes),
            our_note=f"p50 {statistics.median(writes):.3g}",
            target=Target("value", "at most", change.bound),
            details={
                "p50": statistics.median(writes),
                "all": writes,
                "unknown_writes": sum(one.unknown for one in seen),
            },
        ),
        Figure(
            name=f"{change.name}-reads",
            title=f"{change.title}: no read answered by a survivor, {times}",
            unit="ms",
            ours=max(reads),
            our_note=f"p50 {statistics.median(reads):.3g}",
            details={"p50": statistics.median(reads), "all": reads},
        ),
    ]
