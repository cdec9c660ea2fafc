"""What may happen to a topic, on a real API server and a real Kafka: no data is lost unless a person says so."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from tests.support.cluster import Cluster
from tests.support.kubernetes import KubeApi, until
from tests.support.live_store import Store, add_topic, applied_mark, is_absent

pytestmark = pytest.mark.asyncio

Manifest = dict[str, Any]

ACCEPT = "sharedlog.dev/accept-topic-loss"
DELETE = {"reclaimPolicy": "Delete", "allowDataLoss": True}


@pytest_asyncio.fixture
async def elsewhere(cluster: Cluster) -> AsyncIterator[str]:
    """A second namespace."""
    name = f"slkv-integration-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


async def delete_topic(admin: ConfluentAdmin, topic: str) -> None:
    await admin.delete_topic(topic)
    await until(lambda: is_absent(admin, topic), what="the topic's end")


async def reconcile_until_bound(store: Store) -> None:
    async def is_bound() -> bool:
        await store.reconcile()
        return await store.condition("TopicReady") == ("True", "TopicBound") and bool(await store.children())

    await until(is_bound, what="a store bound", timeout_seconds=60)


async def test_a_lost_topic_stalls_the_store_and_leaves_its_replicas(store: Store, admin: ConfluentAdmin) -> None:
    await store.create()
    await store.reconcile()
    deployment = await applied_mark(store, "Deployment")
    id_ = await store.pinned_id()
    await delete_topic(admin, store.topic)
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "TopicLost")
    assert f"annotate this SharedLogKV with {ACCEPT}={id_}" in await store.message()
    assert await is_absent(admin, store.topic)
    assert await store.pinned_id() == id_
    assert await applied_mark(store, "Deployment") == deployment


async def test_a_lost_topic_is_made_anew_once_a_person_accepts_the_loss_of_that_very_one(
    store: Store, admin: ConfluentAdmin
) -> None:
    await store.create()
    await store.reconcile()
    former = await store.pinned_id()
    await delete_topic(admin, store.topic)
    await store.annotate({ACCEPT: "AnotherTopicsIdAAAAAAA"})
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "TopicLost")
    await store.annotate({ACCEPT: former})
    await store.reconcile()
    latter = await store.pinned_id()
    assert latter != former
    assert latter in str((await store.read("Deployment"))["spec"])
    assert await store.condition("TopicReady") == ("True", "TopicBound")
    assert await store.annotations() == {}
    assert {"TopicLossAccepted", "TopicCreated"} <= set(await store.events())


async def test_a_replaced_topic_stalls_the_store_until_a_person_accepts_the_loss(
    store: Store, admin: ConfluentAdmin
) -> None:
    await store.create()
    await store.reconcile()
    former = await store.pinned_id()
    await delete_topic(admin, store.topic)
    latter = await add_topic(admin, store.topic)
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "TopicReplaced")
    assert former in await store.message()
    assert latter in await store.message()
    await store.annotate({ACCEPT: former})
    await store.reconcile()
    assert await store.pinned_id() == latter
    assert (await store.read())["status"]["topic"]["origin"] == "Adopted"


async def test_accepting_a_loss_that_is_none_loses_nothing_and_is_not_kept_for_later(
    store: Store, admin: ConfluentAdmin
) -> None:
    await store.create()
    await store.reconcile()
    id_ = await store.pinned_id()
    await store.annotate({ACCEPT: id_})
    await store.reconcile()
    assert await store.pinned_id() == id_
    assert await store.annotations() == {}
    await delete_topic(admin, store.topic)
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "TopicLost")


async def test_a_topic_that_was_there_is_not_touched_where_no_adoption_is_wanted(
    store: Store, admin: ConfluentAdmin
) -> None:
    await add_topic(admin, store.topic, segment_ms="12345")
    before = await admin.describe_topic(store.topic)
    await store.create(topic={"adoptionPolicy": "Never"})
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "TopicNotAdopted")
    assert await admin.describe_topic(store.topic) == before
    assert await store.children() == set()
    await store.change(topic={"adoptionPolicy": "IfCompatible"})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")


async def test_a_topic_is_made_where_no_adoption_is_wanted(store: Store) -> None:
    await store.create(topic={"adoptionPolicy": "Never"})
    await store.reconcile()
    assert (await store.read())["status"]["topic"]["origin"] == "Created"


async def test_a_topic_that_does_not_fit_is_set_right_where_it_is_to_be_adopted_always(
    store: Store, admin: ConfluentAdmin
) -> None:
    await add_topic(admin, store.topic, cleanup_policy="delete", message_timestamp_type="CreateTime")
    await store.create(topic={"adoptionPolicy": "Always"})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")
    found = await admin.describe_topic(store.topic)
    assert found is not None
    wanted = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    assert found.config.items() >= wanted.items()
    assert {"TopicAdopted", "TopicReconfigured"} <= set(await store.events())


async def test_settings_that_drift_are_told_and_left_where_that_is_wanted(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(topic={"driftPolicy": "Warn", "config": {"segment.ms": "60000"}})
    await store.reconcile()
    await admin.alter_topic(store.topic, {"segment.ms": "1000"})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicDrifted")
    found = await admin.describe_topic(store.topic)
    assert found is not None
    assert found.config["segment.ms"] == "1000"
    # What the message offers is what mends it.
    await admin.alter_topic(store.topic, {"segment.ms": "60000"})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")


async def test_of_two_stores_of_one_topic_the_newer_one_is_stalled_and_its_end_harms_nobody(
    store: Store, admin: ConfluentAdmin, elsewhere: str
) -> None:
    await store.create()
    await store.reconcile()
    newer = store.beside("store", namespace=elsewhere)
    await newer.create(topic=DELETE)
    await newer.reconcile()
    assert await newer.condition("Stalled") == ("True", "TopicClaimed")
    assert f"{store.namespace}/store" in await newer.message()
    assert await newer.children() == set()
    await newer.delete()
    await newer.reconcile()
    assert not await newer.exists()
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")


async def test_a_topic_moves_to_another_store_when_its_own_is_deleted(
    store: Store, admin: ConfluentAdmin, elsewhere: str
) -> None:
    await store.create()
    await store.reconcile()
    id_ = await store.pinned_id()
    successor = store.beside("successor", namespace=elsewhere)
    await successor.create()
    await successor.reconcile()
    assert await successor.condition("Stalled") == ("True", "TopicClaimed")
    await store.delete()
    await reconcile_until_bound(successor)
    assert await successor.pinned_id() == id_
    assert await successor.condition("Stalled") == ("False", "NotStalled")


async def test_a_topic_that_somebody_else_reads_is_not_deleted_with_its_store(
    store: Store, admin: ConfluentAdmin, elsewhere: str
) -> None:
    await store.create(topic=DELETE)
    await store.reconcile()
    reader = store.beside("reader", namespace=elsewhere)
    await reader.create(writeMode="ReadOnly")
    await reader.reconcile()
    assert await reader.condition("TopicReady") == ("True", "TopicBound")
    await store.delete()
    await store.reconcile()
    assert not await store.exists()
    assert not await is_absent(admin, store.topic)


async def test_a_topic_made_anew_by_somebody_else_is_not_deleted_with_the_store(
    store: Store, admin: ConfluentAdmin
) -> None:
    await store.create(topic=DELETE)
    await store.reconcile()
    await delete_topic(admin, store.topic)
    other = await add_topic(admin, store.topic)
    await store.delete()
    await store.reconcile()
    assert not await store.exists()
    found = await admin.describe_topic(store.topic)
    assert found is not None
    assert found.id == other
    assert "TopicKept" in await store.events()


async def test_a_namespace_is_deleted_at_once_with_the_operator_gone_where_topics_are_kept(
    store: Store, cluster: Cluster, api: KubeApi, elsewhere: str
) -> None:
    kept = store.beside("kept", namespace=elsewhere)
    await kept.create()
    await kept.reconcile()
    assert "finalizers" not in (await kept.read())["metadata"]
    cluster.kubectl("delete", "slkv", "--all", "--wait=true", "--timeout=20s", namespace=elsewhere)
    assert not await kept.exists()
