"""A resource becomes a store that serves, and loses nothing, whatever happens to its pods."""

from collections.abc import Callable

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from sharedlogkv_replica.log.kafka import spell_topic_id
from tests.support.cluster import condition_of
from tests.support.load import FRESH, Load
from tests.support.store import Store
from tests.support.waiting import wait_until

MANY = 10_000


def test_a_resource_becomes_a_topic_and_a_deployment_and_serves(
    make_store: Callable[[str], Store], kafka: AdminClient
) -> None:
    store = make_store("settings")
    store.apply(replicas=2)
    resource = store.await_ready()

    described = kafka.describe_topics(TopicCollection([store.topic]))[store.topic].result(timeout=10)
    assert len(described.partitions) == 1
    topic_id = spell_topic_id(described.topic_id)
    assert resource["status"]["topic"] == {"name": store.topic, "id": topic_id, "origin": "Created"}
    asked = ConfigResource(ResourceType.TOPIC, store.topic)
    settings = kafka.describe_configs([asked])[asked].result(timeout=10)
    assert settings["cleanup.policy"].value == "compact"
    assert settings["message.timestamp.type"].value == "LogAppendTime"

    for kind in ("deployment", "service", "poddisruptionbudget"):
        owners = store.cluster.get(kind, store.name, namespace=store.namespace)["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == [resource["metadata"]["uid"]]
    assert condition_of(resource, "TopicReady")["status"] == "True"
    assert resource["status"]["readyReplicas"] == 2

    with store.clients(store.await_pods(2)) as (first, second):
        written = first.put(b"greeting", b"hello")
        assert written.status == 204
        assert written.token.startswith(f"{resource['status']['topic']['id']}:0:")
        assert second.get(b"greeting", token=written.token).body == b"hello"


@pytest.mark.timeout(600)
def test_a_put_is_read_with_its_token_from_every_other_replica_at_once(store: Store) -> None:
    with store.clients(store.await_pods(3)) as (first, *others):
        for number in range(MANY):
            value = b"%d" % number
            token = first.put(b"counter", value).token
            assert [other.get(b"counter", token=token).body for other in others] == [value] * 2


def test_all_pods_deleted_at_once_come_back_with_the_data(store: Store) -> None:
    before = store.await_pods(3)
    with store.clients(before[:1]) as (client,):
        tokens = [client.put(b"key-%d" % number, b"value-%d" % number).token for number in range(500)]
    store.cluster.kubectl("delete", "pods", *(pod.name for pod in before), "--wait=false", namespace=store.namespace)

    after = store.await_pods(3)
    assert not {pod.uid for pod in after} & {pod.uid for pod in before}
    with store.clients(after) as clients:
        for client in clients:
            assert client.get(b"key-499", token=tokens[-1]).body == b"value-499"
            assert len(client.items()) == 500


def test_a_deleted_resource_leaves_its_topic_and_serves_the_old_data_when_applied_again(
    store: Store, kafka: AdminClient
) -> None:
    topic_id = store.get()["status"]["topic"]["id"]
    with store.clients(store.await_pods(3)[:1]) as (client,):
        token = client.put(b"kept", b"value").token
    store.delete()
    assert store.topic in kafka.list_topics(timeout=10).topics

    store.apply(replicas=1)
    assert store.await_ready()["status"]["topic"]["id"] == topic_id
    with store.clients(store.await_pods(1)) as (client,):
        assert client.get(b"kept", token=token).body == b"value"


def test_kubectl_scale_adds_replicas_that_hold_the_data_and_takes_them_away_again(store: Store) -> None:
    with store.clients(store.await_pods(3)[:1]) as (client,):
        token = client.put(b"key", b"value").token
    for replicas in (5, 1):
        store.cluster.kubectl("scale", "slkv", store.name, f"--replicas={replicas}", namespace=store.namespace)
        pods = store.await_pods(replicas)
        assert store.await_ready()["status"]["replicas"] == replicas
        with store.clients(pods) as clients:
            assert [client.get(b"key", token=token).body for client in clients] == [b"value"] * replicas


@pytest.mark.timeout(300)
def test_a_rolling_restart_under_load_loses_no_request_and_no_write(store: Store) -> None:
    before = {pod.uid for pod in store.await_pods(3)}
    with Load(store.through_service(), clients=4) as load:
        wait_until(lambda: load.requests > 400 or load.violations, what="the load runs", timeout_seconds=30)
        store.apply(replicas=3, podTemplate={"annotations": {"restarted": "yes"}})
        wait_until(
            lambda: not before & {pod.uid for pod in store.pods()},
            what="every pod was replaced",
            timeout_seconds=180,
        )
        store.await_ready()
    assert load.violations == []
    assert not store.cluster.environment.testbed or FRESH not in load.retried, load.retried
    with store.clients(store.await_pods(3)) as clients:
        for client in clients:
            for record in load.records:
                for key, value in record.acknowledged.items():
                    assert client.get(key).body == value
