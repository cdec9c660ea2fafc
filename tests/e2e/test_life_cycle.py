"""What a store goes through in its life, on real nodes: drains, hand-overs, hibernation, another write mode."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster import Cluster, condition_of
from tests.support.load import Load
from tests.support.store import Store
from tests.support.waiting import wait_until


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[str]]:
    """The names of the nodes; each takes pods again afterwards."""
    found = [node["metadata"]["name"] for node in json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]]
    yield found
    for node in found:
        cluster.kubectl("uncordon", node)


def leader_of(store: Store) -> str:
    return str(store.get()["status"].get("leader", {}).get("name"))


def assert_nothing_lost(store: Store, load: Load) -> None:
    """Every acknowledged write is at every replica."""
    with store.clients(store.await_pods(3)) as clients:
        for client in clients:
            for record in load.records:
                for key, value in record.acknowledged.items():
                    assert client.get(key, consistency="linearizable").body == value


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_draining_each_node_in_turn_under_load_fails_no_read_twice_and_loses_no_write(
    store: Store, cluster: Cluster, nodes: list[str]
) -> None:
    before = {pod.uid for pod in store.await_pods(3)}
    with Load(store.through_service(), clients=4) as load:
        wait_until(lambda: load.requests > 400 or load.violations, what="the load runs", timeout_seconds=60)
        for node in nodes:
            # Only the store's own pods: others' drains are others' tests.
            words = (f"--pod-selector=sharedlog.dev/cluster={store.name}", "--timeout=150s")
            cluster.kubectl("drain", node, *words, namespace=store.namespace, seconds=170)
            store.await_ready()
            cluster.kubectl("uncordon", node)
        reached = load.requests
        wait_until(lambda: load.requests > reached + 200 or load.violations, what="it goes on", timeout_seconds=60)
    assert load.violations == []
    assert load.read_tries <= 2, load.retried
    assert not before & {pod.uid for pod in store.await_pods(3)}, "a pod was not drained"
    assert_nothing_lost(store, load)


@pytest.mark.timeout(300)
def test_the_leadership_goes_to_the_pod_that_a_person_names_and_no_write_is_lost(store: Store) -> None:
    former = leader_of(store)
    heir = next(pod.name for pod in store.await_pods(3) if pod.name != former)
    with Load(store.through_service(), clients=2) as load:
        wait_until(lambda: load.requests > 100 or load.violations, what="the load runs", timeout_seconds=60)
        store.cluster.kubectl(
            "annotate", "slkv", store.name, f"sharedlog.dev/transfer-leader={heir}", namespace=store.namespace
        )
        wait_until(lambda: leader_of(store) == heir, what=f"{heir} leads", timeout_seconds=60)
        reached = load.requests
        wait_until(lambda: load.requests > reached + 100 or load.violations, what="it goes on", timeout_seconds=60)
    assert load.violations == []
    wait_until(
        lambda: (
            "annotations" not in store.get()["metadata"]
            or "sharedlog.dev/transfer-leader" not in store.get()["metadata"]["annotations"]
        ),
        what="the annotation is taken off",
        timeout_seconds=30,
    )
    assert_nothing_lost(store, load)


@pytest.mark.timeout(400)
def test_a_rollout_takes_the_leader_last_and_never_has_fewer_ready_replicas_than_promised(store: Store) -> None:
    former = leader_of(store)
    before = {pod.uid: pod.name for pod in store.await_pods(3)}
    seen: list[str] = []
    breaches: list[str] = []

    def is_through() -> bool:
        present = store.pods()
        leaders = leader_of(store)
        if leaders != "None" and leaders not in seen[-1:]:
            seen.append(leaders)
        gone = set(before.values()) - {pod.name for pod in present}
        if former in gone and len(gone) < 3:
            breaches.append(f"the leader went before others: {sorted(gone)}")
        ready = [pod.name for pod in present if pod.is_ready and not pod.is_terminating]
        if len(ready) < 3:
            breaches.append(f"only {ready} are ready")
        return not set(before) & {pod.uid for pod in present}

    store.apply(replicas=3, podTemplate={"annotations": {"restarted": "yes"}})
    wait_until(is_through, what="every pod was replaced", timeout_seconds=240)
    store.await_ready()
    assert leader_of(store) not in before.values()
    assert breaches == []
    assert len(seen) <= 2, seen


@pytest.mark.timeout(400)
def test_a_suspended_store_runs_no_pod_and_wakes_with_its_data(store: Store) -> None:
    topic_id = store.get()["status"]["topic"]["id"]
    with store.clients(store.await_pods(3)[:1]) as (client,):
        token = client.put(b"kept", b"value").token
    store.apply(replicas=3, suspend=True)
    wait_until(
        lambda: condition_of(store.get(), "Ready").get("reason") == "Suspended" and not store.pods(),
        what="no pod runs",
        timeout_seconds=120,
    )
    assert store.get()["status"]["topic"]["id"] == topic_id
    store.apply(replicas=3, suspend=False)
    store.await_ready()
    with store.clients(store.await_pods(3)) as clients:
        assert [client.get(b"kept", token=token).body for client in clients] == [b"value"] * 3


@pytest.mark.timeout(500)
def test_a_live_store_changes_its_write_mode_with_reads_going_on_and_every_write_kept(
    make_store: Callable[[str], Store],
) -> None:
    store = make_store("changing")
    store.apply(replicas=3, writeMode="Leaderless")
    store.await_ready()
    with store.clients(store.await_pods(3)[:1]) as (client,):
        tokens = [client.put(b"key-%d" % number, b"value-%d" % number).token for number in range(100)]
    connect = store.through_service()

    def is_read() -> bool:
        """A read, sent once more if its connection fails."""
        for _ in range(2):
            with contextlib.suppress(OSError, http.client.HTTPException), connect() as client:
                return client.get(b"key-99", token=tokens[-1]).body == b"value-99"
        return False

    def is_changed() -> bool:
        reads.append(is_read())
        found = store.get()
        ready = condition_of(found, "Ready")
        reasons.add(str(ready.get("reason")))
        return ready.get("status") == "True" and ready["observedGeneration"] == found["metadata"]["generation"]

    reasons: set[str] = set()
    reads: list[bool] = []
    store.apply(replicas=3, writeMode="Leader")
    wait_until(is_changed, what="the store is Ready in its new mode", timeout_seconds=300)
    assert all(reads), f"{reads.count(False)} of {len(reads)} reads failed"
    assert "WriteModeChanging" in reasons
    assert leader_of(store) in {pod.name for pod in store.await_pods(3)}
    with store.clients(store.await_pods(3)) as clients:
        token = clients[0].put(b"after", b"value").token
        assert [len(client.items()) for client in clients if client.get(b"after", token=token).body] == [101] * 3
