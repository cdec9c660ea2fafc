"""Passes of the reconcile over a real API server and a real Kafka, one by one."""

from typing import Any

import pytest

from sharedlogkv_operator.desired import parse_peer_secret
from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.mode_change import parse_template_mode
from sharedlogkv_operator.topic import CreateTopic
from tests.support.cluster import Cluster
from tests.support.kubernetes import KINDS, until
from tests.support.live_store import CHILDREN, Store, add_topic, applied_mark, is_absent

pytestmark = pytest.mark.asyncio

Manifest = dict[str, Any]

NOWHERE = "127.0.0.1:1"
"""A port that no broker listens on."""


async def test_a_new_store_gets_its_topic_and_its_children(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(topic={"config": {"segment.ms": "60000"}})
    await store.reconcile()
    found = await admin.describe_topic(store.topic)
    assert found is not None
    assert (found.partitions, found.replication_factor) == (1, 1)
    expected = {
        "cleanup.policy": "compact",
        "min.insync.replicas": "1",
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
        "delete.retention.ms": "604800000",
        "min.compaction.lag.ms": "600000",
        "max.message.bytes": "2097152",
        "segment.ms": "60000",
    }
    assert found.config.items() >= expected.items()
    body = await store.read()
    assert body["status"]["topic"] == {"name": store.topic, "id": found.id, "origin": "Created"}
    assert await store.children() == set(CHILDREN)
    assert await store.condition("TopicReady") == ("True", "TopicBound")
    assert await store.condition("Ready") == ("False", "ReplicasNotReady")
    assert {item["observedGeneration"] for item in body["status"]["conditions"]} == {1}
    assert "finalizers" not in body["metadata"]
    assert "annotations" not in body["metadata"]
    assert "TopicCreated" in await store.events()


async def test_the_api_server_takes_the_children_whole_and_the_pods_are_restricted(store: Store) -> None:
    await store.create(podTemplate={"labels": {"team": "a"}, "tolerations": [{"operator": "Exists"}]})
    await store.reconcile()
    deployment = await store.read("Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "a"
    # The namespace takes none but restricted pods: what the Deployment's controller makes must pass.
    pods = await until(lambda: store.api.list("Pod", store.namespace), what="pods of the Deployment")
    assert pods[0]["metadata"]["labels"]["sharedlog.dev/cluster"] == "store"


async def test_a_pass_over_a_store_that_is_as_it_should_be_writes_nothing(store: Store) -> None:
    await store.create(resources={"requests": {"cpu": "0.1", "memory": "1024Mi"}})

    async def stands() -> bool:
        before = (await store.read())["metadata"]["resourceVersion"]
        await store.reconcile()
        return bool((await store.read())["metadata"]["resourceVersion"] == before)

    await store.reconcile()
    await until(stands, what="a status that stands still", every_seconds=0.5, timeout_seconds=60)
    marks = {kind: await applied_mark(store, kind) for kind in CHILDREN}
    events = len(await store.events())
    for _ in range(3):
        await store.reconcile()
    assert {kind: await applied_mark(store, kind) for kind in CHILDREN} == marks
    assert len(await store.events()) == events


async def test_fields_of_ours_are_taken_back_and_fields_of_others_are_left(store: Store) -> None:
    await store.create(replicas=2)
    await store.reconcile()
    change = {
        "metadata": {"labels": {"theirs": "x", "app.kubernetes.io/name": "stolen"}},
        "spec": {"replicas": 7, "progressDeadlineSeconds": 77},
    }
    await store.api.patch("Deployment", store.namespace, "store", change)
    await store.reconcile()
    deployment = await store.read("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["labels"]["app.kubernetes.io/name"] == "sharedlogkv"
    assert deployment["metadata"]["labels"]["theirs"] == "x"
    assert deployment["spec"]["progressDeadlineSeconds"] == 77


async def test_a_container_that_others_put_into_the_deployment_stays_and_costs_no_write(store: Store) -> None:
    await store.create(podTemplate={})
    await store.reconcile()
    sidecar = {"name": "sidecar", "image": "proxy:1"}
    path = f"{KINDS['Deployment'].format(namespace=store.namespace)}/store"
    change = {"spec": {"template": {"spec": {"containers": [sidecar], "nodeSelector": {"disk": "none"}}}}}
    strategic = "application/strategic-merge-patch+json"
    await store.api.call("PATCH", path, body=change, content_type=strategic, fieldManager="injector")
    await store.reconcile()
    first, mark = await store.read("Deployment"), await applied_mark(store, "Deployment")
    for _ in range(3):
        await store.reconcile()
    last = await store.read("Deployment")
    assert {container["name"] for container in last["spec"]["template"]["spec"]["containers"]} == {"replica", "sidecar"}
    assert last["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "none"}
    assert last["metadata"]["generation"] == first["metadata"]["generation"]
    assert await applied_mark(store, "Deployment") == mark


async def test_a_field_that_the_user_takes_back_goes(store: Store) -> None:
    await store.create(podTemplate={"labels": {"team": "a"}, "priorityClassName": "system-node-critical"})
    await store.reconcile()
    await store.change(podTemplate=None)
    await store.reconcile()
    template = (await store.read("Deployment"))["spec"]["template"]
    assert "team" not in template["metadata"]["labels"]
    assert "priorityClassName" not in template["spec"]


async def test_the_disruption_budget_comes_and_goes_with_the_second_replica(store: Store) -> None:
    await store.create(replicas=1)
    await store.reconcile()
    assert await store.children() == {"Deployment", "Service", "Secret"}
    await store.change(replicas=2)
    await store.reconcile()
    assert await store.children() == set(CHILDREN)
    await store.change(replicas=1)
    await store.reconcile()
    assert await store.children() == {"Deployment", "Service", "Secret"}


async def test_the_secret_of_the_peers_is_made_once_and_again_when_it_was_deleted(store: Store) -> None:
    async def secret() -> str | None:
        return parse_peer_secret(await store.read("Secret"))

    await store.create()
    await store.reconcile()
    first = await secret()
    assert first is not None
    deployment = await applied_mark(store, "Deployment")
    await store.change(replicas=2)
    await store.reconcile()
    assert await secret() == first
    deployment = await applied_mark(store, "Deployment")
    await store.api.delete("Secret", store.namespace, "store-peers")
    await store.reconcile()
    second = await secret()
    assert second not in (None, first)
    await store.api.patch("Secret", store.namespace, "store-peers", {"data": {"secret": None}})
    await store.reconcile()
    assert await secret() not in (None, second)
    assert await applied_mark(store, "Deployment") == deployment, "no pod is rolled for it"


async def test_a_write_mode_is_changed_by_way_of_read_only(store: Store) -> None:
    """There is no kubelet, so pods never end by themselves: each stands for one that is being stopped."""

    async def mode() -> str | None:
        return parse_template_mode(await store.read("Deployment"))

    async def pods() -> list[Manifest]:
        return await store.api.list("Pod", store.namespace)

    await store.create(writeMode="Leaderless", replicas=1)
    await store.reconcile()
    (pod,) = await until(pods, what="a pod of the former mode")
    await store.change(writeMode="Leader")
    await store.reconcile()
    assert await mode() == "ReadOnly"
    assert await store.condition("Reconciling") == ("True", "WriteModeChanging")
    assert await store.condition("LeaderElected") == ("False", "WriteModeChanging")

    # A rollout waits for pods that never start here; the old ReplicaSet is emptied in its place.
    path = f"/apis/apps/v1/namespaces/{store.namespace}/replicasets"
    sets = (await store.api.call("GET", path))["items"]
    (former,) = [found for found in sets if parse_template_mode(found) == "Leaderless"]
    await store.api.delete("Pod", store.namespace, pod["metadata"]["name"], gracePeriodSeconds=0)
    await store.reconcile()
    assert await mode() == "ReadOnly", "the ReplicaSet of the former mode makes another pod"
    await store.api.call("DELETE", f"{path}/{former['metadata']['name']}", body={"propagationPolicy": "Foreground"})

    async def is_through() -> bool:
        await store.reconcile()
        return await mode() == "Leader"

    await until(is_through, what="the new mode", timeout_seconds=60)
    assert not [pod for pod in await pods() if "Leaderless" in str(pod["spec"])]
    assert await store.children() >= {"Secret"}


async def test_a_topic_made_before_a_crash_is_found_again(store: Store, admin: ConfluentAdmin) -> None:
    id_ = await add_topic(admin, store.topic)
    await store.create()
    await store.reconcile()
    assert await store.pinned_id() == id_
    assert "TopicAdopted" in await store.events()


async def test_a_topic_that_does_not_fit_is_refused_with_each_difference(store: Store, admin: ConfluentAdmin) -> None:
    await add_topic(admin, store.topic, cleanup_policy="delete", message_timestamp_type="CreateTime")
    await store.create()
    await store.reconcile()
    assert await store.condition("TopicReady") == ("False", "TopicIncompatible")
    assert await store.condition("Stalled") == ("True", "TopicIncompatible")
    message = await store.message()
    assert "cleanup.policy: is delete, must be compact" in message
    assert "message.timestamp.type: is CreateTime, must be LogAppendTime" in message
    assert await store.children() == set()
    # What the message offers is what mends it.
    await admin.alter_topic(store.topic, {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")


async def test_read_only_waits_for_the_topic_and_then_takes_it_as_it_is(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(writeMode="ReadOnly")
    await store.reconcile()
    assert await store.condition("TopicReady") == ("False", "TopicAbsent")
    await admin.create_topic(CreateTopic(store.topic, 1, {"cleanup.policy": "compact"}))
    before = await admin.describe_topic(store.topic)
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")
    assert await admin.describe_topic(store.topic) == before


async def test_settings_that_drift_are_set_back(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(topic={"config": {"segment.ms": "60000"}})
    await store.reconcile()
    await admin.alter_topic(store.topic, {"segment.ms": "1000", "cleanup.policy": "delete", "segment.bytes": "1048576"})
    await store.reconcile()
    found = await admin.describe_topic(store.topic)
    assert found is not None
    expected = {"segment.ms": "60000", "cleanup.policy": "compact", "segment.bytes": "1048576"}
    assert found.config.items() >= expected.items()
    assert "TopicReconfigured" in await store.events()


async def test_kafka_out_of_reach_is_told_with_its_reason_and_makes_nothing(store: Store) -> None:
    await store.create(servers=NOWHERE)
    result = await store.reconcile()
    assert result.backs_off
    assert await store.condition("TopicReady") == ("Unknown", "KafkaUnavailable")
    assert await store.condition("Ready") == ("False", "KafkaUnavailable")
    assert f"no answer from {NOWHERE}" in await store.message()
    assert "Connection refused" in await store.message()
    assert await store.children() == set()
    await store.change(kafka={"bootstrapServers": store.servers})
    await store.reconcile()
    assert await store.condition("TopicReady") == ("True", "TopicBound")


async def test_kafka_out_of_reach_later_leaves_the_replicas_alone_and_still_scales_them(store: Store) -> None:
    await store.create(replicas=2)
    await store.reconcile()
    id_ = await store.pinned_id()
    await store.change(kafka={"bootstrapServers": NOWHERE}, replicas=3)
    await store.reconcile()
    assert await store.condition("TopicReady") == ("Unknown", "KafkaUnavailable")
    assert await store.pinned_id() == id_
    assert (await store.read("Deployment"))["spec"]["replicas"] == 3


async def test_a_setting_that_kafka_does_not_know_is_told_in_its_words(store: Store) -> None:
    await store.create(topic={"config": {"no.such.setting": "1"}})
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "KafkaRefused")
    assert "Unknown topic config name: no.such.setting" in await store.message()


async def test_more_copies_than_brokers_are_told_with_both_numbers(store: Store) -> None:
    await store.create(topic={"replicationFactor": 32})
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "NotEnoughBrokers")
    assert "topic.replicationFactor is 32" in await store.message()


async def test_a_service_of_somebody_else_is_not_taken_over(store: Store) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": store.namespace, "name": "store"},
        "spec": {"ports": [{"port": 1234}]},
    }
    before = await store.api.create("Service", service)
    await store.create()
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "ChildConflict")
    assert "Service store exists" in await store.message()
    assert await store.children() == {"Service"}
    assert (await store.read("Service"))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    await store.api.delete("Service", store.namespace, "store")
    await store.reconcile()
    assert await store.children() == set(CHILDREN)


async def test_a_spec_that_only_the_deployment_s_validation_refuses_is_told(store: Store) -> None:
    contradiction = {"requests": {"cpu": "1"}, "limits": {"no such resource": "1"}}
    await store.create(resources=contradiction)
    await store.reconcile()
    assert await store.condition("Stalled") == ("True", "ChildRefused")
    assert "no such resource" in await store.message()


async def test_deletion_keeps_the_topic_and_a_new_store_takes_it_up_again(store: Store, admin: ConfluentAdmin) -> None:
    await store.create()
    await store.reconcile()
    id_ = await store.pinned_id()
    await store.api.delete("SharedLogKV", store.namespace, "store")
    assert not await store.exists()
    result = await store.reconcile()
    assert result.conditions is None
    await store.create()
    await store.reconcile()
    assert await store.pinned_id() == id_


async def test_deletion_takes_the_topic_along_where_the_policy_says_so(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    await store.reconcile()
    assert (await store.read())["metadata"]["finalizers"] == ["sharedlog.dev/topic"]
    await store.api.delete("SharedLogKV", store.namespace, "store")
    assert await store.exists()
    await store.reconcile()
    assert not await store.exists()
    await until(lambda: is_absent(admin, store.topic), what="the topic's end")
    assert "TopicDeleted" in await store.events()


async def test_the_finalizer_goes_with_the_policy_and_then_the_topic_stays(store: Store, admin: ConfluentAdmin) -> None:
    await store.create(topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    await store.reconcile()
    await store.change(topic={"reclaimPolicy": "Retain"})
    await store.reconcile()
    assert "finalizers" not in (await store.read())["metadata"]
    await store.api.delete("SharedLogKV", store.namespace, "store")
    assert not await store.exists()
    assert not await is_absent(admin, store.topic)


async def test_scaling_by_the_scale_subresource_reaches_the_deployment(store: Store, cluster: Cluster) -> None:
    await store.create(replicas=2)
    await store.reconcile()
    cluster.kubectl("scale", "slkv/store", "--replicas=4", namespace=store.namespace)
    await store.reconcile()
    assert (await store.read("Deployment"))["spec"]["replicas"] == 4
    scale = await store.api.call("GET", f"{scale_path(store)}/scale")
    assert scale["status"]["selector"] == "app.kubernetes.io/component=replica,sharedlog.dev/cluster=store"


def scale_path(store: Store) -> str:
    return f"/apis/sharedlog.dev/v1alpha1/namespaces/{store.namespace}/sharedlogkvs/store"
