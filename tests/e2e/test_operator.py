"""The operator as the chart installs it: two replicas, of which one works."""

from collections.abc import Callable

from tests.support.cluster import Cluster
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
