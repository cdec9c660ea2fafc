"""The cluster that the system tests run on, as a test sees it: manifests, stores, pods, and how to reach them."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import run
from tests.support.environment import Environment
from tests.support.replica_http import ReplicaClient

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

    @contextmanager
    def clients(self, pods: Sequence[Pod], *, namespace: str, port: int = DATA_PORT) -> Iterator[list[ReplicaClient]]:
        """Yield a client of each pod: to its address inside a testbed, elsewhere through `kubectl port-forward`."""
        with ExitStack() as stack:
            addresses = [stack.enter_context(self.address(pod, port, namespace=namespace)) for pod in pods]
            yield [stack.enter_context(ReplicaClient(*address)) for address in addresses]

    @contextmanager
    def address(self, pod: Pod, port: int, *, namespace: str) -> Iterator[tuple[str, int]]:
        """Yield where a pod's port is reached from here, while the context lasts."""
        if self.environment.testbed:
            yield pod.ip, port
            return
        words = ("kubectl", "--namespace", namespace, "port-forward", f"pod/{pod.name}", f":{port}")
        with subprocess.Popen(words, env=self._environ, stdout=subprocess.PIPE, text=True) as forward:
            try:
                assert forward.stdout
                announced = forward.stdout.readline()
                match = re.search(r"127\.0\.0\.1:(\d+) ->", announced)
                assert match, f"kubectl port-forward to {pod.name} said {announced!r}"
                yield "127.0.0.1", int(match.group(1))
            finally:
                forward.terminate()


def image_settings(image: str) -> list[str]:
    """Return the words by which helm installs the chart with this image (`repository:tag` or `repository@digest`)."""
    repository, at, digest = image.partition("@")
    if at:
        return ["--set", f"image.repository={repository}", "--set", f"image.digest={digest}"]
    repository, _, tag = image.rpartition(":")
    return ["--set", f"image.repository={repository}", "--set", f"image.tag={tag}"]


def condition_of(resource: Manifest, kind: str) -> Manifest:
    """Return a resource's condition of this type; empty when it has none yet."""
    conditions: list[Manifest] = resource.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def parse_pod(pod: Manifest) -> Pod:
    """Return what a pod's manifest says."""
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
