"""Replicas are added and taken away by the cause of their lag, on a real cluster; each cause here is a real one."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.e2e.conftest import OPERATOR_NAMESPACE
from tests.support.cluster import ADMIN_PORT, Cluster, Manifest, Pod, condition_of
from tests.support.diagnosis import OPERATOR_SELECTOR
from tests.support.environment import Environment
from tests.support.readers import Readers
from tests.support.store import Store
from tests.support.waiting import wait_until

KEYS = 1_000
PAGE = f"/v1/kv?limit={KEYS}"
"""A read of some milliseconds of CPU."""
CPU = "100m"
TARGET_LAG_SECONDS = 2
MOST_RECORDS = 1_000_000.0
"""More than can be written in a second."""


@pytest.fixture
def make_scaled(make_store: Callable[[str], Store]) -> Callable[..., Store]:
    """Return a store of little CPU that the operator scales, Ready, with some keys."""

    def make(
        *,
        replicas: int,
        name: str = "scaled",
        write_mode: str = "Leaderless",
        down_seconds: int = 20,
        max_lag_seconds: int = 30,
        **autoscaling: Any,
    ) -> Store:
        store = make_store(name)
        behavior = {"scaleDown": {"stabilizationWindowSeconds": down_seconds, "periodSeconds": 5}}
        store.apply(
            replicas=replicas,
            writeMode=write_mode,
            maxLagSeconds=max_lag_seconds,
            resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": CPU}},
            autoscaling={"mode": "BuiltIn", "behavior": behavior, **autoscaling},
        )
        store.await_ready()
        return store

    return make


def count_of(store: Store) -> int:
    """Return how many replicas the store's Deployment is asked for."""
    deployment = store.cluster.get("deployment", store.name, namespace=store.namespace)
    count: int = deployment["spec"]["replicas"]
    return count


def condition(store: Store, kind: str) -> Manifest:
    """Return a condition of the store's scaling."""
    return condition_of(store.get(), kind)


def fill(environment: Environment, store: Store) -> None:
    """Write keys to the store's topic that make a read of all of them cost something."""
    producer = Producer({"bootstrap.servers": environment.kafka, "enable.idempotence": True})
    for number in range(KEYS):
        producer.produce(store.topic, key=b"key-%04d" % number, value=b"\xff" * 200)
    assert producer.flush(60) == 0


@dataclass
class Pace:
    """How many records are written a second; another one may be set at any time."""

    rate: float


@contextmanager
def writing(environment: Environment, store: Store, *, rate: float = math.inf) -> Iterator[Pace]:
    """Write so many records a second to the store's topic, or as many as can be, while the context lasts."""
    stop, pace = threading.Event(), Pace(rate)

    def write() -> None:
        producer = Producer({"bootstrap.servers": environment.kafka, "linger.ms": 20, "acks": "1"})
        number, due, before = 0, 0.0, time.monotonic()
        while not stop.is_set():
            now = time.monotonic()
            due, before = due + min(pace.rate, MOST_RECORDS) * (now - before), now
            if number > due:
                stop.wait(0.01)
                continue
            try:
                producer.produce(store.topic, key=b"key-%04d" % (number % KEYS), value=b"x")
                number += 1
            except BufferError:
                producer.poll(0.01)
        producer.purge()
        producer.flush(10)

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    try:
        yield pace
    finally:
        stop.set()
        thread.join()


def lags(store: Store) -> list[float]:
    """Return the seconds by which each replica is behind, as it tells itself."""
    with store.clients(port=ADMIN_PORT) as clients:
        return [client.request("GET", "/status").json()["log"]["lagSeconds"] for client in clients]


def reads_a_second(readers: Readers, *, seconds: float = 8) -> float:
    """Return how many reads are answered a second, as measured for so long."""
    answered = readers.answered
    time.sleep(seconds)
    return (readers.answered - answered) / seconds


def annotate(store: Store, *annotations: str) -> None:
    """Set annotations of the store's resource, or remove those that end in `-`."""
    store.cluster.kubectl("annotate", "slkv", store.name, *annotations, namespace=store.namespace)


def leader_of(store: Store) -> Manifest:
    """Return who leads, and its term, as the resource tells; empty where nobody does."""
    leader: Manifest = store.get()["status"].get("leader", {})
    return leader


def cgroup_of(pod: Pod) -> Path:
    """Return the control group of a pod of the testbed, of which its containers' are children."""
    (group,) = Path("/sys/fs/cgroup/cpu/slkv-testbed").glob(f"*/node*/kubepods/*/pod{pod.uid}")
    return group


def throttle(pod: Pod, *, cpus: float) -> None:
    """Let a pod of the testbed have no more than so much CPU, beneath Kubernetes, as on an overcommitted node."""
    group = cgroup_of(pod)
    quota = str(int(cpus * int((group / "cpu.cfs_period_us").read_text())))
    for container in group.glob("*/cpu.cfs_quota_us"):  # may not have more than the whole pod
        container.write_text(quota)
    (group / "cpu.cfs_quota_us").write_text(quota)


