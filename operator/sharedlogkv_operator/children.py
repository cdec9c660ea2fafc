"""Carries out what is planned for a resource's children, and sees how its replicas are."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.desired import (
    build_deployment,
    build_peer_secret,
    build_pod_disruption_budget,
    build_selector_text,
    build_service,
    parse_bootstrap_servers,
    parse_peer_secret,
)
from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable, ReplicaUnreachable
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kafka_security import parse_applied_security
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.leadership import Leader, find_deletion_costs, find_leader
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.mode_change import Workload, choose_write_mode, parse_template_mode
from sharedlogkv_operator.plan import (
    ApplyChild,
    Child,
    ChildAction,
    CreateChild,
    DeleteChild,
    ForeignChild,
    describe_actions,
    plan_children,
)
from sharedlogkv_operator.pods import DELETION_COST, PodView, view_deployment, view_pods
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_client import ReplicaClient, ReplicaStatus
from sharedlogkv_operator.scale import add_first_replicas, count_replicas, is_handed_over
from sharedlogkv_operator.spec import Identity, Resource, WriteMode
from sharedlogkv_operator.status import Replicas, Verdict

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be done about the children.

    Attributes:
        deployment: the Deployment as it is; None when there is none.
        write_mode: the write mode that replicas are to be in: ReadOnly on the way to another.
        children: every child, as it is wanted and as it is.
        actions: what to do, in order.
    """

    deployment: JsonObject | None
    write_mode: WriteMode
    children: Sequence[Child]
    actions: Sequence[ChildAction]

    def describe(self) -> tuple[str, ...]:
        """The same for people."""
        return describe_actions(self.actions, self.children)


@dataclass(frozen=True, slots=True)
class Applied:
    """The Deployment as it now is, and the write mode that it is in: ReadOnly on the way to another."""

    deployment: JsonObject
    write_mode: WriteMode


