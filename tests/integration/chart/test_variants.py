"""Every value of the chart: that it does something, and that a real API server takes what comes of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart_values import VALUES, leaves
from tests.support.cluster import CHART, Cluster

# A value that differs from the default, and, where it would do nothing alone, what it needs.
VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "crds.enabled": (False, {}),
    "crds.keep": (False, {}),
    "image.repository": ("registry.example/kv", {}),
    "image.tag": ("v9", {}),
    "image.digest": ("sha256:" + "0123456789abcdef" * 4, {}),
    "image.pullPolicy": ("Always", {}),
    "imagePullSecrets": ([{"name": "pull"}], {}),
    "replicaImage": ("registry.example/kv:1", {}),
    "replicas": (1, {}),
    "podDisruptionBudget.enabled": (False, {}),
    "watchNamespaces": (["default"], {}),
    "workers": (3, {}),
    "resyncSeconds": (60, {}),
    "logLevel": ("debug", {}),
    "rbac.create": (False, {}),
    "rbac.aggregateRoles": (False, {}),
    "rbac.outliveNamespaces": (True, {"watchNamespaces": ["default"]}),
    "serviceAccount.create": (False, {}),
    "serviceAccount.name": ("mine", {}),
    "serviceAccount.annotations": ({"eks.amazonaws.com/role-arn": "arn"}, {}),
    "httpPort": (9999, {}),
    "metrics.service.enabled": (True, {}),
    "metrics.service.annotations": ({"prometheus.io/scrape": "true"}, {"metrics.service.enabled": True}),
    "metrics.podMonitor.enabled": (True, {}),
    "metrics.podMonitor.interval": ("5s", {"metrics.podMonitor.enabled": True}),
    "metrics.podMonitor.labels": ({"release": "prometheus"}, {"metrics.podMonitor.enabled": True}),
    "resources": ({"limits": {"cpu": 1}}, {}),
    "podSecurityContext": ({"runAsUser": None, "runAsGroup": None, "fsGroup": None}, {}),
    "securityContext": ({"readOnlyRootFilesystem": False}, {}),
    "podLabels": ({"team": "kv"}, {}),
    "podAnnotations": ({"note": "1"}, {}),
    "nodeSelector": ({"disk": "none"}, {}),
    "tolerations": ([{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}], {}),
    "affinity": ({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}, {}),
    "topologySpreadConstraints": ([], {}),
    "priorityClassName": ("system-cluster-critical", {}),
}


def nest(values: dict[str, Any]) -> dict[str, Any]:
    """Values by dotted paths, as a file of values has them."""
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *parents, name = path.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return nested


def render(cluster: Cluster, folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What `helm template` makes of the values, in a namespace that every cluster has."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(nest(values)))
    words = ("template", "variant", str(CHART), "--namespace", "default", "--kube-version", "1.34.0")
    return [m for m in yaml.safe_load_all(cluster.helm(*words, "--values", str(file))) if m]


def test_there_is_a_variant_of_every_value() -> None:
    assert set(VARIANTS) == set(leaves(VALUES))


@pytest.mark.parametrize("path", VARIANTS)
def test_a_value_does_something_and_a_real_api_server_takes_it(cluster: Cluster, path: str, tmp_path: Path) -> None:
    value, needs = VARIANTS[path]
    manifests = render(cluster, tmp_path, {**needs, path: value})
    assert manifests != render(cluster, tmp_path, needs)
    known = [m for m in manifests if m["kind"] not in ("PodMonitor", "CustomResourceDefinition")]
    words = ("apply", "--dry-run=server", "--validate=strict", "--filename", "-")
    taken = cluster.kubectl(*words, stdin=yaml.safe_dump_all(known))
    assert taken.count("server dry run") == len(known)
