"""The operator at a Kafka that demands a login: what Secrets hold, what rights are missing, and what is made of it."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.reconcile import Reconciler
from tests.support.kubernetes import KubeApi, build_store, condition
from tests.support.secured_kafka import (
    LEAST_RIGHTS,
    Right,
    SecuredKafka,
    User,
    kafka_fields,
    secrets_of,
    sign_oneself,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.secured]

Manifest = dict[str, Any]

SCRAM = "SCRAM-SHA-512"


class Site:
    """A SharedLogKV named `store`, the Secrets `ca` and `login` that it refers to, and a reconciler."""

    def __init__(
        self, api: KubeApi, reconciler: Reconciler, *, kafka: SecuredKafka, namespace: str, topic: str
    ) -> None:
        self.api = api
        self.reconciler = reconciler
        self.kafka = kafka
        self.namespace = namespace
        self.topic = topic

    async def create(self, mechanism: str, *, rights: Sequence[Right] = LEAST_RIGHTS, **topic: Any) -> User:
        """Creates a user with these rights, the Secrets, and the resource that refers to them."""
        user = self.kafka.create_user(mechanism)
        self.kafka.grant(user, self.topic, rights)
        await self.put_secret("ca", {"ca.crt": self.kafka.ca.read_text()})
        await self.put_secret("login", secrets_of(user))
        fields = {"name": self.topic, "replicationFactor": 1, "minInSyncReplicas": 1, **topic}
        kafka = {"bootstrapServers": user.servers, **kafka_fields(user)}
        await self.api.create("SharedLogKV", build_store(self.namespace, kafka=kafka, topic=fields))
        return user

    async def put_secret(self, name: str, texts: dict[str, str]) -> None:
        """Creates or replaces a Secret."""
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        status, answer = await self.api.request("POST", path, body=manifest)
        if status == 409:
            await self.api.call("PUT", f"{path}/{name}", body=manifest)
        else:
            assert status == 201, answer

    async def delete_secret(self, name: str) -> None:
        await self.api.call("DELETE", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")

    async def reconcile(self) -> None:
        """One pass."""
        await self.reconciler.reconcile(self.namespace, "store")

    async def read(self, kind: str = "SharedLogKV") -> Manifest | None:
        """The resource, or its child of that kind."""
        return await self.api.get(kind, self.namespace, "store")

    async def condition(self, type_: str) -> tuple[str, str]:
        """A condition's status and reason."""
        found = condition(await self.read(), type_)
        return found["status"], found["reason"]

    async def message(self) -> str:
        """Why it is Ready, or is not."""
        return str(condition(await self.read(), "Ready")["message"])


@pytest.fixture
def site(secured_kafka: SecuredKafka, api: KubeApi, reconciler: Reconciler, namespace: str, topic: str) -> Site:
    """A store and who reconciles it; the resource is not created yet."""
    return Site(api, reconciler, kafka=secured_kafka, namespace=namespace, topic=topic)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", SCRAM, "TLS"])
async def test_with_the_documented_rights_a_store_lives_and_dies(
    site: Site, admin: ConfluentAdmin, mechanism: str
) -> None:
    await site.create(mechanism, reclaimPolicy="Delete", allowDataLoss=True, config={"segment.ms": "60000"})
    await site.reconcile()
    assert await site.condition("TopicReady") == ("True", "TopicBound"), await site.message()
    await admin.alter_topic(site.topic, {"segment.ms": "1000"})
    await site.reconcile()
    found = await admin.describe_topic(site.topic)
    assert found is not None
    assert found.config["segment.ms"] == "60000"
    await site.api.delete("SharedLogKV", site.namespace, "store")
    await site.reconcile()
    assert await site.read() is None
    assert await admin.describe_topic(site.topic) is None


async def test_the_replicas_get_the_secrets_as_files_and_the_api_server_keeps_them_so(site: Site) -> None:
    user = await site.create(SCRAM)
    await site.reconcile()
    first = await site.read("Deployment")
    assert first is not None
    assert secrets_of(user)["password"] not in str(first)
    volumes = first["spec"]["template"]["spec"]["volumes"]
    (volume,) = [volume for volume in volumes if volume["name"] == "kafka"]
    assert [source["secret"]["name"] for source in volume["projected"]["sources"]] == ["ca", "login"]
    rotate(site.kafka, user)
    await site.put_secret("login", secrets_of(user))
    await site.reconcile()
    second = await site.read("Deployment")
    assert second is not None
    assert second["metadata"]["generation"] == first["metadata"]["generation"], "a rotation rolls no pod"


