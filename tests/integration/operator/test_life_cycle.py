"""The life of a store on a real API server: at rest, edited by others, suspended, paused, planned."""

from typing import Any

import pytest

from sharedlogkv_operator.desired import parse_peer_secret
from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from tests.support.kstatus import compute_kstatus
from tests.support.kubernetes import KubeApi, condition, until
from tests.support.live_store import CHILDREN, Store, applied_mark, is_absent

pytestmark = pytest.mark.asyncio

Manifest = dict[str, Any]

PAUSED, PLAN = "sharedlog.dev/paused", "sharedlog.dev/plan"


async def serve(store: Store) -> None:
    """Has every pod say that it is ready, as no node runs it, until the Deployment has all it wants."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    async def is_served() -> bool:
        for pod in await store.api.list("Pod", store.namespace):
            status = {"status": {"phase": "Running", "conditions": [ready]}}
            await store.api.patch("Pod", store.namespace, pod["metadata"]["name"], status, part="/status")
        deployment = await store.read("Deployment")
        status, wanted = deployment["status"], deployment["spec"]["replicas"]
        counts = {status.get(name) for name in ("replicas", "updatedReplicas", "availableReplicas")}
        return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == {wanted}

    await until(is_served, what="a Deployment with all its replicas")


async def versions(store: Store) -> dict[str, str]:
    """The resourceVersions of the resource and of all its children but the Deployment, which its controller writes."""
    kinds = ("SharedLogKV", *(kind for kind in CHILDREN if kind not in ("Deployment", "PodDisruptionBudget")))
    return {kind: (await store.read(kind))["metadata"]["resourceVersion"] for kind in kinds}


async def test_a_store_at_rest_is_not_written_nor_is_any_child(store: Store) -> None:
    await store.create()
    await store.reconcile()
    await serve(store)

    async def stands() -> bool:
        before = await versions(store)
        await store.reconcile()
        return await versions(store) == before

    await until(stands, what="a store at rest", every_seconds=0.5, timeout_seconds=60)
    before, marks = await versions(store), [await applied_mark(store, kind) for kind in CHILDREN]
    for _ in range(5):
        await store.reconcile()
    assert await versions(store) == before
    assert [await applied_mark(store, kind) for kind in CHILDREN] == marks


@pytest.mark.parametrize("kind", CHILDREN)
async def test_a_child_that_was_deleted_is_made_anew(store: Store, kind: str) -> None:
    await store.create()
    await store.reconcile()
    former = (await store.read(kind))["metadata"]["uid"]
    await store.api.delete(kind, store.namespace, store.name_child(kind), propagationPolicy="Background")
    await store.reconcile()
    found = await store.read(kind)
    assert found["metadata"]["uid"] != former
    assert found["metadata"]["ownerReferences"][0]["uid"] == (await store.read())["metadata"]["uid"]


EDITS: dict[str, Manifest] = {
    "Deployment": {"spec": {"replicas": 9}},
    "Service": {"spec": {"selector": {"sharedlog.dev/cluster": "other"}}},
    "PodDisruptionBudget": {"spec": {"maxUnavailable": 2}},
    "Secret": {"data": {"secret": ""}},
}


@pytest.mark.parametrize("kind", CHILDREN)
async def test_a_child_that_was_edited_is_set_back_and_what_others_added_is_left(store: Store, kind: str) -> None:
    await store.create()
    await store.reconcile()
    theirs = {"labels": {"argocd.argoproj.io/instance": "app"}, "annotations": {"sidecar.istio.io/inject": "true"}}
    edit = {"metadata": theirs, **EDITS[kind]}
    await store.api.patch(kind, store.namespace, store.name_child(kind), edit)
    await store.reconcile()
    found = await store.read(kind)
    assert found["metadata"]["labels"].items() >= theirs["labels"].items()
    assert found["metadata"]["annotations"].items() >= theirs["annotations"].items()
    if kind == "Secret":
        assert parse_peer_secret(found) is not None
    else:
        (field,) = EDITS[kind]["spec"]
        assert found["spec"][field] != EDITS[kind]["spec"][field]


def judge_by_conditions(body: Manifest) -> str:
    """What our conditions say of it, in kstatus's words."""
    status = body.get("status")
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    if status is None:
        return "Current"  # nobody has seen it yet, and kstatus knows no better: hence the acknowledgement at once
    truths = {name: condition(body, name).get("status") for name in ("Ready", "Reconciling", "Stalled")}
    assert (truths["Ready"], truths["Stalled"]) != ("True", "True")
    if truths["Stalled"] == "True":
        return "Failed"
    is_settled = status["observedGeneration"] == body["metadata"]["generation"] and truths["Reconciling"] == "False"
    return "Current" if is_settled and truths["Ready"] == "True" else "InProgress"


