"""The cluster that the system tests run on, as a test sees it: manifests, stores, pods, and how to reach them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import run
from tests.support.environment import Environment
from tests.support.replica_http import ReplicaClient
from tests.support.waiting import wait_until

Manifest = dict[str, Any]

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts/sharedlogkv"
DATA_PORT = 8080
ADMIN_PORT = 9090


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API server showed it."""

    name: str
    uid: str
    ip: str
    is_ready: bool
    is_terminating: bool
    restarts: int


class Cluster:
    """A cluster, through kubectl and helm as a user has them."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._environ = {**os.environ, "KUBECONFIG": environment.kubeconfig}

    def kubectl(self, *words: str, namespace: str | None = None, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl and return its output; CommandFailed when it fails."""
        where = () if namespace is None else ("--namespace", namespace)
        return run("kubectl", *where, *words, stdin=stdin, environ=self._environ, timeout_seconds=seconds)

    def helm(self, *words: str, seconds: float = 180) -> str:
        """Run helm and return its output; CommandFailed when it fails."""
        return run("helm", *words, environ=self._environ, timeout_seconds=seconds)

    def apply(self, manifest: Manifest, *, namespace: str) -> None:
        """Apply a manifest, as `kubectl apply` does."""
        self.kubectl("apply", "--filename", "-", namespace=namespace, stdin=json.dumps(manifest))

    def get(self, kind: str, name: str, *, namespace: str) -> Manifest:
        """Return an object."""
        found: Manifest = json.loads(self.kubectl("get", kind, name, "--output", "json", namespace=namespace))
        return found

    def exists(self, kind: str, name: str, *, namespace: str) -> bool:
        """Return whether there is such an object."""
        return bool(self.kubectl("get", kind, name, "--ignore-not-found", "--output", "name", namespace=namespace))

    def await_ready(self, store: str, *, namespace: str, timeout_seconds: float = 120) -> Manifest:
        """Wait until a store is Ready for its present generation; return it."""

        def ready() -> Manifest | None:
            found = self.get("slkv", store, namespace=namespace)
            condition = condition_of(found, "Ready")
            current = condition.get("observedGeneration") == found["metadata"]["generation"]
            assert condition.get("status") == "True", found.get("status")
            assert current, found.get("status")
            return found

        what = f"store {store} is Ready"
        return wait_until(ready, what=what, timeout_seconds=timeout_seconds, every_seconds=0.25)

    def pods(self, store: str, *, namespace: str) -> list[Pod]:
        """Return the pods of a store, by name, those on their way out included."""
        selector = f"sharedlog.dev/cluster={store}"
        text = self.kubectl("get", "pods", "--selector", selector, "--output", "json", namespace=namespace)
        return sorted((_parse_pod(pod) for pod in json.loads(text)["items"]), key=lambda pod: pod.name)

    def await_pods(self, store: str, count: int, *, namespace: str, timeout_seconds: float = 120) -> list[Pod]:
        """Wait until a store has exactly `count` pods, all Ready and none on its way out; return them."""

        def settled() -> list[Pod] | None:
            pods = self.pods(store, namespace=namespace)
            assert len(pods) == count, pods
            assert all(pod.is_ready and not pod.is_terminating for pod in pods), pods
            return pods

        what = f"store {store} has {count} Ready pods"
        return wait_until(settled, what=what, timeout_seconds=timeout_seconds, every_seconds=0.25)

    @contextmanager
    def clients(self, pods: Sequence[Pod], *, namespace: str, port: int = DATA_PORT) -> Iterator[list[ReplicaClient]]:
        """Yield a client of each pod: to its address inside a testbed, elsewhere through `kubectl port-forward`."""
        forwards: list[subprocess.Popen[str]] = []
        clients: list[ReplicaClient] = []
        try:
            for pod in pods:
                if self.environment.testbed:
                    clients.append(ReplicaClient(pod.ip, port))
                else:
                    forward, local = self._forward(pod, port, namespace=namespace)
                    forwards.append(forward)
                    clients.append(ReplicaClient("127.0.0.1", local))
            yield clients
        finally:
            for client in clients:
                client.close()
            for forward in forwards:
                forward.terminate()
                forward.wait()

    def _forward(self, pod: Pod, port: int, *, namespace: str) -> tuple[subprocess.Popen[str], int]:
        """Start forwarding a free local port to a pod's; return the process, and the port that it announces."""
        words = ("kubectl", "--namespace", namespace, "port-forward", f"pod/{pod.name}", f":{port}")
        forward = subprocess.Popen(words, env=self._environ, stdout=subprocess.PIPE, text=True)
        assert forward.stdout
        announced = forward.stdout.readline()
        match = re.search(r"127\.0\.0\.1:(\d+) ->", announced)
        assert match, f"kubectl port-forward to {pod.name} said {announced!r}"
        return forward, int(match.group(1))


def condition_of(resource: Manifest, kind: str) -> Manifest:
    """Return a resource's condition of this type; empty when it has none yet."""
    conditions: list[Manifest] = resource.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _parse_pod(pod: Manifest) -> Pod:
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    return Pod(
        name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        ip=status.get("podIP", ""),
        is_ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])),
        is_terminating="deletionTimestamp" in pod["metadata"],
        restarts=sum(container["restartCount"] for container in containers),
    )
