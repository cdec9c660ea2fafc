"""Reads at their two ends of consistency, against etcd's: the same load generator, everything on all processors.

A linearizable read of etcd asks its leader, which (here) is the only member; ours appends a barrier to the log, shared
by all reads that wait for one. etcd's serializable read and our eventual one answer from what the server has.
"""

from contextlib import ExitStack
from typing import Final

from tests.bench import load
from tests.bench.etcd import Etcd
from tests.bench.figures import Figure
from tests.bench.load import Load, Operation, compare_loads, connections_text
from tests.bench.replica import Replica
from tests.bench.site import Site

PAIRS: Final = 2
SECONDS: Final = 4.0
CONNECTIONS: Final = 64
KEYS: Final = 100_000

_OPERATIONS: Final[tuple[tuple[Operation, str], ...]] = (
    ("get", "eventual read (etcd: serializable)"),
    ("get-linearizable", "linearizable read"),
)


def measure(site: Site) -> list[Figure]:
    """The figures of reads, by consistency."""
    topic = site.million_keys
    folder = site.folder / "consistent-reads"
    folder.mkdir()
    with ExitStack() as stack:
        etcd = stack.enter_context(Etcd(folder))
        replica = stack.enter_context(Replica(site, topic, name="consistent-reads"))
        etcd.await_ready()
        load.fill(etcd.url, keys=KEYS)
        replica.await_ready()
        return [_measure(site, etcd, replica, operation, says) for operation, says in _OPERATIONS]


def _measure(site: Site, etcd: Etcd, replica: Replica, operation: Operation, says: str) -> Figure:
    site.say(f"{PAIRS} pairs of reads, {says}")

    def drive(url: str, seconds: float = SECONDS) -> Load:
        return load.drive(url, operation, connections=CONNECTIONS, seconds=seconds, keys=KEYS)

    for url in (etcd.url, replica.url):
        drive(url, 1.0)
    pairs = [(drive(etcd.url), drive(replica.url)) for _ in range(PAIRS)]
    title = f"{says}, {connections_text(CONNECTIONS)}, all cores, load generator in Go"
    return compare_loads(pairs, name=operation, title=title)
