"""A store on a Kafka that demands a login, while the login is changed under its feet."""

import json
from collections.abc import Callable

import pytest

from tests.support.cluster import ADMIN_PORT, Cluster, condition_of
from tests.support.commands import run
from tests.support.secured_kafka import SecuredKafka, User
from tests.support.store import Store
from tests.support.waiting import wait_until

KUBELET_SECONDS = 180
"""Until a changed Secret has reached every pod: the kubelet looks after each every 60 to 90 s."""


@pytest.mark.faults
@pytest.mark.secured
@pytest.mark.timeout(500)
def test_a_rotated_secret_costs_no_read_and_no_pod_and_nobody_touches_the_resource(
    make_store: Callable[[str], Store], cluster: Cluster, secured_kafka: SecuredKafka
) -> None:
    store = make_store("secured")
    user = secured_kafka.create_user("SCRAM-SHA-512")
    secured_kafka.grant(user, store.topic)
    put_secrets(cluster, store.namespace, secured_kafka, user)
    store.apply(replicas=2, kafka=kafka_of(user))
    generation = store.await_ready()["metadata"]["generation"]
    pods = store.await_pods(2)
    with store.clients(pods) as clients:
        token = clients[0].put(b"key", b"before").token
        for client in clients:
            assert client.get(b"key", token=token).body == b"before"

        rotate(secured_kafka, user)
        put_secrets(cluster, store.namespace, secured_kafka, user)
        testbed = cluster.environment.testbed
        assert testbed
        for fault in ("broker-stop", "broker-start"):  # after which everybody must log in anew
            run(testbed, "fault", fault, "1", timeout_seconds=90)

        reads: list[object] = []

        def writes_again() -> bool:
            for client in clients:
                try:
                    reads.append(client.get(b"key").body)
                except OSError as error:  # which would only mean "not yet" to the wait below
                    reads.append(error)
            return clients[0].put(b"key", b"before").status == 204

        wait_until(writes_again, what="writes with the new password", timeout_seconds=KUBELET_SECONDS)
        assert set(reads) == {b"before"}, "reads go on"
        wait_until(
            lambda: clients[1].put(b"key", b"after").status == 204,
            what="the other replica's writes",
            timeout_seconds=KUBELET_SECONDS,
        )
        wait_until(
            lambda: all(client.get(b"key", consistency="linearizable").body == b"after" for client in clients),
            what="both replicas read with the new password",
            timeout_seconds=KUBELET_SECONDS,
        )
    assert store.await_ready()["metadata"]["generation"] == generation
    assert [(pod.uid, pod.restarts) for pod in store.await_pods(2)] == [(pod.uid, 0) for pod in pods]


@pytest.mark.secured
@pytest.mark.timeout(400)
def test_a_right_that_is_taken_away_is_told_stops_no_pod_and_heals_when_it_is_given_back(
    make_store: Callable[[str], Store], cluster: Cluster, secured_kafka: SecuredKafka
) -> None:
    store = make_store("limited")
    user = secured_kafka.create_user("SCRAM-SHA-512")
    secured_kafka.grant(user, store.topic)
    put_secrets(cluster, store.namespace, secured_kafka, user)
    store.apply(replicas=2, kafka=kafka_of(user))
    store.await_ready()
    pods = store.await_pods(2)

    secured_kafka.revoke(user, store.topic, [("Topic", "Read")])
    wait_until(
        lambda: condition_of(store.get(), "Stalled").get("reason") == "KafkaAccessDenied",
        what="the missing right is told",
        timeout_seconds=60,
    )
    message = condition_of(store.get(), "Ready")["message"]
    assert "--operation Read" in message
    # A replica that starts just then waits, and says why; it does not crash.
    cluster.kubectl("delete", "pod", pods[0].name, "--wait=false", namespace=store.namespace)

    def newcomer() -> str:
        (new,) = [pod for pod in store.pods() if pod.uid not in {pod.uid for pod in pods}]
        with cluster.clients([new], namespace=store.namespace, port=ADMIN_PORT) as (admin,):
            return str(json.loads(admin.request("GET", "/status").body)["reason"])

    wait_until(lambda: newcomer() == "LogRefused", what="a replica that is refused", timeout_seconds=90)
    secured_kafka.grant(user, store.topic, [("Topic", "Read")])
    store.await_ready()
    after = store.await_pods(2)
    assert [pod.restarts for pod in after] == [0, 0]
    with store.clients(after) as clients:
        token = clients[0].put(b"key", b"value").token
        assert clients[1].get(b"key", token=token).body == b"value"


def kafka_of(user: User) -> dict[str, object]:
    """`spec.kafka` for the user."""
    password = {"name": "login"}
    sasl = {"mechanism": "SCRAM-SHA-512", "username": user.security.sasl_username, "passwordSecretRef": password}
    return {"bootstrapServers": user.servers, "tls": {"caSecretRef": {"name": "ca"}}, "sasl": sasl}


def put_secrets(cluster: Cluster, namespace: str, kafka: SecuredKafka, user: User) -> None:
    """Applies the Secrets `ca` and `login`, with what the user's password now is."""
    assert user.security.sasl_password_file is not None
    texts = {
        "ca": {"ca.crt": kafka.ca.read_text()},
        "login": {"password": user.security.sasl_password_file.read_text()},
    }
    for name, data in texts.items():
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        cluster.kubectl("apply", "--filename", "-", namespace=namespace, stdin=json.dumps(manifest))


def rotate(kafka: SecuredKafka, user: User) -> None:
    """Gives the user another password."""
    assert user.security.sasl_password_file is not None
    user.security.sasl_password_file.write_text("another")
    kafka.set_password(user.security.sasl_username or "", "another", "SCRAM-SHA-512")
