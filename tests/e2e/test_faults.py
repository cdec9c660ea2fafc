"""What a store does when its log is taken away: Kafka killed under load, and the topic deleted under its feet."""

import functools
import json

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.breakage import Fault
from tests.support.cluster import ADMIN_PORT, Cluster, condition_of
from tests.support.load import Load
from tests.support.replica_http import ReplicaClient
from tests.support.store import Store
from tests.support.waiting import wait_until


def is_refused(client: ReplicaClient) -> bool:
    return client.get(b"mine").status == 503


def brokers_of(kafka: AdminClient) -> list[int]:
    return sorted(kafka.list_topics(timeout=10).brokers)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_kafka_killed_under_load_costs_no_acknowledged_write_and_no_read_and_all_mends_itself(
    store: Store, kafka: AdminClient, fault: Fault
) -> None:
    brokers = brokers_of(kafka)
    pods = store.await_pods(3)
    with Load(store.through_service(), clients=4) as load, store.clients(pods) as clients:
        token = clients[0].put(b"steady", b"value").token
        assert [client.get(b"steady", token=token).body for client in clients] == [b"value"] * 3
        wait_until(lambda: load.requests > 200 or load.violations, what="the load runs", timeout_seconds=30)
        for broker in brokers:
            fault("broker-kill", str(broker))
        wait_until(lambda: clients[0].put(b"probe", b"").status == 503, what="writes are refused", timeout_seconds=60)
        refusal = clients[0].put(b"probe", b"")
        assert refusal.status == 503
        assert refusal.headers["retry-after"] == "1"
        # The leader knows of the outage first; after two leases without an acknowledgement nobody leads any more.
        assert refusal.json()["type"].rpartition("/")[2] in ("log-unavailable", "no-leader")
        for client in clients:
            assert client.get(b"steady").body == b"value", "reads go on"
        for broker in brokers:
            fault("broker-start", str(broker))
        before = load.requests
        wait_until(lambda: load.requests > before + 200 or load.violations, what="writes go on", timeout_seconds=120)
    assert load.violations == []
    assert load.retried["503"] > 0, "the outage was not noticed"
    after = store.await_pods(3)
    assert [(pod.uid, pod.restarts) for pod in after] == [(pod.uid, 0) for pod in pods], "a replica was restarted"
    store.await_ready()
    with store.clients(after) as clients:
        for client in clients:
            for record in load.records:
                for key, value in record.acknowledged.items():
                    assert client.get(key, consistency="linearizable").body == value


@pytest.mark.timeout(300)
def test_a_topic_created_anew_is_neither_served_nor_written_until_a_person_accepts_the_loss(
    store: Store, cluster: Cluster, kafka: AdminClient
) -> None:
    pods = store.await_pods(3)
    with store.clients(pods) as clients:
        token = clients[0].put(b"mine", b"value").token
        assert clients[1].get(b"mine", token=token).body == b"value"

        kafka.delete_topics([store.topic], operation_timeout=10)[store.topic].result(timeout=20)
        wait_until(
            lambda: store.topic not in kafka.list_topics(timeout=10).topics, what="it is gone", timeout_seconds=30
        )
        fit = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
        replaced = NewTopic(store.topic, 1, 1, config=fit)
        kafka.create_topics([replaced])[store.topic].result(timeout=20)

        for client in clients:
            wait_until(functools.partial(is_refused, client), what="not served", timeout_seconds=30)
            answer = client.get(b"mine").json()
            assert answer["type"].endswith("/not-ready")
            assert "LogReplaced" in answer["detail"]
            assert client.put(b"mine", b"lost").status == 503

    def stalled() -> bool:
        return condition_of(store.get(), "Stalled").get("reason") == "TopicReplaced"

    wait_until(stalled, what="the resource tells of it", timeout_seconds=60)
    assert condition_of(store.get(), "Ready")["status"] == "False"
    assert [pod.restarts for pod in store.pods()] == [0] * 3, "waiting is no reason to restart"
    with cluster.clients(pods[:1], namespace=store.namespace, port=ADMIN_PORT) as (admin,):
        status = json.loads(admin.request("GET", "/status").body)
    assert (status["ready"], status["reason"], status["store"]["keys"]) == (False, "LogReplaced", 0)

    former = store.get()["status"]["topic"]["id"]
    accept = f"sharedlog.dev/accept-topic-loss={former}"
    cluster.kubectl("annotate", "slkv", store.name, accept, namespace=store.namespace)
    wait_until(
        lambda: store.get()["status"]["topic"]["id"] != former, what="it is bound to the other", timeout_seconds=60
    )
    store.await_ready()
    with store.clients(store.await_pods(3)) as clients:
        token = clients[0].put(b"new", b"value").token
        assert [client.get(b"new", token=token).body for client in clients] == [b"value"] * 3
        assert [client.get(b"mine", token=token).status for client in clients] == [404] * 3
