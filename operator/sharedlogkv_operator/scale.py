"""Who says how many replicas a Deployment has: pure.

Where the operator scales by itself, the count is the Deployment's own, and belongs to another field manager than the
rest of it, so that the manifest may be applied without a count. That manager must own the field before a manifest
without it is applied for the first time, or the API server would take the count away and put 1 in its place.

Source: Kubernetes, "Server-Side Apply", Transferring ownership.
"""

from collections.abc import Mapping

from sharedlogkv_operator import names
from sharedlogkv_operator.desired import Manifest
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.spec import Spec


def count_replicas(spec: Spec, deployment: JsonObject | None) -> int:
    """How many replicas there shall be: as the spec says, or, where the operator scales, as the Deployment does.

    A Deployment that is not there yet, or sleeps, begins with what the spec says.
    """
    if not spec.is_scaled:
        return spec.replicas
    live = None if deployment is None else read_replicas(deployment)
    return live or spec.autoscaling.policy.clamp(spec.replicas)


def read_replicas(deployment: JsonObject) -> int | None:
    """How many replicas the Deployment is asked for; None where that can't be read."""
    spec = deployment.get("spec")
    replicas = spec.get("replicas") if isinstance(spec, Mapping) else None
    return replicas if isinstance(replicas, int) else None


def is_handed_over(deployment: JsonObject) -> bool:
    """Whether the count belongs to the field manager that scales."""
    metadata = deployment.get("metadata")
    entries = metadata.get("managedFields", []) if isinstance(metadata, Mapping) else []
    assert isinstance(entries, list)
    return any(
        entry.get("manager") == names.SCALE_MANAGER and "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        for entry in entries
    )


def add_first_replicas(manifest: Manifest, replicas: int) -> Manifest:
    """The manifest of a Deployment that does not exist yet, with the count to begin with."""
    spec = manifest["spec"]
    assert isinstance(spec, dict)
    return {**manifest, "spec": {"replicas": replicas, **spec}}
