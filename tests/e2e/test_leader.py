"""Who leads a store, and what becomes of writes and reads when that changes, on a real cluster."""

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.support.breakage import Fault
from tests.support.cluster import Cluster, Pod, condition_of
from tests.support.replica_http import ReplicaClient
from tests.support.store import Store
from tests.support.waiting import wait_until


def leader_name(store: Store) -> str:
    """Who leads, as the resource's status tells."""
    name = store.get().get("status", {}).get("leader", {}).get("name")
    assert isinstance(name, str), "nobody leads"
    return name


def await_leader(store: Store, *, other_than: str = "") -> str:
    """Wait until the status names a leader, another one than `other_than`; return its name."""

    def named() -> str:
        name = leader_name(store)
        assert name != other_than
        return name

    return wait_until(named, what="the status names the leader", timeout_seconds=60, every_seconds=0.25)


def node_number(cluster: Cluster, store: Store, pod: str) -> str:
    """The number of the testbed's node that a pod is on."""
    node: str = cluster.get("pod", pod, namespace=store.namespace)["spec"]["nodeName"]
    return node.removeprefix("node")


@dataclass
class Readings:
    """What a reader saw that reads one key, over and over, from one replica."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def reading(client: ReplicaClient, key: bytes, value: bytes) -> Iterator[Readings]:
    """Read a key while the context lasts; each answer that is not its value is a failure."""
    seen, stop = Readings(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                reply = client.get(key)
            except OSError as error:
                seen.failures.append(repr(error))
                return
            seen.answers += 1
            if reply.body != value:
                seen.failures.append(f"{reply.status} {reply.body!r}")

    thread = threading.Thread(target=run, name="reading")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def is_written(client: ReplicaClient, key: bytes, value: bytes) -> bool:
    return client.put(key, value).status == 204


def names(pods: list[Pod]) -> set[str]:
    return {pod.name for pod in pods}


@pytest.mark.timeout(300)
def test_one_replica_leads_and_a_condition_holds_whichever_replica_is_asked(store: Store) -> None:
    leader = await_leader(store)
    assert condition_of(store.get(), "LeaderElected")["status"] == "True"
    pods = store.await_pods(3)
    assert leader in names(pods)
    with store.clients(pods) as clients:
        created = [
            client.request("PUT", "/v1/kv/lock", body=b"x", headers={"If-None-Match": "*"}) for client in clients
        ]
        assert sorted(reply.status for reply in created) == [204, 412, 412]
        (written,) = [reply for reply in created if reply.status == 204]
        version = written.headers["etag"]
        assert {reply.headers["etag"] for reply in created} == {version}
        for client in clients:
            assert client.get(b"lock", consistency="linearizable").headers["etag"] == version
        swapped = clients[0].request("PUT", "/v1/kv/lock", body=b"y", headers={"If-Match": version})
        assert swapped.status == 204
        assert clients[1].request("PUT", "/v1/kv/lock", body=b"z", headers={"If-Match": version}).status == 412


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_the_death_of_the_leader_s_node_costs_writes_seconds_and_the_other_replicas_reads_nothing(
    store: Store, cluster: Cluster, fault: Fault
) -> None:
    leader = await_leader(store)
    pods = store.await_pods(3)
    survivors = [pod for pod in pods if pod.name != leader]
    number = node_number(cluster, store, leader)
    assert all(node_number(cluster, store, pod.name) != number for pod in survivors), "one node, one replica"
    with store.clients(survivors) as (writer, reader):
        assert writer.put(b"steady", b"value").status == 204
        token = writer.get(b"steady", consistency="linearizable").token
        assert reader.get(b"steady", token=token).body == b"value"
        with reading(reader, b"steady", b"value") as seen:
            fault("node-kill", number)
            died = time.monotonic()
            wait_until(functools.partial(is_written, writer, b"after", b"1"), what="writes go on", timeout_seconds=60)
            outage_seconds = time.monotonic() - died
            assert writer.get(b"steady", consistency="linearizable").body == b"value"
        assert seen.failures == []
        assert seen.answers > 0
    print(f"writes went on {outage_seconds:.1f} s after the leader's node had died")
    fault("node-start", number)
    assert await_leader(store, other_than=leader)
    store.await_ready(timeout_seconds=200)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_without_an_api_server_writes_go_on_and_another_replica_takes_over(
    store: Store, cluster: Cluster, fault: Fault
) -> None:
    leader = await_leader(store)
    pods = store.await_pods(3)
    number = node_number(cluster, store, leader)
    survivors = [pod for pod in pods if pod.name != leader]
    with store.clients(survivors) as (writer, other):
        fault("apiserver-stop")
        try:
            assert writer.put(b"k", b"1").status == 204
            fault("node-pause", number)
            wait_until(functools.partial(is_written, other, b"k", b"2"), what="writes go on", timeout_seconds=60)
            assert writer.get(b"k", consistency="linearizable").body == b"2"
        finally:
            fault("node-resume", number)
            fault("apiserver-start")
        assert writer.get(b"k", consistency="linearizable").body == b"2", "whoever was frozen has changed nothing"
    store.await_ready(timeout_seconds=200)
