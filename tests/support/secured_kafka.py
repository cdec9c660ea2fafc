"""The testbed's Kafka as one that demands a login: users, passwords, certificates and ACLs, all made by the tests."""

import contextlib
import os
import secrets
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from sharedlogkv_replica.log.kafka_security import KafkaSecurity
from tests.support.environment import EnvironmentIncomplete
from tests.support.waiting import wait_until

Right = tuple[str, str]
"""A resource's type and an operation, as docs/reference.md and Kafka's tools name them."""

LEAST_RIGHTS: Final[tuple[Right, ...]] = (
    ("Topic", "Describe"),
    ("Topic", "DescribeConfigs"),
    ("Topic", "Read"),
    ("Topic", "Write"),
    ("Topic", "Create"),
    ("Topic", "AlterConfigs"),
    ("Topic", "Delete"),
    ("TransactionalId", "Write"),
    ("TransactionalId", "Describe"),
)
"""All that the operator and the replicas ever need; a test holds the documentation to it."""

REPLICA_RIGHTS: Final[tuple[Right, ...]] = (
    ("Topic", "Describe"),
    ("Topic", "DescribeConfigs"),
    ("Topic", "Read"),
    ("Topic", "Write"),
)
ANSWER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom Kafka knows, and the files by which a replica shows it.

    Attributes:
        principal: as ACLs name it.
        servers: the listener at which it logs in.
        security: what a replica is told.
    """

    principal: str
    servers: str
    security: KafkaSecurity


class SecuredKafka:
    """A Kafka with a SASL_SSL listener, one that demands certificates, and an authorizer.

    Args:
        environ: what `testbed sh` sets.
        folder: an empty folder for files.

    Raises:
        EnvironmentIncomplete: there is no such Kafka here.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        try:
            self.plain, self.sasl, self.ssl = (
                environ[name] for name in ("SLKV_KAFKA", "SLKV_KAFKA_SASL", "SLKV_KAFKA_SSL")
            )
            self.ca = Path(environ["SLKV_KAFKA_CA"])
        except KeyError as error:
            raise EnvironmentIncomplete(f"{error} is not set: the tests of logins run inside the testbed") from error
        self._folder = folder
        self._admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

    def create_user(self, mechanism: str) -> User:
        """A user without rights, who logs in by that mechanism of SASL, or for "TLS" by a certificate."""
        name = f"user-{secrets.token_hex(4)}"
        folder = self._folder / name
        folder.mkdir()
        if mechanism == "TLS":
            self.issue_certificate(name, folder)
            security = KafkaSecurity(True, self.ca, folder / "tls.crt", folder / "tls.key")
            return User(f"User:CN={name}", self.ssl, security)
        password_file = folder / "password"
        if mechanism == "PLAIN":  # its users are fixed in the broker's configuration
            name = "alice"
            password_file.write_text("alice-secret")
        else:
            password_file.write_text(secrets.token_hex(8))
            self.set_password(name, password_file.read_text(), mechanism)
        security = KafkaSecurity(
            True, self.ca, sasl_mechanism=mechanism, sasl_username=name, sasl_password_file=password_file
        )
        return User(f"User:{name}", self.sasl, security)

    def set_password(self, name: str, password: str, mechanism: str) -> None:
        """Sets the password of SCRAM."""
        kind = ScramMechanism[mechanism.replace("-", "_")]
        change = UserScramCredentialUpsertion(name, ScramCredentialInfo(kind, 4096), password.encode())
        self._admin.alter_user_scram_credentials([change])[name].result(ANSWER_SECONDS)

    def grant(self, user: User, topic: str, rights: Iterable[Right] = LEAST_RIGHTS) -> None:
        """Gives the user these rights on the topic, and on the transactional id of its log."""
        bindings = [_bind(user.principal, topic, right) for right in rights]
        answers = self._admin.create_acls(bindings) if bindings else {}
        for answer in answers.values():
            answer.result(ANSWER_SECONDS)
        wait_until(
            lambda: self._find_acls(user).issuperset(bindings), what="the rights", timeout_seconds=ANSWER_SECONDS
        )

    def revoke(self, user: User, topic: str, rights: Iterable[Right] = LEAST_RIGHTS) -> None:
        """Takes them away again."""
        bindings = [_bind(user.principal, topic, right) for right in rights]
        filters = [
            AclBindingFilter(
                b.restype, b.name, b.resource_pattern_type, b.principal, b.host, b.operation, b.permission_type
            )
            for b in bindings
        ]
        for answer in self._admin.delete_acls(filters).values():
            answer.result(ANSWER_SECONDS)
        wait_until(
            lambda: self._find_acls(user).isdisjoint(bindings),
            what="the end of the rights",
            timeout_seconds=ANSWER_SECONDS,
        )

    def _find_acls(self, user: User) -> set[AclBinding]:
        """What the brokers know: the controller, which answers a change, is some moments ahead of them."""
        every = AclBindingFilter(
            ResourceType.ANY,
            None,  # type: ignore[arg-type] # None stands for any; the stubs want a string
            ResourcePatternType.ANY,
            user.principal,
            None,  # type: ignore[arg-type] # as above
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        return set(self._admin.describe_acls(every).result(ANSWER_SECONDS))

    def issue_certificate(self, name: str, folder: Path) -> None:
        """Writes tls.key and tls.crt for that name, signed by an authority below the brokers', in a chain with it."""
        between, extensions = folder / "between", folder / "extensions"
        extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
        _make_certificate("between", between, by=self.ca.with_suffix(""), extensions=extensions)
        _make_certificate(name, folder / "tls", by=between)
        chain = folder / "tls.crt"
        chain.write_text(chain.read_text() + between.with_suffix(".crt").read_text())

    def cut_connections(self, servers: str) -> int:
        """Breaks this process's own connections to that listener; how many there were."""
        port, broken = int(servers.rpartition(":")[2]), 0
        for file in list(Path("/proc/self/fd").iterdir()):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(file.name))) as connection:
                if connection.family == socket.AF_INET and connection.getpeername()[1] == port:
                    connection.shutdown(socket.SHUT_RDWR)
                    broken += 1
        return broken


