"""One SharedLogKV on a real API server and a real Kafka, and the reconciler that looks after it."""

from typing import Any

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.reconcile import Reconciler, Result
from sharedlogkv_operator.topic import CreateTopic, build_topic_config
from tests.support.kubernetes import KubeApi, build_store, condition
from tests.support.operator_objects import build_resource

Manifest = dict[str, Any]

CHILDREN = ("Deployment", "Service", "PodDisruptionBudget", "Secret")
"""Their kinds, with a leader."""

NO_NODE = {"nodeSelector": {"sharedlog.dev/nodes": "none"}}
"""Part of a pod template by which no kubelet, where the cluster has some, takes a pod and writes its status."""


class Store:
    """One SharedLogKV, its topic, and the reconciler that looks after it."""

    def __init__(
        self,
        api: KubeApi,
        reconciler: Reconciler,
        *,
        namespace: str,
        topic: str,
        servers: str,
        name: str = "store",
    ) -> None:
        self.api = api
        self.reconciler = reconciler
        self.namespace = namespace
        self.name = name
        self.topic = topic
        self.servers = servers

    async def create(
        self, *, topic: Manifest | None = None, servers: str = "", metadata: Manifest | None = None, **spec: Any
    ) -> Manifest:
        """It, just created, its pods for no node; `topic` adds to the topic's fields, `metadata` to its own."""
        fields = {"name": self.topic, "replicationFactor": 1, "minInSyncReplicas": 1, **(topic or {})}
        spec = {"podTemplate": NO_NODE, **spec, "topic": fields}
        store = build_store(self.namespace, self.name, servers=servers or self.servers, **spec)
        store["metadata"] |= metadata or {}
        return await self.api.create("SharedLogKV", store)

    async def change(self, **spec: Any) -> None:
        """Changes fields of its spec."""
        await self.api.patch("SharedLogKV", self.namespace, self.name, {"spec": spec})

    def beside(self, name: str, *, namespace: str = "") -> "Store":
        """Another store of the same topic."""
        return Store(
            self.api,
            self.reconciler,
            namespace=namespace or self.namespace,
            topic=self.topic,
            servers=self.servers,
            name=name,
        )

    async def annotate(self, annotations: dict[str, str | None]) -> None:
        """Annotates it; None takes an annotation off."""
        change = {"metadata": {"annotations": annotations}}
        await self.api.patch("SharedLogKV", self.namespace, self.name, change)

    async def annotations(self) -> dict[str, str]:
        """Its annotations."""
        found: dict[str, str] = (await self.read())["metadata"].get("annotations", {})
        return found

    def name_child(self, kind: str) -> str:
        """The name of its child of that kind, or its own."""
        return f"{self.name}-peers" if kind == "Secret" else self.name

    async def delete(self) -> None:
        """Deletes it; its children go by themselves."""
        await self.api.delete("SharedLogKV", self.namespace, self.name, propagationPolicy="Background")

    async def reconcile(self) -> Result:
        """One pass."""
        return await self.reconciler.reconcile(self.namespace, self.name)

    async def read(self, kind: str = "SharedLogKV") -> Manifest:
        """It, or its child of that kind."""
        body = await self.api.get(kind, self.namespace, self.name_child(kind))
        assert body is not None, f"there is no {kind}"
        return body

    async def condition(self, type_: str) -> tuple[str, str]:
        """A condition's status and reason."""
        found = condition(await self.read(), type_)
        return found["status"], found["reason"]

    async def message(self) -> str:
        """Why it is Ready, or is not."""
        return str(condition(await self.read(), "Ready")["message"])

    async def pinned_id(self) -> str:
        """The id of the topic that it is bound to."""
        return str((await self.read())["status"]["topic"]["id"])

    async def children(self) -> set[str]:
        """The kinds of children that there are."""
        return {
            kind for kind in CHILDREN if await self.api.get(kind, self.namespace, self.name_child(kind)) is not None
        }

    async def events(self) -> list[str]:
        """The reasons of its events."""
        events = await self.api.list("Event", self.namespace)
        return [event["reason"] for event in events if event["involvedObject"]["name"] == self.name]

    async def exists(self) -> bool:
        """Whether it is still there."""
        return await self.api.get("SharedLogKV", self.namespace, self.name) is not None


async def add_topic(admin: ConfluentAdmin, name: str, **changes: str) -> str:
    """Creates a topic as the operator would, with these settings changed; its id."""
    spec = build_resource(spec={"topic": {"replicationFactor": 1, "minInSyncReplicas": 1}}).spec.topic
    settings = {**build_topic_config(spec), **{key.replace("_", "."): value for key, value in changes.items()}}
    await admin.create_topic(CreateTopic(name, 1, settings))
    found = await admin.describe_topic(name)
    assert found is not None
    return found.id


async def applied_mark(store: Store, kind: str) -> object:
    """When and what our field manager last wrote to the child; its controller's writes don't count."""
    fields = (await store.read(kind))["metadata"]["managedFields"]
    (ours,) = [field for field in fields if field["manager"] == "sharedlogkv-operator"]
    assert ours["operation"] == ("Update" if kind == "Secret" else "Apply")
    return ours


async def is_absent(admin: ConfluentAdmin, topic: str) -> bool:
    """Whether there is no such topic."""
    return await admin.describe_topic(topic) is None
