"""Others scale a store through its scale subresource: a real HorizontalPodAutoscaler, by the replicas' own metric."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.cluster import REPOSITORY, Cluster, condition_of
from tests.support.custom_metrics import METRIC, custom_metrics
from tests.support.environment import Environment
from tests.support.readers import Readers
from tests.support.store import Store
from tests.support.waiting import wait_until
from tests.testbed.layout import CLIENT_IP


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_the_horizontal_pod_autoscaler_of_the_example_scales_a_store_by_the_requests_that_its_replicas_get(
    make_store: Callable[[str], Store], cluster: Cluster, environment: Environment, namespace: str, tmp_path: Path
) -> None:
    if not environment.testbed:
        pytest.fail("the API server must reach this machine: deselect it on a cluster of yours by -m 'not faults'")
    resource, autoscaler = yaml.safe_load_all((REPOSITORY / "examples/autoscaled-by-others.yaml").read_text())
    assert autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == METRIC
    store = make_store(resource["metadata"]["name"])
    store.apply(replicas=2, autoscaling=resource["spec"]["autoscaling"], writeMode="Leaderless")
    store.await_ready()
    with store.clients() as clients:
        assert clients[0].put(b"key", b"value").status == 204

    # The example, but for fewer requests and replicas than it is made for.
    autoscaler["spec"]["maxReplicas"] = 3
    autoscaler["spec"]["metrics"][0]["pods"]["target"]["averageValue"] = "10"
    with (
        custom_metrics(store, address=CLIENT_IP, folder=tmp_path),
        Readers(store.through_service(), "/v1/kv/key", clients=2, rest=0.02) as readers,
    ):
        cluster.apply(autoscaler, namespace=namespace)
        wait_until(
            lambda: store.get()["spec"].get("replicas") == 3,
            what="it asks for three replicas",
            timeout_seconds=120,
            every_seconds=0.5,
        )
        store.await_pods(3)
    assert readers.failures == []
    active = condition_of(store.await_ready(), "ScalingActive")
    assert (active["status"], active["reason"]) == ("True", "External")
    found = cluster.get("hpa", autoscaler["metadata"]["name"], namespace=namespace)
    assert condition_of(found, "ScalingActive")["reason"] == "ValidMetricFound"