async def test_kstatus_agrees_with_our_conditions_at_every_step(store: Store, admin: ConfluentAdmin) -> None:
    async def kstatus() -> str:
        (found,) = compute_kstatus(await store.read())
        return found

    created = await store.create(writeMode="Leaderless", topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    await store.reconcile()
    assert await kstatus() == "InProgress"
    await serve(store)
    await store.reconcile()
    assert await kstatus() == "Current"
    await store.change(replicas=4)
    assert await kstatus() == "InProgress", "nobody has looked at this generation yet"
    await store.reconcile()
    assert await kstatus() == "InProgress"
    await serve(store)
    await store.reconcile()
    assert await kstatus() == "Current"
    await store.annotate({PAUSED: "true"})
    await store.reconcile()
    assert await kstatus() == "Current"
    await store.change(replicas=3)
    await store.reconcile()
    assert await kstatus() == "InProgress", "a change waits"
    await store.annotate({PAUSED: None})
    await store.change(kafka={"bootstrapServers": "127.0.0.1:1"})
    await store.reconcile()
    assert await kstatus() == "InProgress", "Kafka is out of reach, which may pass"
    await store.change(kafka={"bootstrapServers": store.servers})
    await admin.delete_topic(store.topic)
    await until(lambda: is_absent(admin, store.topic), what="the topic's end")
    await store.reconcile()
    assert await kstatus() == "Failed"
    await store.delete()
    assert await kstatus() == "Terminating"
    await store.reconcile()
    assert not await store.exists()

    since = created["metadata"]["resourceVersion"]
    states = [created, *await store.api.versions_after("SharedLogKV", store.namespace, store.name, since)]
    assert len(states) > 15, "what was written between the steps is missing"
    assert compute_kstatus(*states) == [judge_by_conditions(state) for state in states]


async def test_a_suspended_store_keeps_its_topic_and_wakes_to_ready(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(writeMode="Leaderless")
    await store.reconcile()
    id_ = await store.pinned_id()
    await store.change(suspend=True)
    await store.reconcile()
    assert (await store.read("Deployment"))["spec"]["replicas"] == 0
    assert "PodDisruptionBudget" not in await store.children()

    async def is_suspended() -> bool:
        await store.reconcile()
        truth, reason = await store.condition("Ready")
        assert truth == "False", "the last replicas are about to go"
        return reason == "Suspended"

    await until(is_suspended, what="a suspended store")
    assert compute_kstatus(await store.read()) == ["InProgress"], "as docs/reference.md has it"
    assert await store.condition("Reconciling") == ("False", "Settled")
    assert await store.pinned_id() == id_
    assert not await is_absent(admin, store.topic)
    await store.change(suspend=False)
    await store.reconcile()
    await serve(store)
    await store.reconcile()
    assert await store.condition("Ready") == ("True", "Serving")
    assert await store.pinned_id() == id_


async def test_a_paused_store_is_left_alone_until_the_annotation_goes(store: Store) -> None:
    await store.create(replicas=2)
    await store.reconcile()
    await store.annotate({PAUSED: "true"})
    await store.change(replicas=5, topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    await store.api.delete("Service", store.namespace, "store")
    await store.reconcile()
    assert await store.condition("Paused") == ("True", "Paused")
    assert await store.condition("Ready") == ("False", "Paused")
    assert (await store.read("Deployment"))["spec"]["replicas"] == 2
    assert "Service" not in await store.children()
    assert "finalizers" not in (await store.read())["metadata"]
    await store.annotate({PAUSED: None})
    await store.reconcile()
    assert condition(await store.read(), "Paused") == {}
    assert (await store.read("Deployment"))["spec"]["replicas"] == 5
    assert await store.children() == set(CHILDREN)
    assert (await store.read())["metadata"]["finalizers"] == ["sharedlog.dev/topic"]


async def test_a_plan_is_shown_before_anything_is_made_and_carried_out_when_the_annotation_goes(
    store: Store, admin: ConfluentAdmin
) -> None:
    await store.create(metadata={"annotations": {PLAN: "true"}})
    await store.reconcile()
    plan = (await store.read())["status"]["plan"]
    assert plan[0].startswith(f"create topic {store.topic}: 1 partition")
    assert "create Deployment store" in plan
    assert await store.children() == set()
    assert await is_absent(admin, store.topic)
    await store.annotate({PLAN: None})
    await store.reconcile()
    assert "plan" not in (await store.read())["status"]
    assert await store.children() == set(CHILDREN)
    await store.annotate({PLAN: "true"})
    await store.change(image="other:2")
    await store.reconcile()
    (change,) = (await store.read())["status"]["plan"]
    assert 'image: "localhost/sharedlogkv-absent:0" -> "other:2"' in change


async def test_a_plan_of_more_words_than_the_api_server_takes_is_cut(store: Store) -> None:
    settings = {f"setting.{number}": "v" * 1024 for number in range(64)}
    await store.create(metadata={"annotations": {PLAN: "true"}}, topic={"config": settings})
    await store.reconcile()
    plan = (await store.read())["status"]["plan"]
    assert plan[0].startswith(f"create topic {store.topic}: 1 partition")
    assert plan[0].endswith("v...")
    assert "create Deployment store" in plan


async def test_a_deletion_does_not_wait_for_a_pause_to_end(store: Store, api: KubeApi, admin: ConfluentAdmin) -> None:
    await store.create(topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    await store.reconcile()
    await store.annotate({PAUSED: "true"})
    await store.delete()
    await store.reconcile()
    assert not await store.exists()
    await until(lambda: is_absent(admin, store.topic), what="the topic's end")
