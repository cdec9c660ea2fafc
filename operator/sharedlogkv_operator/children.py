"""Carries out what is planned for a resource's children, and sees how its replicas are."""

import asyncio
from dataclasses import replace

from sharedlogkv_operator import names
from sharedlogkv_operator.desired import (
    build_deployment,
    build_pod_disruption_budget,
    build_selector_text,
    build_service,
    parse_bootstrap_servers,
)
from sharedlogkv_operator.errors import ReplicaUnreachable
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.plan import ApplyChild, Child, ForeignChild, plan_children
from sharedlogkv_operator.pods import PodView, view_deployment, view_pods
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_client import ReplicaClient
from sharedlogkv_operator.spec import Identity, JsonObject, Resource
from sharedlogkv_operator.status import Replicas, Verdict


class Children:
    """The Deployment, the Service and the PodDisruptionBudget of resources."""

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

    async def apply(self, resource: Resource, *, topic_id: str, keeps_brokers: bool) -> JsonObject | Verdict:
        """Makes the children what they should be; the Deployment as it then is, or the problem that forbids it.

        With `keeps_brokers`, replicas that are there keep the brokers that they have: those of the spec did not show
        the topic, and a mistyped address must not roll out.

        Raises:
            KubeUnavailable, KubeRefused: a child could not be read or written; others may have been.
        """
        identity = resource.identity
        if keeps_brokers:
            present = await self._kube.get_child("Deployment", identity.namespace, identity.name)
            brokers = parse_bootstrap_servers(present) if present is not None else None
            if brokers is not None:
                resource = replace(resource, spec=replace(resource.spec, bootstrap_servers=brokers))
        wanted = {
            "Deployment": build_deployment(resource, topic_id=topic_id, default_image=self._default_image),
            "Service": build_service(resource),
            "PodDisruptionBudget": build_pod_disruption_budget(resource),
        }
        live = await asyncio.gather(*(self._kube.get_child(kind, identity.namespace, identity.name) for kind in wanted))
        children = [Child(kind, wanted[kind], child) for kind, child in zip(wanted, live, strict=True)]
        plan = plan_children(identity, children)
        if isinstance(plan, ForeignChild):
            return _judge_foreign(plan, identity)
        found = dict(zip(wanted, live, strict=True))
        for action in plan:
            if isinstance(action, ApplyChild):
                found[str(action.manifest["kind"])] = await self._kube.apply_child(action.manifest)
            else:
                await self._kube.delete_child(action.kind, identity.namespace, identity.name, uid=action.uid)
        deployment = found["Deployment"]
        assert deployment is not None  # it was there, or was applied just now
        return deployment

    async def observe(self, resource: Resource, deployment: JsonObject) -> Replicas:
        """How the replicas are: by the Deployment, by their pods, and by what they tell of themselves.

        Raises:
            KubeUnavailable, KubeRefused: the pods can't be listed.
        """
        identity = resource.identity
        listed = await self._kube.list_pods(identity.namespace, build_selector_text(identity))
        pods = view_pods(listed, deployment_name=identity.name)
        reports = await asyncio.gather(*(self._ask_replica(pod) for pod in pods))
        lags = [lag for _, lag in reports if lag is not None]
        return Replicas(
            wanted=resource.spec.replicas,
            deployment=view_deployment(deployment),
            troubles=tuple(dict.fromkeys(trouble for trouble, _ in reports if trouble)),
            lag_seconds=max(lags, default=None),
        )

    async def _ask_replica(self, pod: PodView) -> tuple[str, float | None]:
        """The pod's trouble (empty for none), and its lag if it is ready and tells."""
        if pod.trouble or pod.ip is None:
            return pod.trouble, None
        try:
            status = await self._replica_client.read_status(pod.ip)
        except ReplicaUnreachable as error:
            return ("" if pod.is_ready else str(error)), None
        if pod.is_ready and status.is_ready:
            return "", status.lag_seconds
        return ("" if status.is_ready else f"{status.reason}: {status.message}"), None


def _judge_foreign(foreign: ForeignChild, identity: Identity) -> Verdict:
    what = f"{foreign.kind} {identity.name}"
    if foreign.leftover:
        text = f"waiting for {what} of a deleted {names.KIND} of this name to be collected"
        return Verdict(Reason.CHILD_TERMINATING, text)
    return Verdict(
        Reason.CHILD_CONFLICT,
        f"{what} exists and belongs to {foreign.owner}; it is not taken over. Delete or rename it, or give this "
        f"{names.KIND} another name.",
    )
