"""Linearizable reads at a replica that does not lead, against etcd's at a member that does not: three against three.

Both ask their leader up to where they must have read: etcd by a round of heartbeats among its members, ours by one
question for all reads that wait, which the leader answers under its lease without asking anybody.
"""

from contextlib import ExitStack
from typing import Final

from tests.bench import load
from tests.bench.etcd import Etcd, EtcdCluster
from tests.bench.figures import Figure
from tests.bench.group import Group
from tests.bench.load import Load, compare_loads, connections_text
from tests.bench.replica import Replica
from tests.bench.site import Site

SIZE: Final = 3
KEYS: Final = 100_000
PAIRS: Final = 2
SECONDS: Final = 4.0
CONNECTIONS: Final = (1, 64)


def measure(site: Site) -> list[Figure]:
    """The figures of linearizable reads at a follower."""
    folder = site.folder / "follower-reads"
    folder.mkdir()
    topic = site.create_filled_topic(keys=KEYS, copies=SIZE)
    with ExitStack() as stack:
        etcd = stack.enter_context(EtcdCluster(folder, size=SIZE))
        group = stack.enter_context(Group(site, topic, name="follower-reads", size=SIZE))
        etcd.await_ready()
        member = etcd.follower()
        load.fill(member.url, keys=KEYS)
        group.await_ready()
        replica = group.followers()[0]
        return [_measure(site, member, replica, connections) for connections in CONNECTIONS]


def _measure(site: Site, member: Etcd, replica: Replica, connections: int) -> Figure:
    site.say(f"{PAIRS} pairs of linearizable reads at a follower over {connections_text(connections)}")

    def drive(url: str, seconds: float = SECONDS) -> Load:
        return load.drive(url, "get-linearizable", connections=connections, seconds=seconds, keys=KEYS)

    for url in (member.url, replica.url):
        drive(url, 1.0)
    pairs = [(drive(member.url), drive(replica.url)) for _ in range(PAIRS)]
    title = f"linearizable read at a follower, 3 against 3, {connections_text(connections)}"
    return compare_loads(pairs, name=f"get-linearizable-follower-{connections}", title=title)