def freeze(pod: Pod) -> None:
    """Stop every process of a pod of the testbed, as a debugger or a hanging disk would; it may be killed, no more."""
    for processes in cgroup_of(pod).glob("*/cgroup.procs"):
        for process in processes.read_text().split():
            os.kill(int(process), signal.SIGSTOP)


def kill_operator(cluster: Cluster) -> None:
    """Kill the operator, and wait until another one is there."""
    words = ("--selector", OPERATOR_SELECTOR)
    cluster.kubectl("delete", "pods", *words, "--force", "--grace-period=0", namespace=OPERATOR_NAMESPACE)
    cluster.kubectl(
        "wait", "pods", *words, "--for=condition=Ready", "--timeout=90s", namespace=OPERATOR_NAMESPACE, seconds=100
    )


@pytest.mark.timeout(600)
def test_reads_add_replicas_and_their_end_takes_them_away_without_a_failed_read_also_by_an_operator_that_was_killed(
    make_scaled: Callable[..., Store], environment: Environment, cluster: Cluster
) -> None:
    """Also a lag that comes of the reads ends thereby, and whoever leads by then stays, though it came later.

    The readers ask for a fifth more than one replica can answer, which is little for three, beside the writes.
    """
    store = make_scaled(
        replicas=1, minReplicas=1, maxReplicas=3, targetLagSeconds=TARGET_LAG_SECONDS, write_mode="Leader"
    )
    fill(environment, store)
    (first,) = store.await_pods(1)
    connect = store.through_service()
    annotate(store, "sharedlog.dev/pause-scaling=true")
    with Readers(connect, "/v1/kv/key-0001", clients=1, rest=0.05) as few:
        with (
            Readers(connect, PAGE, clients=48) as many,
            writing(environment, store, rate=500) as pace,
        ):
            many.rest = len(many) / (1.2 * reads_a_second(many))

            def is_behind() -> bool:
                (lag,) = lags(store)
                pace.rate *= 1.1 if lag < TARGET_LAG_SECONDS / 4 else 1.02  # not far beyond what one can do
                return lag > TARGET_LAG_SECONDS

            wait_until(is_behind, what="it falls behind", timeout_seconds=150, every_seconds=1)
            print(f"beside the reads one replica fell behind {pace.rate:.0f} records a second")
            annotate(store, "sharedlog.dev/pause-scaling-")
            wait_until(lambda: count_of(store) > 1, what="replicas were added", timeout_seconds=120, every_seconds=0.5)
            kill_operator(cluster)
            # The next operator first waits until the killed one's Lease is over.
            wait_until(lambda: count_of(store) == 3, what="as many as may be", timeout_seconds=240, every_seconds=0.5)
            store.await_pods(3)
            wait_until(
                lambda: max(lags(store)) < TARGET_LAG_SECONDS,
                what="all catch up, under the same load",
                timeout_seconds=120,
                every_seconds=0.5,
            )
        resource = store.await_ready()
        reasons = {change["reason"] for change in resource["status"]["scaling"]["changes"]}
        assert reasons <= {"ReadSteal", "CatchUp"}
        heir = next(pod.name for pod in store.pods() if pod.name != first.name)
        annotate(store, f"sharedlog.dev/transfer-leader={heir}")
        wait_until(lambda: leader_of(store).get("name") == heir, what=f"{heir} leads", timeout_seconds=20)
        leader = leader_of(store)
        assert count_of(store) == 3, "it leads before any replica is taken away"
        wait_until(lambda: count_of(store) == 1, what="they were taken away", timeout_seconds=180, every_seconds=0.5)
        (last,) = store.await_pods(1)
        assert few.answered > 0
    assert (last.name, leader_of(store)) == (heir, leader)
    assert few.failures == []
    assert many.failures == []
    changes = store.await_ready()["status"]["scaling"]["changes"]
    assert [(change["from"], change["to"]) for change in changes[:2]] == [(2, 1), (3, 2)], "one at a time"


@pytest.mark.timeout(300)
def test_writes_that_no_replica_keeps_up_with_add_none_and_the_reason_is_told(
    make_scaled: Callable[..., Store], environment: Environment
) -> None:
    store = make_scaled(replicas=1, minReplicas=1, maxReplicas=3)
    with writing(environment, store):

        def told() -> Manifest | None:
            effective = condition(store, "ScalingEffective")
            return effective if effective.get("reason") == "WriteBound" else None

        effective = wait_until(told, what="it is told that writes are too many", timeout_seconds=150, every_seconds=0.5)
        assert effective["status"] == "False"
        assert "more replicas can't help" in effective["message"]
        assert count_of(store) == 1
    assert "changes" not in store.get()["status"]["scaling"]