def secrets_of(user: User) -> dict[str, str]:
    """What the user's files hold, by entries of a Secret."""
    security = user.security
    files = {
        "tls.crt": security.certificate_file,
        "tls.key": security.key_file,
        "password": security.sasl_password_file,
    }
    return {entry: file.read_text() for entry, file in files.items() if file is not None}


def kafka_fields(user: User) -> dict[str, Any]:
    """What `spec.kafka` says about the user."""
    tls: dict[str, Any] = {"caSecretRef": {"name": "ca"}}
    if user.security.certificate_file:
        return {"tls": {**tls, "clientCertificateSecretRef": {"name": "login"}}}
    sasl = {
        "mechanism": user.security.sasl_mechanism,
        "username": user.security.sasl_username,
        "passwordSecretRef": {"name": "login"},
    }
    return {"tls": tls, "sasl": sasl}


def sign_oneself(folder: Path) -> dict[str, str]:
    """A certificate that nobody vouches for, and its key, by the entries of a Secret."""
    files = {entry: folder / entry for entry in ("tls.crt", "tls.key")}
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    target = ["-keyout", str(files["tls.key"]), "-out", str(files["tls.crt"])]
    _openssl("req", "-x509", *curve, "-subj", "/CN=stranger", "-days", "2", *target)
    return {entry: file.read_text() for entry, file in files.items()}


def _bind(principal: str, topic: str, right: Right) -> AclBinding:
    kind, operation = right
    name = topic if kind == "Topic" else f"sharedlogkv-{topic}"
    kinds = {"Topic": ResourceType.TOPIC, "TransactionalId": ResourceType.TRANSACTIONAL_ID}
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in operation).strip("_").upper()
    return AclBinding(
        kinds[kind],
        name,
        ResourcePatternType.LITERAL,
        principal,
        "*",
        AclOperation[words],
        AclPermissionType.ALLOW,
    )


def _make_certificate(name: str, path: Path, *, by: Path, extensions: Path | None = None) -> None:
    """Writes `path`.key and `path`.crt, signed by the authority of the same files at `by`."""
    key, request, certificate = (path.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    _openssl("genpkey", *curve, "-out", str(key))
    _openssl("req", "-new", "-key", str(key), "-subj", f"/CN={name}", "-out", str(request))
    signer = ["-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-set_serial", f"0x{secrets.token_hex(8)}", "-days", "2"]
    more = ["-extfile", str(extensions)] if extensions else []
    _openssl("x509", "-req", "-in", str(request), *signer, *more, "-out", str(certificate))


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
