"""One `SharedLogKV` resource on a cluster, as a system test handles it."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.cluster import DATA_PORT, REPOSITORY, Cluster, Manifest, Pod, condition_of, parse_pod
from tests.support.replica_http import ReplicaClient
from tests.support.waiting import wait_until

EVERY_SECONDS = 0.25  # each look is a start of kubectl


@dataclass(frozen=True, slots=True)
class Store:
    """A store by its name, whether it exists or not.

    Attributes:
        cluster: Where it is.
        namespace: Its namespace.
        name: The name of the resource.
        brokers: How many brokers Kafka has, so that the topic asks for no more.
    """

    cluster: Cluster
    namespace: str
    name: str
    brokers: int

    @property
    def topic(self) -> str:
        """The name of its topic."""
        return f"{self.namespace}.{self.name}"

    def apply(self, **spec: Any) -> None:
        """Apply examples/minimal.yaml under this name, on this Kafka, with further fields of the spec."""
        manifest = yaml.safe_load((REPOSITORY / "examples/minimal.yaml").read_text())
        manifest["metadata"]["name"] = self.name
        manifest["spec"]["kafka"]["bootstrapServers"] = self.cluster.environment.kafka
        copies = {"replicationFactor": min(3, self.brokers), "minInSyncReplicas": min(2, self.brokers)}
        manifest["spec"] |= {**spec, "topic": {**copies, **spec.get("topic", {})}}
        self.cluster.apply(manifest, namespace=self.namespace)

    def get(self) -> Manifest:
        """Return the resource."""
        return self.cluster.get("slkv", self.name, namespace=self.namespace)

    def delete(self) -> None:
        """Delete the resource and wait until it and its children are gone."""
        self.cluster.kubectl("delete", "slkv", self.name, namespace=self.namespace)
        wait_until(
            lambda: not self.pods() and not self.cluster.exists("deployment", self.name, namespace=self.namespace),
            what=f"the children of {self.name} are gone",
            timeout_seconds=90,
            every_seconds=EVERY_SECONDS,
        )

    def await_ready(self, *, timeout_seconds: float = 120) -> Manifest:
        """Wait until the store is Ready for its present generation; return the resource."""

        def ready() -> Manifest:
            found = self.get()
            condition = condition_of(found, "Ready")
            assert condition.get("status") == "True", found.get("status")
            assert condition["observedGeneration"] == found["metadata"]["generation"], found["status"]
            return found

        what = f"store {self.name} is Ready"
        return wait_until(ready, what=what, timeout_seconds=timeout_seconds, every_seconds=EVERY_SECONDS)

    def pods(self) -> list[Pod]:
        """Return its pods, by name, those on their way out included."""
        words = ("get", "pods", "--selector", f"sharedlog.dev/cluster={self.name}", "--output", "json")
        found = json.loads(self.cluster.kubectl(*words, namespace=self.namespace))["items"]
        return sorted((parse_pod(pod) for pod in found), key=lambda pod: pod.name)

    def await_pods(self, count: int, *, timeout_seconds: float = 120) -> list[Pod]:
        """Wait until it has exactly `count` pods, all Ready and none on its way out; return them."""

        def settled() -> list[Pod]:
            pods = self.pods()
            assert len(pods) == count, pods
            assert all(pod.is_ready and not pod.is_terminating for pod in pods), pods
            return pods

        what = f"store {self.name} has {count} Ready pods"
        return wait_until(settled, what=what, timeout_seconds=timeout_seconds, every_seconds=EVERY_SECONDS)

    @contextmanager
    def clients(self, pods: Sequence[Pod] | None = None, *, port: int = DATA_PORT) -> Iterator[list[ReplicaClient]]:
        """Yield a client of each of the pods, or of every pod."""
        pods = self.pods() if pods is None else pods
        with self.cluster.clients(pods, namespace=self.namespace, port=port) as clients:
            yield clients

    def through_service(self) -> Callable[[], AbstractContextManager[ReplicaClient]]:
        """Return what connects to the Service; outside a testbed, where it can't be reached, to some Ready pod."""
        if self.cluster.environment.testbed:
            spec = self.cluster.get("service", self.name, namespace=self.namespace)["spec"]
            return lambda: ReplicaClient(spec["clusterIP"], spec["ports"][0]["port"])
        return self._some_ready_pod

    @contextmanager
    def _some_ready_pod(self) -> Iterator[ReplicaClient]:
        ready = [pod for pod in self.pods() if pod.is_ready and not pod.is_terminating]
        with self.clients([random.choice(ready)]) as (client,):
            yield client
