"""The testbeds that the checks run on: a large one for all of them, and a name for those of single tests."""

from collections.abc import Iterator

import pytest

from tests.testbed.verify.bed import Bed, Manifest, nodes_of, wait_for

IMAGE = "localhost/python:3.11-bookworm"
_LABELS = {"app": "web"}


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """A testbed of three nodes and three brokers."""
    bed = Bed("verify")
    bed.up(nodes=3, brokers=3)
    yield bed
    bed.call("down")


@pytest.fixture
def other() -> Iterator[Bed]:
    """The name of another testbed, which the test brings up; it is removed afterwards."""
    other = Bed("verifyother")
    yield other
    other.call("down")


@pytest.fixture(scope="session")
def web(bed: Bed) -> str:
    """A Deployment of three pods, one on each node, behind the Service `web`; the selector of its pods."""
    metadata = {"name": "web"}
    container: Manifest = {
        "name": "web",
        "image": IMAGE,
        "command": ["python3", "-u", "-m", "http.server", "8080", "--directory", "/etc"],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _LABELS},
        "matchLabelKeys": ["pod-template-hash"],
    }
    pod = {
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 2,
        "topologySpreadConstraints": [spread],
        "containers": [container],
    }
    selector = {"matchLabels": _LABELS}
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subject = {"kind": "ServiceAccount", "name": "web", "namespace": "default"}
    bed.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [subject],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 3, "selector": selector, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": _LABELS, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"minAvailable": 2, "selector": selector},
        },
    )
    wait_for(lambda: nodes_of(bed.ready_pods("app=web")) == ["node1", "node2", "node3"], "a web pod on each node")
    return "app=web"
