"""The image as it stands, without the operator."""

from tests.support.cluster import Cluster, Pod, parse_pod
from tests.support.waiting import wait_until


def test_the_image_serves_from_memory_whatever_its_user_on_a_read_only_file_system(
    cluster: Cluster, namespace: str
) -> None:
    """A first try names no command; OpenShift gives every namespace user ids of its own."""
    container = {
        "name": "first-try",
        "image": cluster.environment.image,
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9090}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 1_000_660_000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    metadata = {"name": "first-try", "labels": {"app.kubernetes.io/component": "replica"}}  # for the diagnosis
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}},
        namespace=namespace,
    )

    def ready() -> Pod | None:
        pod = parse_pod(cluster.get("pod", "first-try", namespace=namespace))
        return pod if pod.is_ready else None

    pod = wait_until(ready, what="the pod is Ready", timeout_seconds=60, every_seconds=0.25)
    with cluster.clients([pod], namespace=namespace) as (client,):
        assert client.put(b"key", b"value").status == 204
        assert client.get(b"key", consistency="linearizable").body == b"value"
    words = ("exec", "first-try", "--", "python3", "-c")
    installed = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    names = cluster.kubectl(*words, installed, namespace=namespace).split()
    assert "sharedlogkv" in names
    assert not {"pip", "setuptools", "pytest", "mypy"} & set(names)
