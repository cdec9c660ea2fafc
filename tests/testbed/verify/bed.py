"""A testbed as the checks of this folder use it: its own program and kubectl, from outside its namespaces."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.commands import run
from tests.support.waiting import wait_until
from tests.testbed import layout

Manifest = dict[str, Any]

REPOSITORY = layout.REPOSITORY
IN_CLIENT = Path(__file__).parent / "in_client.py"


class Bed:
    """One instance, by its name."""

    def __init__(self, name: str) -> None:
        self.instance = layout.Instance(name)
        self._words = (str(layout.PROGRAM), "--name", name)

    def call(self, *words: str, stdin: str | None = None, seconds: float = 100) -> str:
        """Run a command of the testbed; CommandFailed when it fails."""
        return run(*self._words, *words, stdin=stdin, timeout_seconds=seconds)

    def up(self, *, nodes: int, brokers: int) -> str:
        """Bring the instance up."""
        return self.call("up", "--nodes", str(nodes), "--brokers", str(brokers))

    def fault(self, *words: str) -> None:
        """Break or mend something."""
        self.call("fault", *words)

    def sh(self, *words: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run a program on the client host."""
        return self.call("sh", *words, stdin=stdin, seconds=seconds)

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl on the client host."""
        return self.sh("kubectl", *words, stdin=stdin, seconds=seconds)

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def in_client(self, action: str, *words: str, seconds: float = 60) -> str:
        """Run an action of `in_client.py` on the client host."""
        return self.sh(sys.executable, str(IN_CLIENT), action, *words, seconds=seconds)

    @contextmanager
    def started(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command of the testbed beside the test, with its output in a pipe."""
        with subprocess.Popen(
            [*self._words, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ready_pods(self, selector: str) -> list[Manifest]:
        """Return the pods that a selector selects, are Ready, and are not on their way out."""
        pods = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and is_true(pod, "Ready")]

    def node_is_ready(self, name: str) -> bool:
        """Return whether the control plane takes a node for Ready."""
        return is_true(json.loads(self.kubectl("get", "node", name, "-o", "json")), "Ready")


def is_true(thing: Manifest, condition: str) -> bool:
    """Return whether a condition of an object is True."""
    return any(c["type"] == condition and c["status"] == "True" for c in thing["status"].get("conditions", []))


def nodes_of(pods: Sequence[Manifest]) -> list[str]:
    """Return the nodes that pods are on, sorted."""
    return sorted(pod["spec"]["nodeName"] for pod in pods)


def traces(instance: layout.Instance) -> list[str]:
    """Return what bears an instance's name: processes, mounts, namespaces, cgroups, routes, folders."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"/{instance.name}/" in line]
    namespaces = [str(path) for path in Path("/run/netns").glob(instance.namespace("*"))]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{instance.cgroup}")]
    routes = [line for line in run("ip", "route").splitlines() if line.endswith(f"metric {instance.route_metric} ")]
    folders = [str(instance.run)] if instance.run.exists() else []
    processes = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"{instance.run}/".encode() in _read(path) and path.parent.name != str(os.getpid())
    ]
    return [*mounts, *namespaces, *groups, *routes, *folders, *processes]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


def wait_for(probe: Any, what: str, *, seconds: float = 60) -> Any:
    """Wait until a probe is true, at the pace of kubectl."""
    return wait_until(probe, what=what, timeout_seconds=seconds, every_seconds=0.3)
