"""Finds the replica's container in a pod or a pod template, and reads what it is told: pure.

It goes by the container's name. Others may be there too, and before it: sidecars that a mesh or a policy has injected.
"""

from collections.abc import Mapping

from sharedlogkv_operator import names


def read_variables(pod: Mapping[str, object]) -> Mapping[str, str]:
    """The environment variables that the replica is given as plain values; empty if `pod` has no replica."""
    try:
        containers = pod["spec"]["containers"]  # type: ignore[index] # none of it may be there
        (container,) = (item for item in containers if item["name"] == names.CONTAINER)
        return {item["name"]: str(item["value"]) for item in container["env"] if "value" in item}
    except (KeyError, TypeError, ValueError):
        return {}


def read_template_variables(owner: Mapping[str, object]) -> Mapping[str, str]:
    """The same of the pods that come of the Deployment or ReplicaSet `owner`."""
    spec = owner.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) else None
    return read_variables(template) if isinstance(template, Mapping) else {}