class Children:
    """The Deployment, the Service, the PodDisruptionBudget and the Secret of resources."""

    def __init__(self, kube: KubeClient, replica_client: ReplicaClient, *, default_image: str) -> None:
        """Holds no state.

        Args:
            kube: the API server.
            replica_client: asks replicas how they are.
            default_image: the image of replicas whose resource names none.
        """
        self._kube = kube
        self._replica_client = replica_client
        self._default_image = default_image

    async def plan(self, resource: Resource, *, topic_id: str, keeps_brokers: bool) -> Intent | Verdict:
        """What must be done for the children to be what they should be, or the problem that forbids it.

        With `keeps_brokers`, replicas that are there keep the brokers that they have, and their way to log in: those of
        the spec did not show the topic, and a mistyped address or user must not roll out.

        Raises:
            KubeUnavailable, KubeRefused: a child could not be read.
        """
        identity = resource.identity
        present = await self._kube.get_child("Deployment", identity.namespace, identity.name)
        brokers = parse_bootstrap_servers(present) if keeps_brokers and present is not None else None
        write_mode = await self._choose_write_mode(resource, present)
        spec = replace(resource.spec, write_mode=write_mode, replicas=count_replicas(resource.spec, present))
        if present is not None and brokers is not None:
            spec = replace(spec, bootstrap_servers=brokers, kafka_security=parse_applied_security(present))
        present_resource = replace(resource, spec=spec)
        children = await self._look(present_resource, present, topic_id=topic_id)
        actions = plan_children(identity, children)
        if isinstance(actions, ForeignChild):
            return _judge_foreign(actions)
        return Intent(present, write_mode, children, actions)

    async def apply(self, resource: Resource, *, topic_id: str, keeps_brokers: bool) -> Applied | Verdict:
        """Makes the children what they should be; the Deployment as it then is, or the problem that forbids it.

        With `keeps_brokers` as `plan` has it.

        Raises:
            KubeUnavailable, KubeRefused: a child could not be read or written; others may have been.
        """
        intent = await self.plan(resource, topic_id=topic_id, keeps_brokers=keeps_brokers)
        if isinstance(intent, Verdict):
            return intent
        deployment = intent.deployment
        for action in intent.actions:
            await self._hand_over_scale(action, resource, deployment)
            done = await self._carry_out(action, resource.identity)
            if done is not None and done.get("kind") == "Deployment":
                deployment = done
        assert deployment is not None  # it was there, or was applied just now
        return Applied(deployment, intent.write_mode)

    async def observe(self, resource: Resource, applied: Applied) -> Replicas:
        """How the replicas are: by the Deployment, by their pods, and by what they tell; the leader is to go last.

        Raises:
            KubeUnavailable, KubeRefused: the pods can't be listed.
        """
        replicas = await self._observe(resource, applied)
        if replicas.leadership is not None:
            await self._mark_leader(resource.identity, replicas.pods, replicas.leadership.leader)
        return replicas

    async def observe_untouched(self, resource: Resource, deployment: JsonObject) -> Replicas:
        """The same of a Deployment that nothing was applied to, and nothing is changed.

        Raises:
            KubeUnavailable, KubeRefused: the pods can't be listed.
        """
        mode = parse_template_mode(deployment)
        modes = {known.value: known for known in WriteMode}
        return await self._observe(resource, Applied(deployment, modes.get(mode or "", resource.spec.write_mode)))

    async def _observe(self, resource: Resource, applied: Applied) -> Replicas:
        identity = resource.identity
        listed = await self._kube.list_pods(identity.namespace, build_selector_text(identity))
        pods = view_pods(listed, deployment_name=identity.name)
        reports = await asyncio.gather(*(self._ask_replica(pod) for pod in pods))
        told = {pod.name: status for pod, (_, status) in zip(pods, reports, strict=True) if status is not None}
        lags = [
            told[pod.name].lag_seconds for pod in pods if pod.is_ready and pod.name in told and told[pod.name].is_ready
        ]
        leadership = None
        if applied.write_mode is WriteMode.LEADER:
            leadership = find_leader({name: s.leadership for name, s in told.items() if s.leadership is not None})
        return Replicas(
            wanted=count_replicas(resource.spec, applied.deployment),
            deployment=view_deployment(applied.deployment),
            troubles=tuple(dict.fromkeys(trouble for trouble, _ in reports if trouble)),
            lag_seconds=max(lags, default=None),
            pods=pods,
            leadership=leadership,
            foreign_records=max((status.foreign_records for status in told.values()), default=0),
            awaited_mode=resource.spec.write_mode if applied.write_mode is not resource.spec.write_mode else None,
        )

    async def read_peer_secret(self, identity: Identity) -> str | None:
        """What the resource's replicas share; None if there is nothing of that kind.

        Raises:
            KubeUnavailable, KubeRefused: it can't be read.
        """
        secret = await self._kube.get_child("Secret", identity.namespace, names.name_peer_secret(identity.name))
        return None if secret is None else parse_peer_secret(secret)

    async def _choose_write_mode(self, resource: Resource, deployment: JsonObject | None) -> WriteMode:
        """The mode that replicas are to be in now; looks beyond the Deployment only where that has another one."""
        identity, wanted = resource.identity, resource.spec.write_mode
        if deployment is not None and parse_template_mode(deployment) == wanted.value:
            return wanted
        selector = build_selector_text(identity)
        replica_sets = await self._kube.list_replica_sets(identity.namespace, selector)
        pods = await self._kube.list_pods(identity.namespace, selector)
        return choose_write_mode(wanted, Workload(deployment, replica_sets, pods))

    async def _look(self, resource: Resource, deployment: JsonObject | None, *, topic_id: str) -> Sequence[Child]:
        """Every kind of child, as it is wanted and as it is; pods can't start without the Secret, so it comes first."""
        namespace, name = resource.identity.namespace, resource.identity.name
        secret_name = names.name_peer_secret(name)
        secret, service, budget = await asyncio.gather(
            self._kube.get_child("Secret", namespace, secret_name),
            self._kube.get_child("Service", namespace, name),
            self._kube.get_child("PodDisruptionBudget", namespace, name),
        )
        wanted_deployment = build_deployment(resource, topic_id=topic_id, default_image=self._default_image)
        if deployment is None:
            wanted_deployment = add_first_replicas(wanted_deployment, resource.spec.replicas)
        children = [
            Child("Deployment", wanted_deployment, deployment),
            Child("Service", build_service(resource), service),
            Child("PodDisruptionBudget", build_pod_disruption_budget(resource), budget),
        ]
        # Where replicas have no leader it is not made; one that is there stays, for pods that are on their way out.
        if resource.spec.write_mode is WriteMode.LEADER:
            value = (parse_peer_secret(secret) if secret else None) or secrets.token_urlsafe(SECRET_BYTES)
            wanted = build_peer_secret(resource, value=value)
            children.insert(0, Child("Secret", wanted, secret, irreplaceable=True))
        return children

    async def _hand_over_scale(self, action: ChildAction, resource: Resource, deployment: JsonObject | None) -> None:
        """Before a Deployment is applied without its count for the first time, gives that to who scales."""
        if deployment is None or not isinstance(action, ApplyChild) or action.manifest["kind"] != "Deployment":
            return
        if resource.spec.is_scaled and not is_handed_over(deployment):
            await self._kube.scale_deployment(deployment, count_replicas(resource.spec, deployment))

    async def _carry_out(self, action: ChildAction, identity: Identity) -> JsonObject | None:
        """Does it; the child after it, None if it was deleted."""
        match action:
            case ApplyChild(manifest):
                return await self._kube.apply_child(manifest)
            case CreateChild(manifest):
                return await self._kube.create_child(manifest)
            case DeleteChild(kind, uid):
                await self._kube.delete_child(kind, identity.namespace, identity.name, uid=uid)
                return None

    async def _mark_leader(self, identity: Identity, pods: Sequence[PodView], leader: Leader | None) -> None:
        """Has the leader's pod go last, for what it is worth: nothing fails where it can't be marked."""
        for name, cost in find_deletion_costs(pods, leader).items():
            try:
                await self._kube.annotate_pod(identity.namespace, name, {DELETION_COST: cost})
            except (KubeUnavailable, KubeRefused) as error:
                log.warning("a pod's deletion cost was not set", pod=f"{identity.namespace}/{name}", error=str(error))

    async def _ask_replica(self, pod: PodView) -> tuple[str, ReplicaStatus | None]:
        """The pod's trouble (empty for none), and what its replica tells."""
        if pod.trouble or pod.ip is None:
            return pod.trouble, None
        try:
            status = await self._replica_client.read_status(pod.ip)
        except ReplicaUnreachable as error:
            return ("" if pod.is_ready else str(error)), None
        return ("" if status.is_ready else f"{status.reason}: {status.message}"), status


def _judge_foreign(foreign: ForeignChild) -> Verdict:
    what = f"{foreign.kind} {foreign.name}"
    if foreign.leftover:
        text = f"waiting for {what} of a deleted {names.KIND} of this name to be collected"
        return Verdict(Reason.CHILD_TERMINATING, text)
    return Verdict(
        Reason.CHILD_CONFLICT,
        f"{what} exists and belongs to {foreign.owner}; it is not taken over. Delete or rename it, or give this "
        f"{names.KIND} another name.",
    )
