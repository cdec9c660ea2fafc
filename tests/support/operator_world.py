"""A reconciler among fakes: everything that one needs to see what a pass does."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from sharedlogkv_operator.desired import parse_peer_secret
from sharedlogkv_operator.mode_change import parse_template_mode
from sharedlogkv_operator.reconcile import Reconciler, Result
from sharedlogkv_operator.scaling import ScalingBoard
from sharedlogkv_operator.status import Condition, Truth, parse_conditions
from tests.support.operator_fakes import FakeKafka, FakeKube, FakeReplicas, Interfere, never
from tests.support.operator_objects import build_resource_body

Manifest = dict[str, Any]

START = datetime(2026, 1, 1, tzinfo=UTC)
WRITES = frozenset(
    {"apply_child", "create_child", "delete_child", "write_status", "write_finalizers", "post_event"}
    | {"annotate_pod", "remove_annotation", "scale_deployment"}
    | {"create_topic", "alter_topic", "delete_topic"}
)


class World:
    """A Kubernetes cluster, a Kafka cluster and replicas, all fake, and a reconciler between them."""

    def __init__(self, *, brokers: int = 3, interfere: Interfere = never) -> None:
        self.kube = FakeKube(interfere)
        self.kafka = FakeKafka(brokers=brokers, interfere=interfere)
        # One list for both, so that the order between them shows.
        self.kafka.calls = self.kube.calls
        self.replicas = FakeReplicas()
        self.scalings = ScalingBoard()
        self.now = START
        self.reconciler = self.build_reconciler()

    def build_reconciler(self) -> Reconciler:
        """Another process's reconciler, in the same world."""
        return Reconciler(
            self.kube,
            self.kafka,
            replica_client=self.replicas,
            default_image="image:1",
            scalings=self.scalings,
            instance="operator-1",
            now=lambda: self.now,
        )

    def create(self, **arguments: Any) -> None:
        """Creates the resource `demo/store`; arguments as for `build_resource_body`."""
        self.kube.put(build_resource_body(**arguments))

    async def reconcile(self) -> Result:
        """One pass over it."""
        return await self.reconciler.reconcile("demo", "store")

    @property
    def body(self) -> Manifest:
        """The resource as it is."""
        return self.kube.resources["demo", "store"]

    @property
    def status(self) -> Manifest:
        """Its status."""
        found: Manifest = self.body["status"]
        return found

    def is_gone(self) -> bool:
        """Whether it no longer exists."""
        return ("demo", "store") not in self.kube.resources

    def condition(self, type_: str) -> Condition:
        """One of its conditions."""
        return parse_conditions(self.body)[type_]

    @property
    def deployment(self) -> Manifest | None:
        """Its Deployment, if there is one."""
        return self.kube.children.get(("Deployment", "demo", "store"))

    @property
    def write_mode(self) -> str | None:
        """The write mode in which the Deployment makes its pods."""
        return None if self.deployment is None else parse_template_mode(self.deployment)

    def serve(self) -> None:
        """Makes the Deployment have all its replicas, as a cluster would."""
        deployment = self.deployment
        assert deployment is not None
        count = deployment["spec"]["replicas"]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count),
        }

    def add_pod(self, name: str, *, ip: str, is_ready: bool) -> None:
        """Adds a running pod of the Deployment, in its present template."""
        deployment = self.deployment
        assert deployment is not None
        metadata = {
            "namespace": "demo",
            "name": name,
            "labels": dict(deployment["spec"]["template"]["metadata"]["labels"]),
            "ownerReferences": [{"kind": "ReplicaSet", "name": name.rpartition("-")[0]}],
        }
        status = {
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": str(is_ready)}],
            "containerStatuses": [{"state": {"running": {}}}],
        }
        spec = copy.deepcopy(deployment["spec"]["template"]["spec"])
        self.kube.pods.append({"metadata": metadata, "spec": spec, "status": status})

    def annotate(self, annotations: dict[str, str]) -> None:
        """Annotates the resource, as a user would."""
        self.body["metadata"].setdefault("annotations", {}).update(annotations)

    @property
    def peer_secret(self) -> str | None:
        """What the replicas share; None if there is no such Secret."""
        secret = self.kube.children.get(("Secret", "demo", "store-peers"))
        return None if secret is None else parse_peer_secret(secret)

    @property
    def last_event(self) -> Manifest:
        """The event that was posted last."""
        return list(self.kube.events.values())[-1]

    @property
    def event_reasons(self) -> list[str]:
        """The reasons of the events posted so far."""
        return [event["reason"] for event in self.kube.events.values()]

    def take_writes(self) -> list[str]:
        """The calls since the last time that changed something, or tried to."""
        writes = [call for call in self.kube.calls if call in WRITES]
        self.kube.calls.clear()
        return writes

    def wait(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += timedelta(seconds=seconds)


async def settled(**arguments: object) -> World:
    """A world in which the resource is Ready."""
    world = World()
    world.create(**arguments)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    world.take_writes()
    return world


def failing(call: str, error: Exception) -> Interfere:
    """Makes every call of that name fail."""

    def interfere(moment: str) -> None:
        if moment == f"before {call}":
            raise error

    return interfere


def set_interference(world: World, interfere: Interfere) -> None:
    """Has that interfere with every call from now on."""
    world.kube.interfere = world.kafka.interfere = interfere
