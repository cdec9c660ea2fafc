"""A world of fakes in which the operator scales a store, and its replicas work."""

from typing import Any

from sharedlogkv_operator.autoscaler.model import IDLE_CPU
from sharedlogkv_operator.autoscaler.observation import Sample
from sharedlogkv_operator.autoscaling_loop import AutoscalingLoop
from sharedlogkv_operator.leadership import LeaderReport
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.replica_client import ReplicaStatus
from sharedlogkv_operator.reporter import Reporter
from tests.support.operator_objects import build_autoscaling
from tests.support.operator_world import World

Manifest = dict[str, Any]
KEY = "demo/store"
SECONDS = 5


class Scaled(World):
    """A store that the operator scales: a Deployment that has the pods it asks for, and replicas that tell their load.

    Attributes:
        offered: requests a second to all replicas together; each takes 200 µs.
        appended: records a second; each takes 100 µs.
        silent: replicas that can't be asked.
        leader: the pod that leads.
    """

    def __init__(self, **autoscaling: Any) -> None:
        super().__init__()
        self.offered, self.appended = 1_000.0, 2_000.0
        self.silent: set[str] = set()
        self.leader = ""
        self.enqueued: list[str] = []
        self.ages: dict[str, float] = {}
        self.work: dict[str, list[float]] = {}
        self.end = 0.0
        self.made = 0
        behavior = {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 30, "periodSeconds": 10},
        }
        wanted = build_autoscaling(**{"mode": "BuiltIn", "behavior": behavior, **autoscaling})
        self.create(spec={"autoscaling": wanted, "replicas": 2})
        self.restart()

    def restart(self) -> None:
        """Another process of the operator takes over."""
        board = type(self.scalings)()
        self.scalings = board
        self.reconciler = self.build_reconciler()
        reporter = Reporter(self.kube, scalings=board, instance="operator-1", now=lambda: self.now)
        self.metrics = Metrics()
        self.loop = AutoscalingLoop(
            self.kube,
            self.replicas,
            board=board,
            reporter=reporter,
            metrics=self.metrics,
            enqueue=self.enqueued.append,
            now=lambda: self.now,
        )

    @property
    def count(self) -> int:
        """How many replicas the Deployment asks for."""
        assert self.deployment is not None
        found: int = self.deployment["spec"]["replicas"]
        return found

    async def look(self, times: int = 1) -> None:
        """So many looks, each after a few seconds, with the passes that they call for."""
        for _ in range(times):
            self.wait(SECONDS)
            self.follow()
            await self.loop.look(KEY)
            while self.enqueued:
                self.enqueued.pop()
                self.serve()
                await self.reconcile()

    def follow(self) -> None:
        """Has the pods that the Deployment asks for: those of the least cost go first; and all do their work."""
        self.end += self.appended * SECONDS

        def cost(pod: Manifest) -> int:
            return int(pod["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", "0"))

        while len(self.kube.pods) > self.count:
            self.kube.pods.remove(min(self.kube.pods, key=cost))
        while len(self.kube.pods) < self.count:
            self.made += 1
            self.kube.pods.append(self._build_pod(f"store-abc-{self.made}", f"10.0.0.{self.made}"))
        share = self.offered / len(self.kube.pods)
        for pod in self.kube.pods:
            self._work(pod["metadata"]["name"], pod["status"]["podIP"], share)

    def _work(self, name: str, ip: str, share: float) -> None:
        applied, served, uptime = self.work.get(name, [0.0, 0.0, 0.0])
        applied, served, uptime = applied + self.appended * SECONDS, served + share * SECONDS, uptime + SECONDS
        self.work[name] = [applied, served, uptime]
        load = Sample(
            uptime_seconds=uptime,
            position=int(self.end),
            end=int(self.end),
            lag_seconds=0.0,
            apply_cpu_seconds=applied * 100e-6,
            applied_records=int(applied),
            applied_bytes=int(applied) * 100,
            serve_cpu_seconds=served * 200e-6 + uptime * IDLE_CPU,
            served_requests=int(served),
            shed_requests=0,
            cpu_limit=1.0,
        )
        report = LeaderReport(is_leader=name == self.leader, name=self.leader or None, term=1, refusal="")
        status = ReplicaStatus(True, "Serving", "serving", 0.0, leadership=report, load=load)
        if name in self.silent:
            self.replicas.statuses.pop(ip, None)
        else:
            self.replicas.statuses[ip] = status

    def _build_pod(self, name: str, ip: str) -> Manifest:
        labels = {"app.kubernetes.io/component": "replica", "sharedlog.dev/cluster": "store"}
        return {
            "metadata": {
                "name": name,
                "namespace": "demo",
                "labels": labels,
                "creationTimestamp": "2025-12-31T00:00:00Z",
                "ownerReferences": [{"kind": "ReplicaSet", "name": "store-abc"}],
            },
            "status": {
                "podIP": ip,
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"state": {"running": {}}}],
            },
        }


async def begin(**autoscaling: Any) -> Scaled:
    """A store that has been observed for a while."""
    world = Scaled(**autoscaling)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    await world.look(6)
    return world
