"""A store at rest: nothing of it is written, neither the resource nor any child.

It is watched for a minute, or for as long as QUIET_SECONDS says: before a release, ten minutes, by
`QUIET_SECONDS=600 make e2e ARGS="-k unchanged_stores"`.
"""

import difflib
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster import Cluster, condition_of
from tests.support.store import Store
from tests.support.waiting import wait_until

Manifest = dict[str, Any]

QUIET_SECONDS = int(os.environ.get("QUIET_SECONDS", "60"))
LOOK_SECONDS = 5.0
KINDS = "slkv,deployments,replicasets,services,endpointslices,poddisruptionbudgets,secrets,pods,events"


def read_all(cluster: Cluster, namespace: str) -> dict[str, Manifest]:
    """Every object of the namespace that may belong to a store, by kind and name, with who wrote which field."""
    words = ("get", KINDS, "--show-managed-fields", "--output=json")
    found = json.loads(cluster.kubectl(*words, namespace=namespace))["items"]
    return {f"{item['kind']} {item['metadata']['name']}": item for item in found}


def versions(objects: dict[str, Manifest]) -> dict[str, str]:
    return {key: item["metadata"]["resourceVersion"] for key, item in objects.items()}


def describe_changes(before: dict[str, Manifest], after: dict[str, Manifest]) -> str:
    """What was written between the two, for people."""
    lines: list[str] = []
    for key in sorted({*before, *after}):
        old, new = (json.dumps(state.get(key), indent=1, sort_keys=True).splitlines() for state in (before, after))
        lines += difflib.unified_diff(old, new, f"{key} before", f"{key} after", lineterm="", n=2)
    return "\n".join(lines)


@pytest.mark.timeout(QUIET_SECONDS + 400)
def test_unchanged_stores_that_are_used_a_little_are_not_written_nor_is_any_child(
    make_store: Callable[[str], Store], cluster: Cluster
) -> None:
    scaled, plain, asleep = make_store("scaled"), make_store("plain"), make_store("asleep")
    scaled.apply(replicas=2, autoscaling={"mode": "BuiltIn", "minReplicas": 2, "maxReplicas": 4})
    plain.apply(replicas=1, writeMode="Leaderless")
    asleep.apply(replicas=1, suspend=True)
    plain.await_ready()
    scaled.await_ready()

    def is_settled() -> bool:
        active = condition_of(scaled.get(), "ScalingActive")
        suspended = condition_of(asleep.get(), "Ready")
        return (active.get("reason"), suspended.get("reason")) == ("Steady", "Suspended")

    wait_until(is_settled, what="the scaling is steady", timeout_seconds=180, every_seconds=1)
    before = read_all(cluster, scaled.namespace)
    deadline = time.monotonic() + QUIET_SECONDS
    with scaled.through_service()() as some, plain.through_service()() as other:

        def is_over() -> bool:
            for client in (some, other):
                token = client.put(b"key", b"value").token
                assert client.get(b"key", token=token).body == b"value"
            return time.monotonic() >= deadline

        while not is_over():
            after = read_all(cluster, scaled.namespace)
            assert versions(after) == versions(before), describe_changes(before, after)
            time.sleep(LOOK_SECONDS)  # not for a state to come, but for the time to pass in which none may