async def test_a_secret_that_is_not_there_is_told_and_awaited(site: Site) -> None:
    user = await site.create(SCRAM)
    await site.delete_secret("login")
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "SecretInvalid")
    assert await site.condition("TopicReady") == ("Unknown", "SecretInvalid")
    assert await site.message() == "there is no Secret login"
    assert await site.read("Deployment") is None
    await site.put_secret("login", {"passwort": "first"})
    await site.reconcile()
    assert await site.message() == "the Secret login has no entry password"
    await site.put_secret("login", secrets_of(user))
    await site.reconcile()
    assert await site.condition("TopicReady") == ("True", "TopicBound")


async def test_an_authority_that_is_no_certificate_is_told(site: Site) -> None:
    await site.create(SCRAM)
    await site.put_secret("ca", {"ca.crt": "no certificate"})
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "SecretInvalid")
    assert "ssl.ca.pem" in await site.message()


async def test_a_wrong_password_is_told_in_the_broker_s_words_until_the_secret_is_right(site: Site) -> None:
    user = await site.create(SCRAM)
    await site.put_secret("login", {"password": "wrong"})
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "KafkaLoginFailed")
    assert await site.condition("TopicReady") == ("Unknown", "KafkaLoginFailed")
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in await site.message()
    assert "wrong" not in await site.message()
    before = await site.read()
    await site.put_secret("login", secrets_of(user))
    await site.reconcile()
    assert await site.condition("TopicReady") == ("True", "TopicBound")
    after = await site.read()
    assert before is not None
    assert after is not None
    assert before["metadata"]["generation"] == after["metadata"]["generation"], "nobody touched the resource"


async def test_a_certificate_that_the_broker_does_not_trust_is_told_in_its_words(site: Site, tmp_path: Path) -> None:
    await site.create("TLS")
    await site.put_secret("login", sign_oneself(tmp_path))
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "KafkaLoginFailed")
    assert "alert" in await site.message()


async def test_a_user_that_does_not_work_is_not_rolled_out_to_replicas_that_are_there(site: Site) -> None:
    user = await site.create(SCRAM)
    await site.reconcile()
    first = await site.read("Deployment")
    sasl = {**kafka_fields(user)["sasl"], "username": "nobody-knows"}
    await site.api.patch("SharedLogKV", site.namespace, "store", {"spec": {"kafka": {"sasl": sasl}}})
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "KafkaLoginFailed")
    second = await site.read("Deployment")
    assert first is not None
    assert second is not None
    assert first["spec"]["template"] == second["spec"]["template"]


@pytest.mark.parametrize("missing", ["Create", "Describe", "DescribeConfigs", "Read", "Write"])
async def test_a_missing_right_is_told_with_the_command_that_grants_it(site: Site, missing: str) -> None:
    # Others imply some: every right Describe, and AlterConfigs DescribeConfigs.
    implying = {"Describe": {operation for _, operation in LEAST_RIGHTS}, "DescribeConfigs": {"AlterConfigs"}}
    without = {missing, *implying.get(missing, ())}
    rights = [(kind, operation) for kind, operation in LEAST_RIGHTS if operation not in without]
    user = await site.create(SCRAM, rights=rights)
    await site.reconcile()
    assert await site.condition("Stalled") == ("True", "KafkaAccessDenied")
    message = await site.message()
    assert f"{user.principal} needs the ACL {missing} on topic {site.topic}" in message
    assert f"--allow-principal {user.principal} --operation {missing} --topic {site.topic}" in message
    site.kafka.grant(user, site.topic)
    await site.reconcile()
    assert await site.condition("TopicReady") == ("True", "TopicBound"), await site.message()
    body = await site.read()
    assert body is not None
    assert body["status"]["topic"]["origin"] == "Created", "no topic is made that is not known for its own"


async def test_a_right_that_is_taken_away_later_is_told_and_leaves_the_replicas(site: Site) -> None:
    user = await site.create(SCRAM)
    await site.reconcile()
    first = await site.read("Deployment")
    site.kafka.revoke(user, site.topic, [("Topic", "Read"), ("Topic", "Write")])
    await site.reconcile()
    assert await site.condition("TopicReady") == ("False", "KafkaAccessDenied")
    assert "needs the ACL Read and Write on topic" in await site.message()
    second = await site.read("Deployment")
    assert first is not None
    assert second is not None
    assert first["spec"] == second["spec"]


def rotate(kafka: SecuredKafka, user: User) -> None:
    """Gives the user another password, in Kafka and in the file."""
    assert user.security.sasl_password_file is not None
    user.security.sasl_password_file.write_text("another")
    kafka.set_password(user.security.sasl_username or "", "another", user.security.sasl_mechanism or "")
