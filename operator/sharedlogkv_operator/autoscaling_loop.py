"""Scales every resource that asks for it: one task that looks at all of them every few seconds.

A look reads the resource and its Deployment fresh, asks every replica, has it decided what to do, and does that at
once. What it decided is told by the next pass over the resource, which is called for. Not a kopf timer, which would put
a finalizer on every resource.

The count is written before it is told. A crash in between leaves a change that nobody judges, and nothing worse. After
a restart replicas are first observed for a while.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.autoscaler.decision import Decision, Rule
from sharedlogkv_operator.autoscaler.observation import Observation, PodObservation
from sharedlogkv_operator.autoscaler.record import load_state
from sharedlogkv_operator.autoscaler.rules import FIRST_SECONDS, decide
from sharedlogkv_operator.autoscaler.state import State
from sharedlogkv_operator.desired import build_selector_text
from sharedlogkv_operator.errors import KubeRefused, OperatorError, ReplicaUnreachable
from sharedlogkv_operator.events import Deed, Event
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.leadership import find_leader
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.pods import DELETION_COST, PodView, view_pods
from sharedlogkv_operator.preview import judge_pause
from sharedlogkv_operator.replica_client import ReplicaClient, ReplicaStatus
from sharedlogkv_operator.reporter import Reporter
from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.scale import is_handed_over, read_replicas
from sharedlogkv_operator.scaling import (
    USELESS,
    Scaling,
    ScalingBoard,
    build_pause,
    build_refusal,
    build_scaling,
    is_worth_telling,
    parse_scaling,
)
from sharedlogkv_operator.spec import Resource

LOOK_SECONDS: Final = 5.0
LIMIT_SECONDS: Final = 30.0
"""The longest a look may take; every call in it has a shorter deadline of its own."""
REFRESH_SECONDS: Final = 60.0
"""A message whose numbers alone have changed is told anew so seldom."""
VICTIM_COST: Final = "-1000"


@dataclass(slots=True)
class Memory:
    """What is remembered of one resource between two looks.

    Attributes:
        uid: of the resource.
        state: what the decision wants remembered.
        told: what was last published; None for nothing.
        told_at: when, in seconds since the epoch.
    """

    uid: str
    state: State
    told: Scaling | None = None
    told_at: float = 0.0


class AutoscalingLoop:
    """The task, and what it remembers."""

    def __init__(
        self,
        kube: KubeClient,
        replica_client: ReplicaClient,
        *,
        board: ScalingBoard,
        reporter: Reporter,
        metrics: Metrics,
        enqueue: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        """Does nothing before `run`.

        Args:
            kube: the API server.
            replica_client: asks replicas for their load.
            board: names the resources, and takes what is to be told of them.
            reporter: posts events.
            metrics: where looks are counted.
            enqueue: calls for a pass over a resource.
            now: the time, with its zone.
        """
        self._kube = kube
        self._replica_client = replica_client
        self._board = board
        self._reporter = reporter
        self._metrics = metrics
        self._enqueue = enqueue
        self._now = now
        self._memories: dict[str, Memory] = {}
        self._ticked_at = time.monotonic()

    @property
    def tick_age_seconds(self) -> float:
        """How long ago the last round of looks began, or the loop was made."""
        return time.monotonic() - self._ticked_at

    async def run(self) -> None:
        """Looks at all resources, round by round, until cancelled."""
        while True:
            self._ticked_at = time.monotonic()
            await self.look_at_all()
            await asyncio.sleep(max(0.0, LOOK_SECONDS - (time.monotonic() - self._ticked_at)))

    async def look_at_all(self) -> None:
        """One round of looks, all at the same time; never fails."""
        keys = self._board.keys
        self._memories = {key: memory for key, memory in self._memories.items() if key in keys}
        await asyncio.gather(*(self._try(key) for key in keys))

    async def _try(self, key: str) -> None:
        """One look; whatever goes wrong in it is this resource's trouble alone, and the next look tries again."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await self.look(key)
        except (OperatorError, TimeoutError) as error:
            self._metrics.scaling_failures.inc()
            log.warning("a look at the replicas failed", resource=key, error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 -- the supervising loop: a bug in one look must not end the others
            self._metrics.scaling_failures.inc()
            log.exception("a look at the replicas met a bug", error, resource=key)
        else:
            self._metrics.scaling_looks.inc()

    async def look(self, key: str) -> None:
        """One look at the resource `key`.

        Raises:
            OperatorError: it can't be looked at, or scaled, now.
        """
        namespace, _, name = key.partition("/")
        body = await self._kube.get_resource(namespace, name)
        resource = None if body is None else parse_resource(body)
        if body is None or resource is None or not _is_ours_to_scale(resource):
            self._board.forget(key)
            return
        if judge_pause(resource) is not None:
            self._memories.pop(key, None)
            return
        memory = self._recall(key, body, resource)
        if resource.annotations.get(names.PAUSE_SCALING_ANNOTATION) == "true":
            memory.state = load_state(parse_scaling(body).get("memory"))
            self._tell(key, memory, build_pause(parse_scaling(body)))
            return
        deployment = await self._kube.get_child("Deployment", namespace, name)
        replicas = None if deployment is None else read_replicas(deployment)
        if deployment is None or replicas is None:  # not made yet
            return
        pods, observation = await self._observe(resource, replicas=replicas)
        now = self._now()
        policy = resource.spec.autoscaling.policy
        decision = decide(observation, policy, memory.state, now=now.timestamp())
        if decision.desired != replicas or not is_handed_over(deployment):
            try:
                await self._scale(resource, deployment, pods=pods, decision=decision, replicas=replicas)
            except KubeRefused as error:
                self._tell(key, memory, build_refusal(decision.desired, str(error), self._previous(memory, body)))
                raise
        memory.state = decision.state
        is_young = now.timestamp() - decision.state.observed_since < FIRST_SECONDS
        if is_young and decision.desired == replicas and parse_scaling(body):
            return  # what an earlier process told still stands
        scaling = build_scaling(decision, self._previous(memory, body), replicas=replicas, now=now)
        before = memory.told
        if self._tell(key, memory, scaling):
            await self._reporter.post(resource.identity, _derive_events(decision, before, replicas=replicas))

    def _recall(self, key: str, body: JsonObject, resource: Resource) -> Memory:
        """What is remembered of the resource; after a restart, what its status holds of that."""
        memory = self._memories.get(key)
        if memory is None or memory.uid != resource.identity.uid:
            state = load_state(parse_scaling(body).get("memory"))
            memory = self._memories[key] = Memory(resource.identity.uid, state)
        return memory

    def _previous(self, memory: Memory, body: JsonObject) -> JsonObject:
        """`status.scaling` as last told, which the resource may not show yet."""
        told = memory.told
        return told.status if told is not None and told.status is not None else parse_scaling(body)

    async def _observe(self, resource: Resource, *, replicas: int) -> tuple[Sequence[PodView], Observation]:
        """What the replicas tell, each asked at the same time."""
        identity = resource.identity
        listed = await self._kube.list_pods(identity.namespace, build_selector_text(identity))
        pods = view_pods(listed, deployment_name=identity.name)
        told = await asyncio.gather(*(self._ask(pod) for pod in pods))
        statuses = {pod.name: status for pod, status in zip(pods, told, strict=True) if status is not None}
        reports = {name: status.leadership for name, status in statuses.items() if status.leadership is not None}
        leader = find_leader(reports).leader
        now = self._now()
        observed = tuple(
            PodObservation(
                name=pod.name,
                is_ready=pod.is_ready,
                age_seconds=(now - pod.created).total_seconds() if pod.created is not None else 0.0,
                is_leader=leader is not None and pod.name == leader.name,
                sample=statuses[pod.name].load if pod.name in statuses else None,
            )
            for pod in pods
        )
        return pods, Observation(replicas, observed)

    async def _ask(self, pod: PodView) -> ReplicaStatus | None:
        """What the pod's replica tells of itself; None where it can't be asked."""
        if pod.ip is None:
            return None
        try:
            return await self._replica_client.read_status(pod.ip)
        except ReplicaUnreachable:
            return None

    async def _scale(
        self,
        resource: Resource,
        deployment: JsonObject,
        *,
        pods: Sequence[PodView],
        decision: Decision,
        replicas: int,
    ) -> None:
        """Has the Deployment ask for as many replicas as decided; those that shall go are marked first."""
        namespace = resource.identity.namespace
        doomed = decision.victims[: max(0, replicas - decision.desired)]
        for pod in pods:
            if pod.name in doomed and pod.deletion_cost != VICTIM_COST:
                await self._kube.annotate_pod(namespace, pod.name, {DELETION_COST: VICTIM_COST})
            elif pod.name not in doomed and pod.deletion_cost == VICTIM_COST:
                await self._kube.annotate_pod(namespace, pod.name, {DELETION_COST: None})
        await self._kube.scale_deployment(deployment, decision.desired)
        if decision.desired != replicas:
            self._metrics.scalings.labels(decision.rule.value).inc()

    def _tell(self, key: str, memory: Memory, scaling: Scaling) -> bool:
        """Publishes what is new, and calls for a pass that writes it; False where nothing is."""
        now = self._now().timestamp()
        is_new = is_worth_telling(scaling, memory.told)
        is_stale = scaling != memory.told and now - memory.told_at >= REFRESH_SECONDS and not _is_steady(scaling)
        if not is_new and not is_stale:
            return False
        memory.told, memory.told_at = scaling, now
        if self._board.publish(key, scaling):
            self._enqueue(key)
        return is_new


def _is_ours_to_scale(resource: Resource) -> bool:
    return resource.spec.is_scaled and resource.identity.deletion_time is None


def _is_steady(scaling: Scaling) -> bool:
    return any(condition.reason == Rule.STEADY.value for condition in scaling.conditions)


def _derive_events(decision: Decision, before: Scaling | None, *, replicas: int) -> tuple[Event, ...]:
    """An event for each change of the count, and for each cause that more replicas can't cure, once."""
    if decision.desired != replicas:
        text = f"{replicas} → {decision.desired} replicas, {decision.rule.value}: {decision.message}"
        return (Event(decision.rule is Rule.INEFFECTIVE, Deed.SCALED.value, text),)
    known = {condition.reason for condition in before.conditions} if before is not None else set()
    if decision.rule in USELESS and decision.rule.value not in known:
        return (Event(True, decision.rule.value, decision.message),)
    return ()
