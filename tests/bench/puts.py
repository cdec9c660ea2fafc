"""Acknowledged puts, against etcd's: one member against one broker, both as shipped, everything on all processors.

The same load generator drives both, etcd over gRPC and ours over HTTP, with one request under way on each connection. A
run of etcd and a run of ours make a pair; the first pair only warms up the broker's compiler and the disk's cache.

What is acknowledged differs, and the table says so: etcd has flushed its log to the disk, Kafka has it on every in-sync
replica (here: one) and leaves flushing to the operating system. So the same is measured with both flushing
(`flush.messages=1` on the topic), and with neither (`--unsafe-no-fsync`).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.bench import load
from tests.bench.etcd import Etcd
from tests.bench.figures import Figure, Target
from tests.bench.load import Load, compare_loads, connections_text
from tests.bench.replica import Replica
from tests.bench.site import Site

TARGET: Final = Target("ratio", "at least", 1.5)
_BUSY: Final = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One row: so many connections against a setting of each.

    Attributes:
        name: The figure's.
        says: What is special about it, for the title.
        connections: How many.
        pairs: How many pairs of runs.
        seconds: The length of a run.
        etcd: Options for etcd.
        topic: Settings of the topic beside the usual ones.
        target: What is to be kept to.
    """

    name: str
    connections: int
    pairs: int = 2
    seconds: float = 5.0
    says: str = ""
    etcd: Sequence[str] = ()
    topic: dict[str, str] = field(default_factory=dict)
    target: Target | None = None


CASES: Final = (
    Case("put-1", 1),
    Case("put-64", _BUSY, pairs=5, seconds=8.0, target=TARGET),
    Case("put-1000", 1000),
    Case("put-64-both-flush", _BUSY, says=", both flush", topic={"flush.messages": "1"}),
    Case("put-64-none-flushes", _BUSY, says=", none flushes", etcd=("--unsafe-no-fsync",)),
)


def measure(site: Site) -> list[Figure]:
    """The figures of puts."""
    return [_measure(site, case) for case in CASES]


def _measure(site: Site, case: Case) -> Figure:
    site.say(f"{case.pairs} pairs of puts over {connections_text(case.connections)}{case.says}")
    folder = site.folder / case.name
    folder.mkdir()
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd(folder, case.etcd))
        replica = stack.enter_context(Replica(site, site.create_topic(**case.topic), name=case.name))
        etcd.await_ready()
        replica.await_ready()

        def drive(url: str, seconds: float = case.seconds) -> Load:
            return load.drive(url, "put", connections=case.connections, seconds=seconds)

        for url in (etcd.url, replica.url):
            drive(url, 3.0)
        pairs = [(drive(etcd.url), drive(replica.url)) for _ in range(case.pairs)]
    title = f"acknowledged put, {connections_text(case.connections)}{case.says}"
    return compare_loads(pairs, name=case.name, title=title, target=case.target)
