"""Faults break what they say, and their mending works."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.commands import CommandFailed
from tests.testbed.verify.bed import IN_CLIENT, Bed, nodes_of, wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def whole(bed: Bed) -> Iterator[None]:
    """Before a fault everything is whole."""
    bed.call("status")
    yield
    bed.fault("heal")


def test_a_partitioned_node_loses_its_pods_and_comes_back(bed: Bed, web: str) -> None:
    bed.fault("node-partition", "2")
    await_loss(bed, web, "node2")
    bed.fault("heal", "node2")
    wait_for(lambda: bed.node_is_ready("node2"), "node2 to be Ready")
    await_spread(bed, web)


def test_a_frozen_node_is_missed_and_comes_back(bed: Bed) -> None:
    bed.fault("node-pause", "2")
    wait_for(lambda: not bed.node_is_ready("node2"), "node2 to be missed")
    bed.fault("node-resume", "2")
    wait_for(lambda: bed.node_is_ready("node2"), "node2 to be Ready")


def test_a_node_without_power_loses_its_pods_and_boots_on_its_disk(bed: Bed, web: str) -> None:
    bed.fault("node-kill", "3")
    await_loss(bed, web, "node3")
    bed.fault("node-start", "3")
    assert bed.node_is_ready("node3")
    await_spread(bed, web)


def await_loss(bed: Bed, web: str, node: str) -> None:
    wait_for(lambda: not bed.node_is_ready(node), f"{node} to be missed", seconds=40)

    def replaced() -> bool:
        return sum(name != node for name in nodes_of(bed.ready_pods(web))) >= 3

    wait_for(replaced, "its pods to be replaced")


def await_spread(bed: Bed, web: str) -> None:
    bed.kubectl("rollout", "restart", "deployment/web")
    wait_for(lambda: nodes_of(bed.ready_pods(web)) == ["node1", "node2", "node3"], "a pod on each node")


def test_services_work_without_the_api_server_and_it_comes_back(bed: Bed, web: str) -> None:
    bed.fault("apiserver-stop")
    with pytest.raises(CommandFailed):
        bed.kubectl("get", "--raw", "/readyz")
    code = "import urllib.request; print(urllib.request.urlopen('http://web/hostname', timeout=5).status)"
    assert bed.sh("python3", "-c", code) == "200\n"
    bed.fault("apiserver-start")
    assert bed.kubectl("get", "--raw", "/readyz") == "ok"
    assert bed.ready_pods(web)


def test_any_process_can_be_killed_paused_and_started(bed: Bed) -> None:
    bed.fault("proc-kill", "kubelet-node1")
    with pytest.raises(CommandFailed, match=r"kubelet-node1=[0-9]*\(dead\)"):
        bed.call("status")
    bed.fault("proc-start", "kubelet-node1")
    bed.fault("proc-pause", "coredns")
    bed.fault("proc-resume", "coredns")
    bed.call("status")
    bed.kubectl("get", "nodes")


def test_a_cut_parts_two_hosts_alone(bed: Bed) -> None:
    ping = "import socket, sys; socket.create_connection((sys.argv[1], 9092), 1)"
    bed.fault("cut", "client", "kafka1")
    with pytest.raises(CommandFailed, match=r"timed out"):
        bed.sh("python3", "-c", ping, "198.18.0.21")
    bed.sh("python3", "-c", ping, "198.18.0.22")
    bed.fault("heal", "kafka1")
    bed.sh("python3", "-c", ping, "198.18.0.21")


def test_a_wrong_fault_says_what_there_is(bed: Bed) -> None:
    for words, message in (
        (("broker-kill", "9"), "there is no kafka9; there are"),
        (("broker-kill", "x"), "'x' is no number"),
        (("broker-kill",), "usage: testbed fault broker-kill N"),
        (("node-start", "1"), "node1 runs"),
        (("cut", "client", "mars"), "there is no host mars"),
        (("earthquake",), "invalid choice"),
    ):
        with pytest.raises(CommandFailed, match=message):
            bed.fault(*words)


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("broker-kill", "broker-start"),
        ("broker-pause", "broker-resume"),
        ("broker-partition", "heal"),
        ("broker-stop", "broker-start"),
    ],
)
def test_writes_go_on_without_the_leader_and_it_catches_up(bed: Bed, broken: str, mended: str) -> None:
    topic = f"faults-{broken}-{time.time_ns()}"
    bed.in_client("create", topic, "3")
    acknowledged: list[float] = []
    with bed.started("sh", sys.executable, str(IN_CLIENT), "write", topic) as process:
        assert process.stdout
        lines = process.stdout
        reader = threading.Thread(target=lambda: acknowledged.extend(map(float, lines)))
        reader.start()
        wait_for(lambda: len(acknowledged) > 20, "writes")
        leader = partition(bed, topic)["leader"]
        bed.fault(broken, str(leader))
        wait_for(lambda: partition(bed, topic)["leader"] not in (leader, -1), "another leader", seconds=30)
        before = len(acknowledged)
        wait_for(lambda: len(acknowledged) > before + 20, "writes to go on", seconds=30)
        bed.fault(mended, f"kafka{leader}" if mended == "heal" else str(leader))
        wait_for(lambda: partition(bed, topic)["in_sync"] == 3, "all three in sync", seconds=90)
        process.kill()
        reader.join()
    outage = max(later - earlier for earlier, later in pairwise(acknowledged))
    print(f"{broken}: {len(acknowledged)} writes, the longest outage {outage:.1f} s")
    assert outage < 15


def partition(bed: Bed, topic: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(bed.in_client("partition", topic))
    return found
