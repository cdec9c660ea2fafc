"""The three forms of a way to log in to Kafka: the spec's, the replicas', our own client's."""

import base64

import pytest

from sharedlogkv_operator.desired import build_deployment
from sharedlogkv_operator.errors import KafkaRefused
from sharedlogkv_operator.kafka_security import (
    NO_LOGIN,
    KafkaSecurity,
    Login,
    advise_rights,
    build_login,
    parse_applied_security,
    parse_security,
)
from sharedlogkv_operator.reasons import Reason
from tests.support.operator_objects import SERVERS, Manifest, build_resource

TLS: Manifest = {"tls": {}}
PRIVATE_CA: Manifest = {"tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}}}
MUTUAL: Manifest = {
    "tls": {"clientCertificateSecretRef": {"name": "user", "certificate": "user.crt", "privateKey": "user.key"}}
}
SASL: Manifest = {
    "sasl": {
        "mechanism": "SCRAM-SHA-512",
        "username": "alice",
        "passwordSecretRef": {"name": "user", "key": "password"},
    }
}
WAYS = {"plain": {}, "tls": TLS, "private": PRIVATE_CA, "mutual": MUTUAL, "sasl": SASL, "all": PRIVATE_CA | SASL}


def pod_of(kafka: Manifest) -> Manifest:
    found: Manifest = deployment_of(kafka)["spec"]["template"]["spec"]
    return found


def deployment_of(kafka: Manifest) -> Manifest:
    resource = build_resource(spec={"kafka": {"bootstrapServers": SERVERS, **kafka}})
    return build_deployment(resource, topic_id="t", default_image="i")


def secret(**texts: str) -> Manifest:
    return {"data": {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in texts.items()}}


def login(kafka: Manifest, **secrets: Manifest | None) -> Login:
    return build_login(parse_security(kafka), secrets)


@pytest.mark.parametrize("kafka", WAYS.values(), ids=WAYS.keys())
def test_what_the_replicas_were_told_is_read_back_from_their_deployment(kafka: Manifest) -> None:
    assert parse_applied_security(deployment_of(kafka)) == parse_security(kafka)


@pytest.mark.parametrize("deployment", [{}, {"spec": {"template": {"spec": {"containers": []}}}}])
def test_a_deployment_that_is_none_of_ours_tells_of_a_plain_connection(deployment: Manifest) -> None:
    assert parse_applied_security(deployment) == KafkaSecurity()


def test_without_tls_and_sasl_the_pods_are_as_they_were_before_there_was_either() -> None:
    pod = pod_of({})
    assert "volumes" not in pod
    assert "volumeMounts" not in pod["containers"][0]
    assert "fsGroup" not in pod["securityContext"]
    assert not [item for item in pod["containers"][0]["env"] if "KAFKA" in item["name"]]


def test_the_replicas_get_secrets_as_files_that_nobody_else_reads_and_never_as_variables() -> None:
    pod = pod_of(PRIVATE_CA | SASL)
    (volume,) = pod["volumes"]
    assert volume["projected"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    container = pod["containers"][0]
    assert container["volumeMounts"] == [{"name": "kafka", "mountPath": "/etc/sharedlogkv/kafka", "readOnly": True}]
    told = {item["name"]: item.get("value") for item in container["env"]}
    assert told["SLKV_REPLICA_KAFKA_CA_FILE"] == "/etc/sharedlogkv/kafka/ca.crt"
    assert told["SLKV_REPLICA_KAFKA_SASL_PASSWORD_FILE"] == "/etc/sharedlogkv/kafka/password"
    assert not any("secretKeyRef" in str(item) for item in container["env"])


def test_our_own_client_logs_in_with_what_the_secrets_hold() -> None:
    found = login(PRIVATE_CA | SASL, ca=secret(ca_crt="PEM"), user=secret(password="pass\n"))
    assert dict(found.properties) == {
        "security.protocol": "SASL_SSL",
        "ssl.ca.pem": "PEM",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "alice",
        "sasl.password": "pass",
    }
    assert found.user == "User:alice"


def test_a_certificate_is_shown_with_its_key() -> None:
    found = login(MUTUAL, user=secret(user_crt="CHAIN", user_key="KEY"))
    assert dict(found.properties) == {
        "security.protocol": "SSL",
        "ssl.certificate.pem": "CHAIN",
        "ssl.key.pem": "KEY",
    }
    assert found.user is None


def test_a_plain_connection_takes_no_login() -> None:
    assert login({}) is NO_LOGIN
    assert dict(login(SASL, user=secret(password="p")).properties)["security.protocol"] == "SASL_PLAINTEXT"


def test_a_login_with_another_password_is_another_and_neither_shows_it() -> None:
    first, second = (login(SASL, user=secret(password=password)) for password in ("hush", "hash"))
    assert first != second
    assert first == login(SASL, user=secret(password="hush"))
    assert "hush" not in repr(first)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (None, "there is no Secret user"),
        ({}, "the Secret user has no entry password"),
        (secret(passwd="p"), "the Secret user has no entry password"),
        (secret(password=""), "the Secret user has no entry password"),
        ({"data": {"password": "/w=="}}, "the entry password of the Secret user is no text"),
    ],
)
def test_a_secret_that_is_not_as_it_should_be_is_told_by_its_name(user: Manifest | None, words: str) -> None:
    with pytest.raises(KafkaRefused, match=words) as caught:
        login(SASL, user=user)
    assert caught.value.reason is Reason.SECRET_INVALID


def test_missing_rights_are_told_with_a_command_that_a_shell_takes() -> None:
    text = advise_rights("User:o'hara", ["Read", "Write"], topic="t", servers="kafka:9092")
    assert text.startswith("User:o'hara needs the ACL Read and Write on topic t: kafka-acls.sh")
    assert """--allow-principal 'User:o'"'"'hara' --operation Read --operation Write --topic t""" in text
    assert "our Kafka user needs the ACL Read" in advise_rights(None, ["Read"], topic="t", servers="kafka:9092")
