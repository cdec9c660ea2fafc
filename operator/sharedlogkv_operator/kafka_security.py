"""How a resource reaches its Kafka cluster: TLS, a client certificate, a password, each by reference to a Secret.

Three forms of the same: what the spec says (`KafkaSecurity`), what the replicas get (files of a mounted Secret, which
follow it when it is rotated, and variables that name them), and what our own client gets (`Login`, secrets included).
"""

import base64
import binascii
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.errors import KafkaRefused
from sharedlogkv_operator.json_fields import JsonObject, as_object
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_container import read_template_variables

VOLUME: Final = "kafka"
FOLDER: Final = "/etc/sharedlogkv/kafka"
CA, CERTIFICATE, KEY, PASSWORD = "ca.crt", "client.crt", "client.key", "password"
FILE_MODE: Final = 0o440
"""Of the mounted files: for the replica's user, by its group, and for nobody else."""

FILE_VARIABLES: Final[Mapping[str, str]] = {
    CA: names.ENV_KAFKA_CA_FILE,
    CERTIFICATE: names.ENV_KAFKA_CERTIFICATE_FILE,
    KEY: names.ENV_KAFKA_KEY_FILE,
    PASSWORD: names.ENV_KAFKA_SASL_PASSWORD_FILE,
}


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One entry of a Secret in the resource's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What the spec says; without arguments, a plain connection.

    Attributes:
        is_encrypted: whether connections use TLS.
        files: where the content of each file comes from, by the name of the file.
        mechanism: of SASL; None: nobody logs in by it.
        username: of SASL.
    """

    is_encrypted: bool = False
    files: Mapping[str, SecretKey] = field(default_factory=dict)
    mechanism: str | None = None
    username: str | None = None

    @property
    def secret_names(self) -> frozenset[str]:
        """The Secrets that are named."""
        return frozenset(source.name for source in self.files.values())


@dataclass(frozen=True, slots=True)
class Login:
    """How our own client connects; equal to another only if it connects in the same way, with the same secrets.

    Attributes:
        properties: of the client, by librdkafka's names.
        user: the user that Kafka sees, as its ACLs name it; None if that can't be told.
    """

    properties: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    user: str | None = None


NO_LOGIN: Final = Login()


def parse_security(kafka: JsonObject) -> KafkaSecurity:
    """What `spec.kafka` says of it.

    Raises:
        KeyError, TypeError: it is not as the CRD promises.
    """
    tls, sasl = kafka.get("tls"), kafka.get("sasl")
    files: dict[str, SecretKey] = {}
    if tls is not None:
        authorities, certificate = as_object(tls).get("caSecretRef"), as_object(tls).get("clientCertificateSecretRef")
        if authorities is not None:
            files[CA] = _parse_secret_key(authorities, "key")
        if certificate is not None:
            files[CERTIFICATE] = _parse_secret_key(certificate, "certificate")
            files[KEY] = _parse_secret_key(certificate, "privateKey")
    if sasl is None:
        return KafkaSecurity(tls is not None, files)
    files[PASSWORD] = _parse_secret_key(as_object(sasl)["passwordSecretRef"], "key")
    mechanism, username = as_object(sasl)["mechanism"], as_object(sasl)["username"]
    return KafkaSecurity(tls is not None, files, str(mechanism), str(username))


def build_environment(security: KafkaSecurity) -> list[dict[str, object]]:
    """The variables by which a replica learns of it."""
    values: dict[str, str | None] = {
        names.ENV_KAFKA_TLS: "true" if security.is_encrypted else None,
        names.ENV_KAFKA_SASL_MECHANISM: security.mechanism,
        names.ENV_KAFKA_SASL_USERNAME: security.username,
        **{FILE_VARIABLES[file]: f"{FOLDER}/{file}" for file in security.files},
    }
    return [{"name": name, "value": value} for name, value in values.items() if value is not None]


def build_volume(security: KafkaSecurity) -> dict[str, object] | None:
    """The volume of the files; None when there is none. All are swapped at once when a Secret changes."""
    if not security.files:
        return None
    sources = [
        {"secret": {"name": source.name, "items": [{"key": source.key, "path": file}]}}
        for file, source in security.files.items()
    ]
    return {"name": VOLUME, "projected": {"defaultMode": FILE_MODE, "sources": sources}}


def parse_applied_security(deployment: JsonObject) -> KafkaSecurity:
    """What the replicas of a Deployment of ours were told; a plain connection where that can't be read."""
    told = read_template_variables(deployment)
    try:
        pod = deployment["spec"]["template"]["spec"]  # type: ignore[index] # none of it may be there
        volumes = [volume for volume in pod.get("volumes", []) if volume["name"] == VOLUME]
        files = {
            item["path"]: SecretKey(source["secret"]["name"], item["key"])
            for volume in volumes
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
    except (AttributeError, KeyError, TypeError):
        return KafkaSecurity()
    return KafkaSecurity(
        names.ENV_KAFKA_TLS in told,
        files,
        told.get(names.ENV_KAFKA_SASL_MECHANISM),
        told.get(names.ENV_KAFKA_SASL_USERNAME),
    )


def build_login(security: KafkaSecurity, secrets: Mapping[str, JsonObject | None]) -> Login:
    """How our own client connects, with what the Secrets hold.

    Args:
        security: what the spec says.
        secrets: the Secrets that it names; None for one that is not there.

    Raises:
        KafkaRefused: a Secret is missing, or lacks an entry, or holds no text there.
    """
    if security == KafkaSecurity():
        return NO_LOGIN
    texts = {file: _read_entry(secrets[source.name], source) for file, source in security.files.items()}
    protocol = ("SASL_" if security.mechanism else "") + ("SSL" if security.is_encrypted else "PLAINTEXT")
    password = texts.get(PASSWORD)
    properties = {
        "security.protocol": protocol,
        "ssl.ca.pem": texts.get(CA),
        "ssl.certificate.pem": texts.get(CERTIFICATE),
        "ssl.key.pem": texts.get(KEY),
        "sasl.mechanism": security.mechanism,
        "sasl.username": security.username,
        "sasl.password": None if password is None else password.removesuffix("\n").removesuffix("\r"),
    }
    given = tuple((name, value) for name, value in properties.items() if value is not None)
    return Login(given, f"User:{security.username}" if security.username else None)


def _read_entry(secret: JsonObject | None, source: SecretKey) -> str:
    if secret is None:
        raise KafkaRefused(f"there is no Secret {source.name}", reason=Reason.SECRET_INVALID)
    data = secret.get("data")
    text = data.get(source.key) if isinstance(data, Mapping) else None
    if not text:
        raise KafkaRefused(f"the Secret {source.name} has no entry {source.key}", reason=Reason.SECRET_INVALID)
    try:
        return base64.b64decode(str(text)).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        where = f"the entry {source.key} of the Secret {source.name}"
        raise KafkaRefused(f"{where} is no text", reason=Reason.SECRET_INVALID) from error


def advise_rights(user: str | None, operations: Sequence[str], *, topic: str, servers: str) -> str:
    """The ACLs that `user` lacks on a topic, and the command that grants them."""
    principal = shlex.quote(user or "User:NAME")
    flags = " ".join(f"--operation {operation}" for operation in operations)
    return (
        f"{user or 'our Kafka user'} needs the ACL {' and '.join(operations)} on topic {topic}: kafka-acls.sh "
        f"--bootstrap-server {servers} --add --allow-principal {principal} {flags} --topic {topic}"
    )


def _parse_secret_key(reference: object, field_name: str) -> SecretKey:
    return SecretKey(str(as_object(reference)["name"]), str(as_object(reference)[field_name]))
