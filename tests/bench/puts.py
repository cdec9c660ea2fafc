"""Acknowledged puts, against etcd's: member for replica and broker, as shipped, everything on all processors.

The same load generator drives both, etcd over gRPC and ours over HTTP, with one request under way on each connection;
or with ten, as in the benchmark that etcd publishes of itself, which has 1,000 clients over 100 connections: gRPC
multiplexes these, and over HTTP/1.1 they are pipelined. A run of etcd and a run of ours make a pair.

Before that both are warmed up: by a few connections, and by as many as are measured. What a broker does for a batch it
compiles once it has done so ten thousand times, and again when another kind of client comes. A few connections make as
many batches in half a minute; many would take minutes, as they share them.

Source of that benchmark: https://etcd.io/docs/v3.6/op-guide/performance/

A led store has its leader append, behind a fence; three replicas share the connections, as the members of etcd do, so
two thirds of the writes are forwarded on both sides. In a leaderless store the replica that is asked appends.

What is acknowledged differs, and the table says so: etcd has flushed its log to the disk, Kafka has it on every in-sync
replica and leaves flushing to the operating system. So the same is measured with both flushing
(`flush.messages=1` on the topic), and with neither (`--unsafe-no-fsync`).
"""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.bench import load
from tests.bench.etcd import EtcdCluster
from tests.bench.figures import Figure, Target
from tests.bench.group import Group
from tests.bench.load import Load, compare_loads, connections_text
from tests.bench.replica import Replica
from tests.bench.site import TOPIC_CONFIG, Site

_BUSY: Final = 64
_CROWD: Final = 1000
_DEPTH: Final = 10
_FEW: Final = 4
_WARM_UP_SECONDS: Final = (25.0, 10.0)  # by few connections, and by all
_BUSY_TARGET: Final = Target("ratio", "at least", 1.5)
_CROWD_TARGET: Final = Target("ratio", "at least", 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row: so many connections against a setting of each.

    Attributes:
        name: The figure's.
        says: What is special about it, for the title.
        connections: How many.
        depth: How many requests are under way on each.
        size: How many members of etcd, how many copies of the log, and how many replicas.
        is_led: In write mode Leader.
        pairs: How many pairs of runs.
        seconds: The length of a run.
        etcd: Options for etcd.
        topic: Settings of the topic beside the usual ones.
        target: What is to be kept to.
    """

    name: str
    says: str
    connections: int
    depth: int = 1
    size: int = 1
    is_led: bool = False
    pairs: int = 2
    seconds: float = 3.0
    etcd: Sequence[str] = ()
    topic: dict[str, str] = field(default_factory=dict)
    target: Target | None = None


def _led(size: int, connections: int, depth: int, target: Target | None) -> Case:
    name = f"led-put-{size}x{connections}" + (f"x{depth}" if depth > 1 else "")
    return Case(
        name=name,
        says=f"led, {size} against {size}",
        connections=connections,
        depth=depth,
        size=size,
        is_led=True,
        pairs=3 if target else 2,
        target=target,
    )


LED: Final = tuple(
    _led(size, connections, depth, target)
    for size in (1, 3)
    for connections, depth, target in (
        (1, 1, None),
        (_BUSY, 1, _BUSY_TARGET),
        (_CROWD, 1, _CROWD_TARGET),
        (_CROWD // _DEPTH, _DEPTH, _CROWD_TARGET),
    )
)

LEADERLESS: Final = (
    Case(name="put-1", says="leaderless", connections=1),
    Case(name="put-64", says="leaderless", connections=_BUSY, pairs=3, target=_BUSY_TARGET),
    Case(name="put-1000", says="leaderless", connections=_CROWD),
    Case(
        name="put-64-both-flush",
        says="leaderless, both flush",
        connections=_BUSY,
        topic={"flush.messages": "1"},
    ),
    Case(
        name="put-64-none-flushes",
        says="leaderless, none flushes",
        connections=_BUSY,
        etcd=("--unsafe-no-fsync",),
    ),
)


def measure_leaderless(site: Site) -> Iterator[Figure]:
    """The figures of puts to a leaderless store, each as soon as it is there."""
    return (_measure(site, case) for case in LEADERLESS)


def measure_led(site: Site) -> Iterator[Figure]:
    """The figures of puts to a led store, each as soon as it is there."""
    return (_measure(site, case) for case in LED)


def _measure(site: Site, case: Case) -> Figure:
    title = f"acknowledged put, {case.says}, {connections_text(case.connections, case.depth)}"
    site.say(f"{case.pairs} pairs: {title}")
    folder = site.folder / case.name
    folder.mkdir()
    topic = site.create_topic(copies=case.size, config={**TOPIC_CONFIG, **case.topic})
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdCluster(folder, case.etcd, size=case.size))
        ours = _store(site, topic, case)
        stack.enter_context(ours)
        etcd.await_ready()
        ours.await_ready()

        for side in (etcd, ours):
            load.drive(side.url, "put", connections=_FEW, seconds=_WARM_UP_SECONDS[0])
            _drive(side, case, seconds=_WARM_UP_SECONDS[1])
        pairs = [(_drive(etcd, case), _drive(ours, case)) for _ in range(case.pairs)]
    figure = compare_loads(
        [(peer.load, our.load) for peer, our in pairs], name=case.name, title=title, target=case.target
    )
    cpu_us = {
        "our_server_cpu_us": statistics.median(our.server_cpu_us for _, our in pairs),
        "peer_server_cpu_us": statistics.median(peer.server_cpu_us for peer, _ in pairs),
    }
    return dataclasses.replace(figure, details={**figure.details, **cpu_us})


@dataclass(frozen=True, slots=True)
class _Run:
    """One run against one side.

    Attributes:
        load: What the clients saw.
        server_cpu_us: What a put took of the processors in the servers, brokers left out; the clients' warm-up counts
            as so many puts as its time would have at the rate of the run.
    """

    load: Load
    server_cpu_us: float


def _drive(side: EtcdCluster | Group | Replica, case: Case, *, seconds: float | None = None) -> _Run:
    before = side.cpu_seconds()
    driven = load.drive(
        side.url, "put", connections=case.connections, depth=case.depth, seconds=seconds or case.seconds
    )
    puts = driven.requests + driven.per_second * load.WARM_UP_SECONDS
    return _Run(driven, 1e6 * (side.cpu_seconds() - before) / puts)


def _store(site: Site, topic: str, case: Case) -> Group | Replica:
    if case.is_led:
        return Group(site, topic, name=case.name, size=case.size)
    assert case.size == 1, "a leaderless store is measured with one replica"
    return Replica(site, topic, name=case.name)
