"""Reads from Deployments and Pods, as the API server gives them, how far the replicas are and why they are no further.

What users of operators miss most is the reason why a pod does not start; so it is put into the resource's own status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sharedlogkv_operator.json_fields import JsonObject, parse_time

HARMLESS_REASONS: Final = frozenset({"ContainerCreating", "PodInitializing"})
TEXT_LIMIT: Final = 300
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""The annotation by which a ReplicaSet's controller chooses the pod that goes first: that of the least cost."""


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """How far a Deployment is.

    Attributes:
        is_observed: its controller has seen its latest spec.
        replicas: pods, old and new.
        updated: pods of the latest template.
        ready: pods that are ready.
        available: pods that count as available.
        failure: why no pods can be made (a quota, an admission policy); empty if they can.
    """

    is_observed: bool
    replicas: int
    updated: int
    ready: int
    available: int
    failure: str


@dataclass(frozen=True, slots=True)
class PodView:
    """How far a pod is.

    Attributes:
        name: its name.
        ip: where its replica can be asked; None as long as its container does not run.
        is_ready: whether it is ready.
        trouble: why it does not run, `reason: message`; empty if it does, or is just being started.
        created: when it was made; None where that can't be read.
        deletion_cost: what its annotation says of how late it should go; None where there is none.
    """

    name: str
    ip: str | None
    is_ready: bool
    trouble: str
    created: datetime | None = None
    deletion_cost: str | None = None


def view_deployment(deployment: JsonObject) -> DeploymentView:
    """The standing of the Deployment `deployment`."""
    status = _mapping(deployment.get("status"))
    metadata = _mapping(deployment.get("metadata"))
    failures = [
        f"{condition.get('reason')}: {condition.get('message')}"
        for condition in _mappings(status.get("conditions"))
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
    ]
    return DeploymentView(
        is_observed=_integer(status.get("observedGeneration")) >= _integer(metadata.get("generation")),
        replicas=_integer(status.get("replicas")),
        updated=_integer(status.get("updatedReplicas")),
        ready=_integer(status.get("readyReplicas")),
        available=_integer(status.get("availableReplicas")),
        failure=_shorten(failures[0]) if failures else "",
    )


def view_pods(pods: Sequence[JsonObject], *, deployment_name: str) -> tuple[PodView, ...]:
    """The standing of those of `pods` that belong to the Deployment and are not on their way out, by name."""
    views = [_view_pod(pod) for pod in pods if _belongs(pod, deployment_name) and not _is_going(pod)]
    return tuple(sorted(views, key=lambda view: view.name))


def is_ended(pod: JsonObject) -> bool:
    """Whether the pod's containers have ended for good."""
    return _mapping(pod.get("status")).get("phase") in ("Succeeded", "Failed")


def _view_pod(pod: JsonObject) -> PodView:
    status = _mapping(pod.get("status"))
    conditions = {condition.get("type"): condition for condition in _mappings(status.get("conditions"))}
    ip = status.get("podIP")
    containers = _mappings(status.get("containerStatuses"))
    metadata = _mapping(pod.get("metadata"))
    cost = _mapping(metadata.get("annotations")).get(DELETION_COST)
    is_running = any("running" in _mapping(container.get("state")) for container in containers)
    return PodView(
        name=str(metadata.get("name")),
        ip=str(ip) if ip and is_running else None,
        is_ready=_mapping(conditions.get("Ready")).get("status") == "True",
        trouble=_shorten(_explain(conditions, containers)),
        created=_parse_created(metadata.get("creationTimestamp")),
        deletion_cost=None if cost is None else str(cost),
    )


def _explain(conditions: Mapping[object, JsonObject], containers: Sequence[JsonObject]) -> str:
    scheduled = _mapping(conditions.get("PodScheduled"))
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
    for container in containers:
        state = _mapping(container.get("state"))
        last_end = _mapping(_mapping(container.get("lastState")).get("terminated"))
        waiting = _mapping(state.get("waiting"))
        ended = _mapping(state.get("terminated"))
        if waiting and waiting.get("reason") not in HARMLESS_REASONS:
            text = f"{waiting.get('reason')}: {waiting.get('message', '')}"
            return f"{text} (it ended with {_explain_end(last_end)})" if last_end else text
        if ended:
            return f"the replica ended with {_explain_end(ended)}"
    return ""


def _explain_end(terminated: JsonObject) -> str:
    return f"{terminated.get('reason', 'Error')}, exit status {terminated.get('exitCode')}"


def _belongs(pod: JsonObject, deployment_name: str) -> bool:
    """Whether the pod's ReplicaSet is one of the Deployment's, which the controller names `<deployment>-<hash>`."""
    for reference in _mappings(_mapping(pod.get("metadata")).get("ownerReferences")):
        prefix, _, _ = str(reference.get("name")).rpartition("-")
        if reference.get("kind") == "ReplicaSet" and prefix == deployment_name:
            return True
    return False


def _is_going(pod: JsonObject) -> bool:
    return "deletionTimestamp" in _mapping(pod.get("metadata")) or is_ended(pod)


def _shorten(text: str) -> str:
    text = " ".join(text.split()).removesuffix(":")
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."


def _parse_created(value: object) -> datetime | None:
    try:
        return parse_time(str(value))
    except ValueError:
        return None


def _mapping(value: object) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> Sequence[JsonObject]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
