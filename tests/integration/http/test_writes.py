"""Conditional and repeated writes, as docs/http-api.md promises them, through a replica that leads."""

from collections.abc import Sequence

import pytest

from sharedlogkv_replica.core.leadership import Resign, decode_leadership
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import RESERVED_PREFIX, START, LogRecord
from tests.support.eventually import eventually
from tests.support.http import Reply, Service, serving

pytestmark = pytest.mark.asyncio

LEADER = WriteMode.LEADER
LINEARIZABLE = "?consistency=linearizable"


def version_of(reply: Reply) -> str:
    """The entity tag of an answer."""
    tag = reply.header("etag")
    assert tag is not None, reply
    return tag


def offset_of(reply: Reply) -> int:
    """The offset up to which an answer's token stands for the log."""
    token = reply.header("slkv-token")
    assert token is not None, reply
    return int(token.rpartition(":")[2])


def records(service: Service) -> Sequence[LogRecord]:
    """The log's records, which are few."""
    batch = service.broker.fetch(START)
    return () if batch is None else batch.records


def has_written(service: Service) -> bool:
    """Whether the log has a record of a user's."""
    return any(key and not key.startswith(RESERVED_PREFIX) for _, key, _ in records(service))


def resignations(service: Service) -> list[Resign]:
    """All resignations in the log."""
    found = [decode_leadership(key, value) for _, key, value in records(service) if key]
    return [record for record in found if isinstance(record, Resign)]


async def test_a_key_is_created_once() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        created = await client.ask("PUT", "/v1/kv/a", body=b"1", if_none_match="*")
        assert (created.status, created.header("idempotency-replayed")) == (204, None)
        again = await client.ask("PUT", "/v1/kv/a", body=b"2", if_none_match="*")
        assert (again.problem, version_of(again)) == ("precondition-failed", version_of(created))
        assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).body == b"1"


async def test_a_value_is_replaced_if_it_is_the_one_that_was_read() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        first = version_of(await client.ask("PUT", "/v1/kv/a", body=b"1"))
        second = await client.ask("PUT", "/v1/kv/a", body=b"2", if_match=first)
        assert second.status == 204
        late = await client.ask("PUT", "/v1/kv/a", body=b"3", if_match=first)
        assert (late.status, late.problem, version_of(late)) == (412, "precondition-failed", version_of(second))
        assert (await client.ask("DELETE", "/v1/kv/a", if_match=first)).problem == "precondition-failed"
        assert (await client.ask("DELETE", "/v1/kv/a", if_match=f"{first}, {version_of(second)}")).status == 204


async def test_the_answer_to_a_failed_condition_is_a_read() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        missing = await client.ask("PUT", "/v1/kv/a", body=b"1", if_match='"0"')
        assert (missing.problem, missing.header("etag")) == ("precondition-failed", None)
        assert missing.header("cache-control") == "no-store"
        written = await client.ask("PUT", "/v1/kv/a", body=b"1")
        failed = await client.ask("PUT", "/v1/kv/a", body=b"1", if_none_match="*")
        assert version_of(failed) == version_of(written)
        other = await client.ask("PUT", "/v1/kv/b", body=b"1")
        failed = await client.ask("PUT", "/v1/kv/a", body=b"1", if_none_match="*")
        assert version_of(failed) == version_of(written)
        assert offset_of(failed) >= offset_of(other)
        assert failed.header("slkv-lag-ms") is not None
        read = await client.ask("GET", "/v1/kv/a", slkv_token=str(failed.header("slkv-token")))
        assert version_of(read) == version_of(failed)


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("text", ["", "x", '"x"', '"1', '"01"'])
async def test_a_malformed_condition_is_refused_and_not_passed_over(field: str, text: str) -> None:
    async with serving(write_mode=LEADER) as service:
        for method in ("PUT", "DELETE"):
            assert (await service.ask(method, "/v1/kv/a", body=None, **{field: text})).problem == "bad-request"
        assert not has_written(service)


async def test_a_condition_on_dates_is_refused_where_versions_are_taken() -> None:
    async with serving(write_mode=LEADER) as service:
        reply = await service.ask("PUT", "/v1/kv/a", body=b"1", if_unmodified_since="Sat, 29 Oct 1994 19:43:31 GMT")
        assert reply.problem == "conditions-unsupported"


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match", "Idempotency-Key"])
@pytest.mark.parametrize("mode", [WriteMode.LEADERLESS, WriteMode.READ_ONLY])
async def test_who_has_no_leader_is_told_which_mode_has_conditions(mode: WriteMode, field: str) -> None:
    async with serving(write_mode=mode) as service:
        reply = await service.ask("PUT", "/v1/kv/a", body=b"1", **{field: '"1"'})
        assert (reply.status, reply.problem) == (501, "conditions-unsupported")
        assert field in str(reply.json["detail"])
        assert "writeMode Leader" in str(reply.json["detail"])
        assert service.broker.end == 0