@pytest.mark.timeout(300)
def test_replicas_that_can_t_be_asked_are_left_alone_until_they_can(
    make_store: Callable[[str], Store], make_scaled: Callable[..., Store], cluster: Cluster, namespace: str
) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "data-port-alone"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 8080}]}]},
    }
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(policy), namespace=namespace)
    store = make_scaled(replicas=2, minReplicas=1, maxReplicas=3, down_seconds=5)

    def told() -> Manifest | None:
        active = condition(store, "ScalingActive")
        return active if active.get("reason") == "MetricsUnavailable" else None

    active = wait_until(told, what="it is told that they can't be asked", timeout_seconds=60, every_seconds=0.5)
    assert active["status"] == "False"
    until = time.monotonic() + 30  # more than twice of what it would take otherwise

    def is_over() -> bool:
        return count_of(store) != 2 or time.monotonic() > until

    wait_until(is_over, what="the time is over", timeout_seconds=60, every_seconds=1)
    assert count_of(store) == 2
    cluster.kubectl("delete", "networkpolicy", "data-port-alone", namespace=namespace)
    wait_until(lambda: count_of(store) == 1, what="one was taken away", timeout_seconds=90, every_seconds=0.5)


@pytest.mark.timeout(300)
def test_reads_beyond_what_a_replica_can_serve_are_turned_away_before_its_map_is_too_old(
    make_scaled: Callable[..., Store], environment: Environment
) -> None:
    limit_seconds = 8
    store = make_scaled(replicas=1, mode="None", max_lag_seconds=limit_seconds)
    fill(environment, store)
    pods = store.await_pods(1)
    lags: list[float] = []
    with (
        store.clients(pods, port=ADMIN_PORT) as (admin,),
        writing(environment, store, rate=20_000),
        Readers(store.through_service(), PAGE, clients=16) as readers,
    ):

        def shed() -> bool:
            lags.append(admin.request("GET", "/status").json()["log"]["lagSeconds"])
            return readers.retried["503"] > 50

        wait_until(shed, what="reads are turned away", timeout_seconds=150, every_seconds=0.5)
        answered = readers.answered
        wait_until(lambda: shed() and readers.answered > answered + 10, what="others are answered", timeout_seconds=90)
    assert readers.failures == []
    assert max(lags) < limit_seconds
    assert max(lags) > limit_seconds / 4, "it was in time, not too early"


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_replica_that_is_throttled_is_replaced_one_that_is_frozen_is_restarted_and_the_others_are_left_alone(
    make_scaled: Callable[..., Store], environment: Environment
) -> None:
    """Two stores, one for each: that takes no longer than one."""
    if not environment.testbed:
        pytest.fail("this takes CPU from pods of the testbed: deselect it on a cluster of yours by -m 'not faults'")
    first = make_scaled(name="throttled", replicas=2, minReplicas=2, maxReplicas=4, targetLagSeconds=3)
    second = make_scaled(name="frozen", replicas=2, minReplicas=2, maxReplicas=4, targetLagSeconds=3)
    slow, neighbour = first.await_pods(2)
    frozen, other = second.await_pods(2)
    # A replica applies several times as many, also on a slow machine, and one that comes replays them within seconds.
    with writing(environment, first, rate=5_000), writing(environment, second, rate=500):
        wait_until(
            lambda: {condition(store, "ScalingActive").get("reason") for store in (first, second)} == {"Steady"},
            what="all keep up",
            timeout_seconds=90,
            every_seconds=0.5,
        )
        throttle(slow, cpus=0.01)  # its probes and timers take that much
        freeze(frozen)
        told: set[str] = set()

        def is_over() -> bool:
            told.add(condition(second, "ScalingActive")["reason"])
            restarts = {pod.uid: pod.restarts for pod in second.pods()}
            return slow.uid not in {pod.uid for pod in first.pods()} and restarts == {frozen.uid: 1, other.uid: 0}

        wait_until(is_over, what="one was replaced, one restarted", timeout_seconds=200, every_seconds=0.5)
        assert neighbour.uid in {pod.uid for pod in first.await_pods(2)}
        assert {pod.uid for pod in second.await_pods(2)} == {frozen.uid, other.uid}
        found = wait_until(
            lambda: first.get()["status"]["scaling"]["changes"][0]["to"] == 2 and first.get(),
            what="it is told",
            timeout_seconds=30,
            every_seconds=0.5,
        )
    changes = [(change["from"], change["to"], change["reason"]) for change in found["status"]["scaling"]["changes"]]
    assert changes == [(3, 2, "Straggler"), (2, 3, "Straggler")]
    # Whoever answers nobody is no business of the scaling: its probe restarts it, and until then it is waited for.
    assert "changes" not in second.get()["status"]["scaling"]
    assert {"Steady", "Booting"} <= told <= {"Steady", "MetricsUnavailable", "Booting"}
