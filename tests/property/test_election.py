"""Whatever happens to replicas, network and clocks: no two leaders' commits interleave, and no read misses a write.

A simulated cluster goes through drawn faults, and then has a calm time, in which it must find one leader and keep it.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import assert_never

from hypothesis import given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.election_events import ElectionConfig
from tests.support.election_cluster import Cluster
from tests.support.election_network import CalmNetwork, Fate, RandomNetwork, ScriptedNetwork
from tests.support.election_replica import SimulatedReplica

CALM_SECONDS = 25.0
"""Within which there is a leader once all is well: the deadline of a request of before, a pause after it, a silence, a
question and a lease to wait out, each by the slowest clock; together 22 s."""


class Kind(enum.Enum):
    """What can happen to a replica, or to the coordinator."""

    SLEEP = "sleeps"
    KILL = "is killed"
    STOP = "is asked to stop"
    HAND_OVER = "is asked to hand over"
    UNFIT = "is not fit"
    READ_LATE = "reads late"
    HEAR_LATE = "hears late of what it wrote"
    CUT_OFF = "is cut off from its peers"
    EXPIRY = "sees its producer id expire"


@dataclass(frozen=True)
class Fault:
    """What happens, to whom, how long after the last fault and for how long (seconds)."""

    kind: Kind
    replica: int
    pause: float
    duration: float


def fault_lists(kinds: Sequence[Kind]) -> st.SearchStrategy[list[Fault]]:
    """What happens, of these kinds."""
    fault = st.builds(
        Fault,
        kind=st.sampled_from(kinds),
        replica=st.integers(0, 4),
        pause=st.sampled_from([0.0, 0.01, 0.05, 0.5, 1.0, 3.0, 3.3, 4.0]),
        duration=st.sampled_from([0.02, 0.2, 1.0, 3.0, 3.5, 7.0, 20.0]),
    )
    return st.lists(fault, max_size=14)


FAULT_LISTS = fault_lists(list(Kind))


@dataclass(frozen=True)
class Conditions:
    """In which a cluster lives: how often something is lost, how slow messages are at most, how clocks differ."""

    size: int
    loss: float
    delay_seconds: float
    drift: float
    compacts: bool = False


CONDITIONS = st.builds(
    Conditions,
    size=st.integers(1, 5),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    delay_seconds=st.sampled_from([0.01, 0.3, 2.0]),
    drift=st.sampled_from([0.05, 0.5]),
    compacts=st.booleans(),
)


def build_cluster(random: Random, conditions: Conditions) -> Cluster:
    """A cluster whose clocks go as differently as is allowed."""
    network = RandomNetwork(random, loss=conditions.loss, delay_seconds=conditions.delay_seconds)
    cluster = Cluster(random, network, compacts=conditions.compacts)
    deviation = conditions.drift / (2 + conditions.drift)  # the slowest and the fastest differ by the drift
    for name in "abcde"[: conditions.size]:
        config = ElectionConfig(name, name, jitter=random.random(), drift=conditions.drift)
        cluster.add(config, rate=1 + random.choice([-1, 0, 1]) * deviation, offset=random.uniform(0, 1e6))
    return cluster


def write_on(cluster: Cluster) -> None:
    """Clients that write at every replica that takes it, for ever."""
    for replica in list(cluster.replicas.values()):
        replica.write()
    cluster.after(cluster.random.expovariate(2), lambda: write_on(cluster))


def inflict(cluster: Cluster, fault: Fault) -> None:
    """Lets `fault` happen, and end in due time."""
    names = list(cluster.replicas)
    replica = cluster.replicas[names[fault.replica % len(names)]]
    cluster.note(replica.name, f"{fault.kind.value}, for {fault.duration:g} s")
    match fault.kind:
        case Kind.SLEEP:
            replica.sleep()
            cluster.after(fault.duration, replica.wake)
        case Kind.KILL:
            replica.kill()
            cluster.after(fault.duration, lambda: restart(cluster, replica))
        case Kind.STOP:
            replica.stop()
            cluster.after(fault.duration, lambda: restart(cluster, replica))
        case Kind.HAND_OVER:
            replica.hand_over(cluster.random.choice(["", *names]))
        case Kind.UNFIT:
            replica.set_fit(False)
            cluster.after(fault.duration, lambda: replica.set_fit(True))
        case Kind.READ_LATE:
            replica.reading_seconds = fault.duration
            cluster.after(3 * fault.duration, lambda: setattr(replica, "reading_seconds", 0.0))
        case Kind.HEAR_LATE:
            replica.hearing_seconds = fault.duration
            cluster.after(3 * fault.duration, lambda: setattr(replica, "hearing_seconds", 0.0))
        case Kind.CUT_OFF:
            replica.reachable = False
            cluster.after(fault.duration, lambda: setattr(replica, "reachable", True))
        case Kind.EXPIRY:
            cluster.expire_producer()
        case _:
            assert_never(fault.kind)


def restart(cluster: Cluster, replica: SimulatedReplica) -> None:
    """A new process of that name, in place of the old one, unless there is one already."""
    if cluster.replicas[replica.name] is replica:
        replica.kill()
        cluster.add(replica.config, rate=replica.rate, offset=replica.offset)


def mend(cluster: Cluster) -> None:
    """Ends all faults; only what is still on its way may be late."""
    cluster.network = CalmNetwork()
    for replica in list(cluster.replicas.values()):
        if replica.stopping or not replica.alive:
            restart(cluster, replica)
        replica.reading_seconds = replica.hearing_seconds = 0.0
        replica.reachable = True
        replica.set_fit(True)
        replica.wake()


def go_through(faults: list[Fault], seed: int, conditions: Conditions) -> Cluster:
    """A cluster that clients write to, after these faults, and a calm time."""
    cluster = build_cluster(Random(seed), conditions)
    write_on(cluster)
    for fault in faults:
        cluster.run(fault.pause)
        inflict(cluster, fault)
    cluster.run(5)
    mend(cluster)
    cluster.run(CALM_SECONDS)
    return cluster


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), conditions=CONDITIONS, faults=FAULT_LISTS)
def test_no_fault_makes_two_leaders_and_a_calm_cluster_has_one(
    seed: int, conditions: Conditions, faults: list[Fault]
) -> None:
    cluster = go_through(faults, seed, conditions)
    story = "\n".join(cluster.trace)
    leader = cluster.leader()
    assert leader is not None, story
    changes, acknowledged = len(cluster.leads), cluster.acknowledged
    cluster.run(20)
    assert cluster.leader() is leader, story
    assert len(cluster.leads) == changes, story
    assert cluster.acknowledged > acknowledged, story
    assert cluster.breaches() == [], story


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    reads=st.booleans(),
    is_late=st.booleans(),
    late_seconds=st.sampled_from([1.0, 5.0, 30.0]),
    dies_after=st.sampled_from([0.0, 0.02, 0.5, 30.0]),
    succeeds_after=st.sampled_from([0.0, 1.0, 6.0]),
    hears_after=st.sampled_from([0.0, 0.5]),
)
def test_a_leader_of_whom_a_candidate_did_not_know_writes_nothing_behind_the_next_leader(
    *,
    seed: int,
    reads: bool,
    is_late: bool,
    late_seconds: float,
    dies_after: float,
    succeeds_after: float,
    hears_after: float,
) -> None:
    """The log gave out another producer id, so that the candidate did not shut the leader out by its claim alone."""
    network = ScriptedNetwork()
    network.late_seconds = late_seconds
    cluster = Cluster(Random(seed), network, compacts=True)
    candidate = cluster.add(ElectionConfig("candidate", "candidate", jitter=0.9))
    leader = cluster.add(ElectionConfig("leader", "leader", jitter=0.0))
    candidate.reading_seconds = 0.6
    cluster.run(1, until=lambda: len(cluster.partition.claims()) == 1)
    cluster.expire_producer()
    network.fates.extend([Fate.LATE] if is_late else [])
    cluster.run(0.05)
    leader.reading_seconds = 0.0 if reads else 1000.0
    cluster.run(1, until=lambda: len(cluster.partition.claims()) == 2)
    cluster.run(dies_after)
    candidate.kill()
    cluster.run(succeeds_after)
    write_on(cluster)
    leader.hearing_seconds = hears_after
    successor = cluster.add(ElectionConfig("successor", "successor", jitter=0.0))
    cluster.run(20)
    leader.kill()
    cluster.run(40)
    assert cluster.breaches() == [], "\n".join(cluster.trace)
    assert successor.holds_lease(), "\n".join(cluster.trace)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    faults=FAULT_LISTS.map(
        lambda faults: [fault for fault in faults if fault.kind in (Kind.SLEEP, Kind.KILL, Kind.UNFIT, Kind.READ_LATE)]
    ),
)
def test_a_healthy_leader_stays_whatever_happens_to_the_others(seed: int, faults: list[Fault]) -> None:
    cluster = build_cluster(Random(seed), Conditions(size=5, loss=0.0, delay_seconds=0.2, drift=0.05))
    write_on(cluster)
    cluster.run(CALM_SECONDS)
    leader = cluster.leader()
    assert leader is not None
    changes = len(cluster.leads)
    for fault in faults:
        cluster.run(fault.pause)
        if list(cluster.replicas.values())[fault.replica] is not leader:
            inflict(cluster, fault)
    cluster.run(70)
    assert len(cluster.leads) == changes, "\n".join(cluster.trace)
