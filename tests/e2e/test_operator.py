"""The operator as the chart installs it: two replicas, of which one works."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.cluster import CHART, Cluster
from tests.support.store import Store
from tests.support.waiting import wait_until

RELEASE = "sharedlogkv"
OPERATOR_NAMESPACE = "sharedlogkv-system"


def holder(cluster: Cluster) -> str:
    """The pod that holds the Lease; empty when none does."""
    lease = cluster.get("lease", RELEASE, namespace=OPERATOR_NAMESPACE)
    return str(lease["spec"].get("holderIdentity") or "").rpartition("-")[0]


def test_when_the_operator_that_works_loses_its_pod_the_other_takes_over(
    make_store: Callable[[str], Store], cluster: Cluster
) -> None:
    cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", namespace=OPERATOR_NAMESPACE, seconds=120)
    former = wait_until(lambda: holder(cluster), what="an operator that works", timeout_seconds=60)
    kill = ("--grace-period=0", "--force", "--wait=false")
    cluster.kubectl("delete", "pod", former, *kill, namespace=OPERATOR_NAMESPACE)
    wait_until(lambda: holder(cluster) not in ("", former), what="another that works", timeout_seconds=60)
    store = make_store("settings")
    store.apply(replicas=1)
    store.await_ready()


@pytest.mark.timeout(400)
def test_an_upgrade_of_the_operator_rolls_no_data_pod_and_writes_no_child(store: Store, cluster: Cluster) -> None:
    def children() -> list[tuple[str, str]]:
        kinds = ("deployment", "service", "poddisruptionbudget")
        found = [cluster.get(kind, store.name, namespace=store.namespace) for kind in kinds]
        return [(item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for item in found]

    pods = store.await_pods(3)
    before = children()
    former = wait_until(lambda: holder(cluster), what="an operator that works", timeout_seconds=60)
    words = ("--namespace", OPERATOR_NAMESPACE, "--reuse-values", "--wait", "--timeout=3m")
    cluster.helm("upgrade", RELEASE, str(CHART), *words, "--set", "podAnnotations.upgraded=yes", seconds=200)
    wait_until(lambda: holder(cluster) not in ("", former), what="the next operator works", timeout_seconds=60)
    # It has looked at every store once it carries out a change of one.
    other = Store(cluster, store.namespace, "other", store.brokers)
    other.apply(replicas=1)
    other.await_ready()
    assert children() == before
    assert [(pod.uid, pod.restarts) for pod in store.await_pods(3)] == [(pod.uid, 0) for pod in pods]


@pytest.fixture
def no_operator(cluster: Cluster, store: Store) -> Iterator[None]:
    """None runs during the test; `store` was made before."""

    def scale(replicas: int) -> None:
        where = f"deployment/{RELEASE}"
        cluster.kubectl("scale", where, f"--replicas={replicas}", namespace=OPERATOR_NAMESPACE)
        cluster.kubectl("rollout", "status", where, namespace=OPERATOR_NAMESPACE, seconds=120)

    scale(0)
    wait_until(
        lambda: not cluster.kubectl("get", "pods", "--output=name", namespace=OPERATOR_NAMESPACE).strip(),
        what="the end of the operator",
        timeout_seconds=60,
    )
    yield
    scale(2)


def test_with_the_operator_gone_the_namespace_of_a_store_that_serves_goes_within_a_minute(
    store: Store, no_operator: None, cluster: Cluster
) -> None:
    cluster.kubectl("delete", "namespace", store.namespace, "--timeout=60s", seconds=70)
    cluster.kubectl("create", "namespace", store.namespace)  # which the test's fixtures remove
