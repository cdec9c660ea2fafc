"""Stand-ins for what the operator talks to, which implement its protocols in memory and can fail where one asks.

They keep the contracts of tests/support/kube_contract.py and kafka_contract.py, as the real ones do.
"""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sharedlogkv_operator.errors import KafkaRefused, KubeRefused, KubeUnavailable, ReplicaUnreachable
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.kafka_security import NO_LOGIN, Login
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_client import ReplicaStatus
from sharedlogkv_operator.spec import Identity
from sharedlogkv_operator.topic import CreateTopic, ObservedTopic

Manifest = dict[str, Any]
Interfere = Callable[[str], None]
"""Called with `before NAME` and `after NAME` around each call; may raise, and so make it fail or lose its answer."""

BROKER_DEFAULTS = {
    "cleanup.policy": "delete",
    "min.insync.replicas": "1",
    "message.timestamp.type": "CreateTime",
    "unclean.leader.election.enable": "false",
    "delete.retention.ms": "86400000",
    "max.message.bytes": "1048588",
    "min.compaction.lag.ms": "0",
    "segment.ms": "604800000",
}


def never(_: str) -> None:
    """Interferes with nothing."""


class FakeKube:
    """A `KubeClient`: objects in dicts, resource versions that rise, generations, finalizers, owner references."""

    def __init__(self, interfere: Interfere = never) -> None:
        self.interfere = interfere
        self.resources: dict[tuple[str, str], Manifest] = {}
        self.children: dict[tuple[str, str, str], Manifest] = {}
        self.pods: list[Manifest] = []
        self.replica_sets: list[Manifest] = []
        self.secrets: dict[tuple[str, str], Manifest] = {}
        self.events: dict[str, Manifest] = {}
        self.refusing_namespaces: set[str] = set()  # served, but its resources may not be listed
        self.calls: list[str] = []
        self._versions = itertools.count(100)

    def put(self, body: Manifest) -> None:
        """Adds the resource, or replaces it."""
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        self.resources[metadata["namespace"], metadata["name"]] = copy.deepcopy(body)

    def change_spec(self, namespace: str, name: str, **changes: Any) -> None:
        """Changes fields of the resource's spec, as a user would."""
        body = self.resources[namespace, name]
        body["spec"].update(changes)
        body["metadata"]["generation"] += 1
        self._touch(body)

    def delete(self, namespace: str, name: str, *, now: str = "2026-01-01T00:00:00Z") -> None:
        """Deletes the resource, as a user would."""
        body = self.resources[namespace, name]
        body["metadata"]["deletionTimestamp"] = now
        self._touch(body)
        self._collect(body)

    async def get_resource(self, namespace: str, name: str) -> Manifest | None:
        """See `KubeClient`."""
        with self._call("get_resource"):
            return copy.deepcopy(self.resources.get((namespace, name)))

    async def list_resources(self, *, demands_all: bool = False) -> Sequence[Manifest]:
        """See `KubeClient`."""
        await asyncio.sleep(0)  # as with the real one, others come in between
        with self._call("list_resources"):
            if self.refusing_namespaces and demands_all:
                raise KubeRefused(f"forbidden in the namespace {min(self.refusing_namespaces)}")
            return copy.deepcopy(
                [body for key, body in self.resources.items() if key[0] not in self.refusing_namespaces]
            )

    async def get_child(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """See `KubeClient`."""
        with self._call("get_child"):
            return copy.deepcopy(self.children.get((kind, namespace, name)))

    async def get_secret(self, namespace: str, name: str) -> Manifest | None:
        """See `KubeClient`."""
        with self._call("get_secret"):
            return copy.deepcopy(self.secrets.get((namespace, name)))

    async def apply_child(self, manifest: Manifest) -> Manifest:
        """See `KubeClient`; takes over the whole of the object, but for a count that belongs to who scales."""
        with self._call("apply_child"):
            metadata = manifest["metadata"]
            key = (manifest["kind"], metadata["namespace"], metadata["name"])
            old = self.children.get(key)
            new = copy.deepcopy(manifest)
            seen = metadata.get("resourceVersion")
            if seen is not None and (old is None or old["metadata"]["resourceVersion"] != seen):
                raise KubeUnavailable("the object has been modified")
            kept = old["metadata"] if old else {"uid": f"uid-{next(self._versions)}", "generation": 0}
            new["metadata"] |= {"uid": kept["uid"], "generation": kept["generation"]}
            if old is not None:
                new["metadata"]["resourceVersion"] = kept["resourceVersion"]
                if "status" in old:
                    new["status"] = old["status"]
            if new["kind"] == "Deployment" and "replicas" not in new["spec"]:
                fields = old["metadata"].get("managedFields") if old else None
                if fields:
                    new["metadata"]["managedFields"] = fields
                # As the API server does with a count that nobody owns any more.
                new["spec"]["replicas"] = old["spec"]["replicas"] if old and fields else 1
            if new != old:
                new["metadata"]["generation"] += 1
                self._touch(new)
                self.children[key] = new
            return copy.deepcopy(new)

    async def create_child(self, manifest: Manifest) -> Manifest:
        """See `KubeClient`."""
        with self._call("create_child"):
            metadata = manifest["metadata"]
            key = (manifest["kind"], metadata["namespace"], metadata["name"])
            if key in self.children:
                raise KubeUnavailable("it already exists")
            new = copy.deepcopy(manifest)
            new["metadata"] |= {"uid": f"uid-{next(self._versions)}", "generation": 1}
            self._touch(new)
            self.children[key] = new
            return copy.deepcopy(new)

    async def delete_child(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """See `KubeClient`."""
        with self._call("delete_child"):
            child = self.children.get((kind, namespace, name))
            if child is None:
                return
            if child["metadata"]["uid"] != uid:
                raise KubeUnavailable("the uid in the precondition does not match")
            del self.children[kind, namespace, name]

    async def list_pods(self, namespace: str | None, selector: str) -> Sequence[Manifest]:
        """See `KubeClient`."""
        with self._call("list_pods"):
            return _select(self.pods, namespace, selector)

    async def list_replica_sets(self, namespace: str, selector: str) -> Sequence[Manifest]:
        """See `KubeClient`."""
        with self._call("list_replica_sets"):
            return _select(self.replica_sets, namespace, selector)

    async def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """See `KubeClient`."""
        with self._call("annotate_pod"):
            for pod in self.pods:
                if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name):
                    kept = {**pod["metadata"].get("annotations", {}), **annotations}
                    pod["metadata"]["annotations"] = {key: value for key, value in kept.items() if value is not None}

    async def scale_deployment(self, deployment: Mapping[str, Any], replicas: int) -> None:
        """See `KubeClient`."""
        with self._call("scale_deployment"):
            metadata = deployment["metadata"]
            child = self.children.get(("Deployment", metadata["namespace"], metadata["name"]))
            if child is None or child["metadata"]["uid"] != metadata["uid"]:
                raise KubeRefused("metadata.uid: field is immutable")
            entry = {"manager": "sharedlogkv-autoscaler", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
            child["metadata"]["managedFields"] = [entry]
            if child["spec"]["replicas"] != replicas:
                child["spec"]["replicas"] = replicas
                child["metadata"]["generation"] += 1
                self._touch(child)

    async def remove_annotation(self, identity: Identity, key: str, *, value: str) -> None:
        """See `KubeClient`."""
        with self._call("remove_annotation"):
            body = self.resources.get((identity.namespace, identity.name))
            if body is None:
                return
            metadata = body["metadata"]
            if metadata["uid"] != identity.uid or metadata.get("annotations", {}).get(key) != value:
                raise KubeRefused("testing a value failed")
            del metadata["annotations"][key]
            self._touch(body)

    async def write_status(self, identity: Identity, status: Mapping[str, object]) -> Manifest | None:
        """See `KubeClient`."""
        await asyncio.sleep(0)
        with self._call("write_status"):
            body = self.resources.get((identity.namespace, identity.name))
            if body is None:
                return None
            if body["metadata"]["uid"] != identity.uid:
                raise KubeRefused("the uid is another one")
            if body.get("status") != status:
                body["status"] = copy.deepcopy(dict(status))
                self._touch(body)
            return copy.deepcopy(body)

    async def write_finalizers(self, identity: Identity, finalizers: Sequence[str]) -> Manifest | None:
        """See `KubeClient`."""
        with self._call("write_finalizers"):
            body = self.resources.get((identity.namespace, identity.name))
            if body is None:
                return None
            metadata = body["metadata"]
            if (metadata["uid"], metadata["resourceVersion"]) != (identity.uid, identity.resource_version):
                raise KubeUnavailable("the object has been modified")
            metadata["finalizers"] = list(finalizers)
            self._touch(body)
            self._collect(body)
            return copy.deepcopy(body)

    async def post_event(self, event: Manifest) -> None:
        """See `KubeClient`."""
        with self._call("post_event"):
            name = event["metadata"]["name"]
            earlier = self.events.get(name)
            if earlier is None:
                self.events[name] = copy.deepcopy(event)
            else:
                earlier["count"] += 1
                earlier["lastTimestamp"] = event["lastTimestamp"]

    def _touch(self, body: Manifest) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._versions))

    def _collect(self, body: Manifest) -> None:
        """Removes a deleted resource that no finalizer holds, and what it owns."""
        metadata = body["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return
        del self.resources[metadata["namespace"], metadata["name"]]
        for key, child in list(self.children.items()):
            if child["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]:
                del self.children[key]

    def _call(self, name: str) -> "_Interfered":
        self.calls.append(name)
        return _Interfered(self.interfere, name)


def _select(objects: Sequence[Manifest], namespace: str | None, selector: str) -> list[Manifest]:
    wanted = dict(part.split("=") for part in selector.split(","))
    return [
        copy.deepcopy(item)
        for item in objects
        if namespace in (None, item["metadata"]["namespace"]) and wanted.items() <= item["metadata"]["labels"].items()
    ]


class FakeKafka:
    """A Kafka cluster as a `KafkaAdmin`, and the `KafkaClusters` that lease it."""

    def __init__(self, *, brokers: int = 3, interfere: Interfere = never) -> None:
        self.brokers = brokers
        self.interfere = interfere
        self.topics: dict[str, ObservedTopic] = {}
        self.created = 0
        self.calls: list[str] = []
        self.logins: list[Login] = []

    @asynccontextmanager
    async def lease(self, bootstrap_servers: str, login: Login = NO_LOGIN) -> AsyncIterator[KafkaAdmin]:
        """See `KafkaClusters`."""
        with self._call("lease"):
            self.logins.append(login)
        yield self

    async def describe_topic(self, name: str) -> ObservedTopic | None:
        """See `KafkaAdmin`."""
        await asyncio.sleep(0)
        with self._call("describe_topic"):
            return self.topics.get(name)

    async def count_brokers(self) -> int:
        """See `KafkaAdmin`."""
        with self._call("count_brokers"):
            return self.brokers

    async def create_topic(self, wanted: CreateTopic) -> bool:
        """See `KafkaAdmin`."""
        with self._call("create_topic"):
            if wanted.name in self.topics:
                return False
            if wanted.replication_factor > self.brokers:
                raise KafkaRefused("INVALID_REPLICATION_FACTOR")
            self._check(wanted.config)
            self.add_topic(
                wanted.name, replication_factor=wanted.replication_factor, config={**BROKER_DEFAULTS, **wanted.config}
            )
            return True

    async def alter_topic(self, name: str, settings: Mapping[str, str]) -> None:
        """See `KafkaAdmin`."""
        with self._call("alter_topic"):
            self._check(settings)
            topic = self.topics[name]
            self.topics[name] = replace(topic, config={**topic.config, **settings})

    async def delete_topic(self, name: str) -> None:
        """See `KafkaAdmin`."""
        with self._call("delete_topic"):
            self.topics.pop(name, None)

    def refuse_rights(self, rights: Sequence[str], topic: str) -> KafkaRefused:
        """See `KafkaAdmin`."""
        return KafkaRefused(f"{' and '.join(rights)} on {topic}", reason=Reason.KAFKA_ACCESS_DENIED)

    def add_topic(self, name: str, *, replication_factor: int = 1, config: Mapping[str, str] = BROKER_DEFAULTS) -> str:
        """Adds a topic, as somebody else would; its id."""
        self.created += 1
        id_ = f"id-{self.created}"
        self.topics[name] = ObservedTopic(
            id=id_, partitions=1, replication_factor=replication_factor, config=dict(config)
        )
        return id_

    def limit_rights(self, name: str, *rights: str) -> None:
        """Leaves our user these rights alone on the topic."""
        self.topics[name] = replace(self.topics[name], rights=frozenset(rights))

    def _check(self, settings: Mapping[str, str]) -> None:
        if unknown := set(settings) - set(BROKER_DEFAULTS):
            raise KafkaRefused(f"INVALID_CONFIG: Unknown topic config name: {', '.join(sorted(unknown))}")

    def _call(self, name: str) -> "_Interfered":
        self.calls.append(name)
        return _Interfered(self.interfere, name)


class FakeReplicas:
    """A `ReplicaClient` that tells what is set for an address, and notes which hand-overs it was asked for."""

    def __init__(self) -> None:
        self.statuses: dict[str, ReplicaStatus] = {}
        self.transfers: list[tuple[str, str, str]] = []
        self.transfer_error = ""

    async def read_status(self, ip: str) -> ReplicaStatus:
        """See `ReplicaClient`."""
        try:
            return self.statuses[ip]
        except KeyError:
            raise ReplicaUnreachable("its /status can't be read: nobody is there") from None

    async def transfer_leadership(self, ip: str, *, to: str, secret: str) -> None:
        """See `ReplicaClient`."""
        self.transfers.append((ip, to, secret))
        if self.transfer_error:
            raise ReplicaUnreachable(self.transfer_error)


class _Interfered:
    """Around a call: whoever interferes may fail it before it does anything, or lose its answer afterwards."""

    def __init__(self, interfere: Interfere, name: str) -> None:
        self._interfere = interfere
        self._name = name

    def __enter__(self) -> None:
        self._interfere(f"before {self._name}")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._interfere(f"after {self._name}")
