"""How Kafka and we prove ourselves to each other: TLS, a client certificate, a password, each from a file.

The files are a Secret's, mounted, and change while the replica runs: somebody rotates it. So they are read whenever a
client connects, and a client that has trouble is made anew once they say something else than when it was made. One that
works is left alone: nobody knows whether Kafka knows the new password already, and reads need not wait to find out.
"""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError

MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED})
REFUSED_WORDS: Final = ("SSL handshake failed", "SSL routines")
"""Of errors that the client library takes for a broken connection only: the alert of a broker, for one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files said at one moment; equal to another's if nothing has changed. Texts are PEM, but the password."""

    ca: str | None = None
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What is configured; without arguments, a plain connection.

    Attributes:
        tls: connections are encrypted, and the broker's certificate is verified, its name included.
        ca_file: the authorities to verify it by, PEM; None: those of the system.
        certificate_file: our own certificate with its chain, PEM; None: we show none.
        key_file: its private key, PEM, without a passphrase.
        sasl_mechanism: how we log in, one of `MECHANISMS`; None: we don't.
        sasl_username: as whom.
        sasl_password_file: with which password, which may end with one line break.
    """

    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password_file: Path | None = None

    def contradictions(self) -> Iterator[str]:
        """What can't be meant, in words; nothing when all is well."""
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            yield "files of certificates are given, and TLS is not switched on"
        if (self.certificate_file is None) != (self.key_file is None):
            yield "a client certificate and its key are only of use together"
        if len({part is None for part in (self.sasl_mechanism, self.sasl_username, self.sasl_password_file)}) > 1:
            yield "SASL takes a mechanism, a user name and the file of a password"
        if self.sasl_mechanism == "PLAIN" and not self.tls:
            yield "SASL PLAIN without TLS would show the password to everybody on the way"

    @property
    def protocol(self) -> str:
        """As Kafka names it."""
        return ("SASL_" if self.sasl_mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")

    def read(self) -> Credentials:
        """What the files say now.

        Raises:
            OSError: one can't be read.
            ValueError: one is no text.
        """
        password = _read(self.sasl_password_file)
        return Credentials(
            ca=_read(self.ca_file),
            certificate=_read(self.certificate_file),
            key=_read(self.key_file),
            password=None if password is None else password.removesuffix("\n").removesuffix("\r"),
        )

    def has_changed_since(self, former: Credentials) -> bool:
        """Whether the files say something else now. What can't be read says nothing."""
        try:
            return self.read() != former
        except (OSError, ValueError):
            return False

    def client_properties(self, credentials: Credentials) -> Mapping[str, str]:
        """The same for a client of librdkafka's."""
        if self == PLAINTEXT:
            return {}
        properties = {
            "security.protocol": self.protocol,
            "ssl.ca.pem": credentials.ca,
            "ssl.certificate.pem": credentials.certificate,
            "ssl.key.pem": credentials.key,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": credentials.password,
        }
        return {name: value for name, value in properties.items() if value is not None}

    def connection_options(self) -> Mapping[str, object]:
        """The same for a connection of aiokafka's, from what the files say now.

        Raises:
            OSError: one can't be read, or holds no certificate or key (`ssl.SSLError`).
            ValueError: one is no text.
        """
        if self == PLAINTEXT:
            return {}
        credentials = self.read()
        return {
            "security_protocol": self.protocol,
            "ssl_context": self._build_context(credentials) if self.tls else None,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": credentials.password,
        }

    def _build_context(self, credentials: Credentials) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=credentials.ca)
        if self.certificate_file is not None:
            # By its files: the library takes no text. It never asks for a passphrase, for there is nobody to give one.
            context.load_cert_chain(self.certificate_file, self.key_file, password="")
        return context


PLAINTEXT: Final = KafkaSecurity()


def is_refusal(error: KafkaError) -> bool:
    """Whether one side has refused the connection for what the other has shown, or has not."""
    return error.code() in REFUSED or any(words in error.str() for words in REFUSED_WORDS)


def _read(path: Path | None) -> str | None:
    return None if path is None else path.read_text(encoding="utf-8")
