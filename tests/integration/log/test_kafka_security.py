"""The log on a Kafka that demands a login: every way to log in, with no right too many, while secrets are rotated."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from sharedlogkv_replica.core.records import START, Entry, LogRecord, Position
from sharedlogkv_replica.errors import LogRefused, LogUnavailable
from sharedlogkv_replica.log.kafka import KafkaLog, parse_location
from tests.support.eventually import eventually
from tests.support.fenced_contract import claim
from tests.support.kafka import KafkaSite
from tests.support.log_site import append, read_to
from tests.support.secured_kafka import LEAST_RIGHTS, REPLICA_RIGHTS, SecuredKafka, User
from tests.support.tcp_proxy import tcp_proxy

pytestmark = [pytest.mark.asyncio, pytest.mark.secured]

SCRAM = "SCRAM-SHA-512"
LOGINS = ("PLAIN", "SCRAM-SHA-256", SCRAM, "TLS")

Connect = Callable[[User], KafkaLog]


@pytest.fixture
def connect(site: KafkaSite) -> Connect:
    """Makes a handle on the log for a user."""

    def make(user: User) -> KafkaLog:
        location = parse_location(f"kafka://{user.servers}/{site.topic}")
        return site.keep(KafkaLog(location, query_timeout_seconds=2.0, security=user.security))

    return make


@pytest.mark.parametrize("mechanism", LOGINS)
async def test_whoever_has_the_documented_rights_reads_and_writes(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect, mechanism: str
) -> None:
    user = secured_kafka.create_user(mechanism)
    secured_kafka.grant(user, site.topic, REPLICA_RIGHTS)
    log = connect(user)
    await log.open()
    await append(log, Entry(b"key", b"value"))
    assert await log.end() == 1
    assert await read_to(log, Position(1)) == [(0, b"key", b"value")]
    assert log.counters.read_errors == 0, "brokers complained of something"


@pytest.mark.parametrize("mechanism", [SCRAM, "TLS"])
async def test_whoever_has_the_documented_rights_can_lead_and_without_that_on_the_id_nobody_can(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect, mechanism: str
) -> None:
    user = secured_kafka.create_user(mechanism)
    secured_kafka.grant(user, site.topic, REPLICA_RIGHTS)
    log = connect(user)
    await log.open()
    with pytest.raises(LogRefused, match=r"Write .* on that transactional id"):
        await claim(log.fenced_writer())
    secured_kafka.grant(user, site.topic, [right for right in LEAST_RIGHTS if right[0] == "TransactionalId"])
    writer = log.fenced_writer()
    await claim(writer)
    await writer.append([Entry(b"key", b"value")], timeout_seconds=10.0)


@pytest.mark.parametrize("missing", ["Describe", "DescribeConfigs", "Read", "Write"])
async def test_a_missing_right_is_told_by_its_name(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect, missing: str
) -> None:
    user = secured_kafka.create_user(SCRAM)
    # Any of the other rights implies Describe, so that one is only missing where nothing is granted.
    granted = [] if missing == "Describe" else [right for right in REPLICA_RIGHTS if right[1] != missing]
    secured_kafka.grant(user, site.topic, granted)
    with pytest.raises(LogRefused, match=rf"needs the ACL {missing} on (the )?topic"):
        await do_everything(connect(user))


async def test_a_wrong_password_is_told_in_the_broker_s_words(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect
) -> None:
    user = secured_kafka.create_user(SCRAM)
    secured_kafka.grant(user, site.topic)
    log = connect(user)
    await log.open()
    password_of(user).write_text("wrong")
    stranger = connect(user)
    with pytest.raises(LogRefused, match="invalid credentials with SASL mechanism SCRAM-SHA-512"):
        await stranger.open()
    secured_kafka.cut_connections(secured_kafka.sasl)
    with pytest.raises(LogUnavailable, match="invalid credentials with SASL mechanism SCRAM-SHA-512"):
        await log.append([Entry(b"key", b"value")], timeout_seconds=1.0)


async def test_a_broker_whose_authority_is_unknown_gets_no_password(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect
) -> None:
    user = secured_kafka.create_user(SCRAM)
    strict = replace(user, security=replace(user.security, ca_file=None))  # the system's authorities
    with pytest.raises(LogRefused, match="certificate verify failed"):
        await connect(strict).open()


async def test_a_broker_under_another_name_than_its_certificate_s_gets_no_password(
    secured_kafka: SecuredKafka, connect: Connect
) -> None:
    user = secured_kafka.create_user(SCRAM)
    host, _, port = user.servers.rpartition(":")
    async with tcp_proxy() as proxy:
        alias = replace(user, servers=f"127.0.0.1:{await proxy.port_to(host, int(port))}")
        with pytest.raises(LogRefused, match="certificate verify failed"):
            await connect(alias).open()


async def test_without_the_certificate_that_the_broker_demands_nobody_comes_in(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect
) -> None:
    user = secured_kafka.create_user("TLS")
    bare = replace(user, security=replace(user.security, certificate_file=None, key_file=None))
    with pytest.raises(LogRefused, match=r"alert (bad certificate|certificate required)"):
        await connect(bare).open()


async def test_a_file_that_is_not_there_yet_is_waited_for(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect
) -> None:
    user = secured_kafka.create_user(SCRAM)
    secured_kafka.grant(user, site.topic)
    password = password_of(user).read_text()
    password_of(user).unlink()
    log = connect(user)
    with pytest.raises(LogUnavailable, match=r"credentials can't be used: .*password"):
        await log.open()
    password_of(user).write_text(f"{password}\n")
    await log.open()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "TLS"])
async def test_a_rotated_secret_is_picked_up_by_every_client_without_a_new_start(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect, mechanism: str
) -> None:
    user = secured_kafka.create_user(mechanism)
    secured_kafka.grant(user, site.topic, REPLICA_RIGHTS)
    log = connect(user)
    await log.open()
    records: list[LogRecord] = []
    following = asyncio.create_task(follow(log, records))
    await append(log, Entry(b"a", b"1"))
    await eventually(lambda: len(records) == 1, what="the first record")

    rotate(secured_kafka, user, mechanism)
    await append(log, Entry(b"b", b"2"))
    await eventually(lambda: len(records) == 2, what="a record by connections that were open before")
    assert await log.end() == 2

    assert secured_kafka.cut_connections(user.servers) >= 3, "of the writer, the reader and the questions"
    await append(log, Entry(b"c", b"3"))
    await eventually(lambda: len(records) == 3, what="a record after a new login")

    async def asked() -> bool:
        try:
            return await log.end() == 3
        except (LogRefused, LogUnavailable):
            return False

    assert await asked() or await asked(), "the question after a failed one has the new secret"
    assert not following.done(), "the reading was never begun anew"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [key for _, key, _ in records] == [b"a", b"b", b"c"]


async def test_a_password_that_kafka_learns_of_late_costs_no_working_connection(
    secured_kafka: SecuredKafka, site: KafkaSite, connect: Connect
) -> None:
    user = secured_kafka.create_user(SCRAM)
    secured_kafka.grant(user, site.topic)
    log = connect(user)
    await log.open()
    await append(log, Entry(b"a", b"1"))
    password_of(user).write_text("second")
    assert await log.end() == 1
    await append(log, Entry(b"b", b"2"))
    assert await read_to(log, Position(0)) == []
    secured_kafka.set_password(user.security.sasl_username or "", "second", SCRAM)
    secured_kafka.cut_connections(user.servers)
    await append(log, Entry(b"c", b"3"))


async def do_everything(log: KafkaLog) -> None:
    await log.open()
    await log.append([Entry(b"key", b"value")], timeout_seconds=5.0)
    await read_to(log, Position(1))


def rotate(kafka: SecuredKafka, user: User, mechanism: str) -> None:
    """Makes the old secret worthless, and puts a new one into the files."""
    if mechanism == "TLS":
        assert user.security.certificate_file is not None
        kafka.issue_certificate(user.principal.removeprefix("User:CN="), user.security.certificate_file.parent)
        return
    kafka.set_password(user.security.sasl_username or "", "second", mechanism)
    password_of(user).write_text("second")


def password_of(user: User) -> Path:
    assert user.security.sasl_password_file is not None
    return user.security.sasl_password_file


async def follow(log: KafkaLog, records: list[LogRecord]) -> None:
    async with aclosing(log.read(START)) as reading:
        async for batch in reading:
            records += batch.records