async def test_a_repeated_write_is_carried_out_once() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        first = await client.ask("PUT", "/v1/kv/a", body=b"1", if_none_match="*", idempotency_key="r1")
        await client.ask("PUT", "/v1/kv/a", body=b"2")
        again = await client.ask("PUT", "/v1/kv/a", body=b"1", if_none_match="*", idempotency_key="r1")
        assert (first.header("idempotency-replayed"), again.header("idempotency-replayed")) == (None, "true")
        assert (again.status, version_of(again)) == (204, version_of(first))
        assert again.header("slkv-token") == first.header("slkv-token")
        assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).body == b"2"


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("PUT", "/v1/kv/a", b"2", {}),
        ("PUT", "/v1/kv/b", b"1", {}),
        ("DELETE", "/v1/kv/a", None, {}),
        ("PUT", "/v1/kv/a", b"1", {"if_match": "*"}),
    ],
)
async def test_an_idempotency_key_is_of_one_write_alone(
    method: str, target: str, body: bytes | None, headers: dict[str, str]
) -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        assert (await client.ask("PUT", "/v1/kv/a", body=b"1", idempotency_key="r1")).status == 204
        reply = await client.ask(method, target, body=body, idempotency_key="r1", **headers)
        assert (reply.status, reply.problem) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("text", ["", "a b", "x" * 129, "ä"])
async def test_a_malformed_idempotency_key_is_refused(text: str) -> None:
    async with serving(write_mode=LEADER) as service:
        assert (await service.ask("PUT", "/v1/kv/a", body=b"1", idempotency_key=text)).problem == "bad-request"


async def test_two_idempotency_keys_are_none() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        await client.send(b"DELETE /v1/kv/a HTTP/1.1\r\nHost: t\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n")
        assert (await client.reply()).problem == "bad-request"


async def test_a_write_that_finds_no_leader_may_be_repeated_at_once() -> None:
    async with serving(write_mode=LEADER, write_timeout_seconds=0.2) as service:
        service.replica.retire()
        await eventually(lambda: service.replica.leader.term is None)
        reply = await service.ask("PUT", "/v1/kv/a", body=b"1")
        assert (reply.status, reply.problem, reply.header("retry-after")) == (503, "no-leader", "1")


async def test_a_write_that_fits_no_batch_of_the_log_is_too_large_and_nothing_of_it_is_written() -> None:
    async with serving(write_mode=LEADER, value_limit_bytes=4 << 20) as service:
        reply = await service.ask("PUT", "/v1/kv/a", body=bytes(3 << 20), idempotency_key="r1")
        assert (reply.status, reply.problem) == (413, "value-too-large")
        assert not has_written(service)
        assert (await service.ask("PUT", "/v1/kv/a", body=b"1", idempotency_key="r2")).status == 204


async def test_a_linearizable_read_under_a_lease_asks_nobody() -> None:
    async with serving(write_mode=LEADER) as service:
        await service.put("a", b"1")
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).body == b"1"
        assert service.counters.read_waits == 0


# --- handing over ---


@pytest.mark.parametrize(("query", "successor"), [("", ""), ("?to=store-1", "store-1")])
async def test_the_leader_hands_over_to_whom_it_is_told(query: str, successor: str) -> None:
    async with serving(write_mode=LEADER, secret=b"s3cret") as service:
        admin = await service.connect(port=service.admin.port)
        reply = await admin.ask("POST", f"/leader/transfer{query}", authorization="Bearer s3cret")
        assert (reply.status, reply.body) == (200, b"resigned\n")
        assert [record.successor for record in resignations(service)] == [successor]
        again = await admin.ask("POST", f"/leader/transfer{query}", authorization="Bearer s3cret")
        assert (again.status, again.problem) == (409, "not-leading")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer s3cre", "Basic s3cret", "s3cret"])
@pytest.mark.parametrize("secret", [b"s3cret", None])
async def test_who_does_not_know_the_secret_moves_no_leader(authorization: str | None, secret: bytes | None) -> None:
    async with serving(write_mode=LEADER, secret=secret) as service:
        admin = await service.connect(port=service.admin.port)
        headers = {} if authorization is None else {"authorization": authorization}
        reply = await admin.ask("POST", "/leader/transfer?to=x", body=None, **headers)
        assert (reply.status, reply.problem) == (403, "forbidden")
        assert service.replica.lease_index() is not None
        assert resignations(service) == []


async def test_a_transfer_is_asked_for_in_one_way() -> None:
    async with serving(secret=b"s3cret") as service:
        admin = await service.connect(port=service.admin.port)
        get = await admin.ask("GET", "/leader/transfer", authorization="Bearer s3cret")
        assert (get.problem, get.header("allow")) == ("method-not-allowed", "POST")
        for query in ("from=a", "to=a&to=b", "to=%ff"):
            reply = await admin.ask("POST", f"/leader/transfer?{query}", authorization="Bearer s3cret")
            assert reply.problem == "bad-request"
        leaderless = await admin.ask("POST", "/leader/transfer", authorization="Bearer s3cret")
        assert leaderless.problem == "not-leading"
