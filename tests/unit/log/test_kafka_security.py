"""What the files of a login say, and when they say something else."""

from pathlib import Path

import pytest

from sharedlogkv_replica.log.kafka_security import PLAINTEXT, Credentials, KafkaSecurity

FILE = Path("file")


def sasl(password_file: Path, mechanism: str = "SCRAM-SHA-512") -> KafkaSecurity:
    return KafkaSecurity(tls=False, sasl_mechanism=mechanism, sasl_username="alice", sasl_password_file=password_file)


@pytest.mark.parametrize(
    ("security", "protocol"),
    [
        (PLAINTEXT, "PLAINTEXT"),
        (sasl(FILE), "SASL_PLAINTEXT"),
        (KafkaSecurity(tls=True), "SSL"),
        (KafkaSecurity(True, FILE, FILE, FILE, "PLAIN", "alice", FILE), "SASL_SSL"),
    ],
)
def test_what_fits_together_is_taken(security: KafkaSecurity, protocol: str) -> None:
    assert list(security.contradictions()) == []
    assert security.protocol == protocol


@pytest.mark.parametrize(
    ("security", "words"),
    [
        (KafkaSecurity(ca_file=FILE), "TLS is not switched on"),
        (KafkaSecurity(tls=True, certificate_file=FILE), "only of use together"),
        (KafkaSecurity(tls=True, key_file=FILE), "only of use together"),
        (KafkaSecurity(sasl_username="alice"), "a mechanism, a user name and the file of a password"),
        (KafkaSecurity(sasl_mechanism="SCRAM-SHA-512", sasl_username="alice"), "a mechanism, a user name and the file"),
        (sasl(FILE, "PLAIN"), "PLAIN without TLS"),
    ],
)
def test_what_can_t_be_meant_is_told(security: KafkaSecurity, words: str) -> None:
    (told,) = security.contradictions()
    assert words in told


def test_a_line_break_at_the_end_of_a_password_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for written in ("secret", "secret\n", "secret\r\n"):
        file.write_bytes(written.encode())
        assert sasl(file).read() == Credentials(password="secret")
    file.write_text(" secret \n\n")
    assert sasl(file).read().password == " secret \n"


def test_a_change_of_the_files_is_seen_and_a_gap_is_none(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    security = sasl(file)
    before = security.read()
    assert not security.has_changed_since(before)
    file.unlink()
    assert not security.has_changed_since(before)
    file.write_bytes(b"\xff")
    assert not security.has_changed_since(before)
    file.write_text("second")
    assert security.has_changed_since(before)


def test_secrets_do_not_show() -> None:
    assert "hush" not in repr(Credentials(ca="ca", certificate="hush", key="hush", password="hush"))


def test_a_plain_connection_needs_no_properties_and_no_options() -> None:
    assert PLAINTEXT.client_properties(PLAINTEXT.read()) == {}
    assert PLAINTEXT.connection_options() == {}


def test_a_key_with_a_passphrase_is_an_error_and_no_question_on_the_terminal(tmp_path: Path) -> None:
    encrypted = tmp_path / "both.pem"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    with pytest.raises(OSError, match="SSL"):
        KafkaSecurity(tls=True, certificate_file=encrypted, key_file=encrypted).connection_options()
