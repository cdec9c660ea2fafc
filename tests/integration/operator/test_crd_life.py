"""A SharedLogKV on the real API server: its defaults, what of it may change later, its parts, its columns."""

import pytest

from tests.support.cluster import Cluster
from tests.support.crd_specs import FULL_TEMPLATE, Manifest, try_create, with_topic
from tests.support.environment import Environment
from tests.support.kubernetes import MERGE, RESOURCES, KubeApi, build_store, connect
from tests.support.operator_objects import build_autoscaling

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "autoscaling", [{}, {"mode": "BuiltIn"}, {"behavior": {}}, {"behavior": {"scaleUp": {}}}], ids=str
)
async def test_the_rest_of_an_autoscaling_is_filled_in(
    cluster: Cluster, environment: Environment, autoscaling: Manifest
) -> None:
    manifest = build_store("default")
    manifest["spec"]["autoscaling"] = autoscaling
    _, answer = await try_create(environment, manifest)
    assert answer["spec"]["autoscaling"] == build_autoscaling(mode=autoscaling.get("mode", "None"))


async def test_defaults_are_filled_in(cluster: Cluster, environment: Environment) -> None:
    manifest = build_store("default")
    del manifest["spec"]["topic"]
    _, answer = await try_create(environment, manifest)
    assert answer["spec"] == {
        "kafka": {"bootstrapServers": "kafka:9092"},
        "topic": {
            "replicationFactor": 3,
            "minInSyncReplicas": 2,
            "adoptionPolicy": "IfCompatible",
            "driftPolicy": "Enforce",
            "reclaimPolicy": "Retain",
            "allowDataLoss": False,
        },
        "writeMode": "Leader",
        "leader": {"leaseSeconds": 3},
        "reads": {"defaultConsistency": "Eventual", "maxLagMs": 1000},
        "suspend": False,
        "replicas": 3,
        "autoscaling": build_autoscaling(),
        "maxLagSeconds": 30,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
    }


async def change(api: KubeApi, namespace: str, spec: Manifest) -> tuple[int, Manifest]:
    path = f"{RESOURCES.format(namespace=namespace)}/store"
    return await api.request("PATCH", path, body={"spec": spec}, content_type=MERGE)


@pytest.mark.parametrize(
    ("before", "after"), [("one", "two"), ("one", None), (None, "one")], ids=["changed", "removed", "added"]
)
async def test_the_topic_s_name_can_t_be_changed(
    environment: Environment, namespace: str, before: str | None, after: str | None
) -> None:
    async with connect(environment.kubeconfig) as api:
        name = {} if before is None else {"name": before}
        await api.create("SharedLogKV", build_store(namespace, **with_topic(**name)))
        status, answer = await change(api, namespace, {"topic": {"name": after}})
        assert status == 422
        assert "topic.name is immutable" in answer["message"]


async def test_everything_else_can_be_changed(environment: Environment, namespace: str) -> None:
    async with connect(environment.kubeconfig) as api:
        await api.create("SharedLogKV", build_store(namespace, **with_topic(name="fixed")))
        changes: list[Manifest] = [
            {"topic": {"name": "fixed", "config": {"segment.ms": "60000"}}},
            {"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}},
            {"topic": {"adoptionPolicy": "Always", "driftPolicy": "Warn"}},
            {"topic": {"replicationFactor": 3, "minInSyncReplicas": 2}},
            {"kafka": {"bootstrapServers": "other:9092"}},
            {"topic": {"reclaimPolicy": "Retain"}, "writeMode": "ReadOnly"},
            {"leader": {"leaseSeconds": 5}, "reads": {"defaultConsistency": "Session"}},
            {"replicas": 5, "image": "x", "resources": {"limits": {"cpu": 1}}, "podTemplate": FULL_TEMPLATE},
        ]
        for spec in changes:
            status, answer = await change(api, namespace, spec)
            assert status == 200, answer["message"]


async def test_the_write_mode_goes_from_a_leader_to_none_and_back(environment: Environment, namespace: str) -> None:
    async with connect(environment.kubeconfig) as api:
        await api.create("SharedLogKV", build_store(namespace))
        for mode in ("Leaderless", "Leader"):
            status, answer = await change(api, namespace, {"writeMode": mode})
            assert status == 200, answer["message"]


async def test_a_store_that_only_reads_can_t_be_made_to_write(environment: Environment, namespace: str) -> None:
    async with connect(environment.kubeconfig) as api:
        await api.create("SharedLogKV", build_store(namespace, writeMode="ReadOnly"))
        for mode in ("Leaderless", "Leader"):
            status, answer = await change(api, namespace, {"writeMode": mode})
            assert status == 422
            assert "writeMode can't leave ReadOnly" in answer["message"]


async def test_status_and_scale_are_parts_of_their_own(environment: Environment, namespace: str) -> None:
    async with connect(environment.kubeconfig) as api:
        created = await api.create("SharedLogKV", {**build_store(namespace), "status": {"replicas": 7}})
        assert "status" not in created
        status = {"replicas": 2, "selector": "a=b", "lagSeconds": 0}
        await api.patch("SharedLogKV", namespace, "store", {"status": status}, part="/status")
        scale = await api.patch("SharedLogKV", namespace, "store", {"spec": {"replicas": 4}}, part="/scale")
        assert scale["status"] == {"replicas": 2, "selector": "a=b"}
        body = await api.get("SharedLogKV", namespace, "store")
        assert body is not None
        assert (body["spec"]["replicas"], body["metadata"]["generation"]) == (4, 2)


async def test_kubectl_shows_what_one_wants_to_know(cluster: Cluster, environment: Environment, namespace: str) -> None:
    async with connect(environment.kubeconfig) as api:
        await api.create("SharedLogKV", build_store(namespace))
        moment = "2026-01-01T00:00:00Z"
        ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": moment}
        status = {
            "readyReplicas": 3,
            "lagSeconds": 0,
            "topic": {"name": "t", "id": "i"},
            "leader": {"name": "store-1", "term": 7},
            "conditions": [ready],
        }
        await api.patch("SharedLogKV", namespace, "store", {"status": status}, part="/status")
    header, row = cluster.kubectl("get", "slkv", "--output", "wide", namespace=namespace).splitlines()
    columns = ["NAME", "READY", "MODE", "LEADER", "REPLICAS", "TOPIC", "LAG", "AGE", "DESIRED", "SCALING", "REASON"]
    assert header.split() == columns
    assert row.split()[:7] == ["store", "True", "Leader", "store-1", "3", "t", "0"]
    assert "store" in cluster.kubectl("get", "sharedlog", namespace=namespace)
