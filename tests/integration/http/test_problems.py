"""Every problem says of which state it was given: token and lag. Each one is provoked for that.

A client that sends its token with every request and goes on with that of the last answer must lose nothing by an
answer that is a problem: its token is that of the map, or the one that was sent where that is further.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.log.memory import Fault
from sharedlogkv_replica.server import listing
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import PROBLEMS
from tests.support.eventually import eventually
from tests.support.http import Client, Reply, Service, request, serving

pytestmark = pytest.mark.asyncio

KEY: Final = "/v1/kv/a"
ADMIN_ONLY: Final = {"forbidden", "not-leading"}
"""Of the admin port, whose answers are about the replica, and not about what the store holds."""

Breaks = Callable[[Service, pytest.MonkeyPatch], Awaitable[None]]


async def intact(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks nothing."""


def failing(fault: Fault) -> Breaks:
    """The log fails so."""

    async def breaks(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        service.broker.fault = fault

    return breaks


async def leaderless(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader resigns, and there is nobody else."""
    service.replica.retire()
    await eventually(lambda: service.replica.leader.term is None)


async def shedding(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica turns all reads away."""
    service.replica.guard.share = 1.0
    service.replica.guard.on_change()


async def crowded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client has sent half a body."""
    await (await service.connect()).send(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 900\r\n\r\n" + b"x" * 600
    )
    await eventually(lambda: service.counters.held_body_bytes == 600)


async def buggy(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages can't be made."""
    monkeypatch.delattr(listing, "render_page")


@dataclass(frozen=True, slots=True)
class Case:
    """How a client comes by a problem.

    Attributes:
        slug: of the problem.
        method: of the request.
        target: of the request.
        body: of the request.
        headers: further ones; `raw` replaces the whole of it up to the token, and what follows that.
        raw: the bytes before and behind the field with the token.
        mode: of the replica.
        settings: further ones of the service.
        breaks: what befalls it before the request.
    """

    slug: str
    method: str = "GET"
    target: str = KEY
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: tuple[bytes, bytes] | None = None
    mode: WriteMode = WriteMode.LEADERLESS
    settings: dict[str, Any] = field(default_factory=dict)
    breaks: Breaks = intact

    def spell(self, token: str | None) -> bytes:
        """The request, with that token."""
        if self.raw is None:
            headers = self.headers if token is None else {"SLKV-Token": token, **self.headers}
            return request(self.method, self.target, body=self.body, **headers)
        return self.raw[0] + (b"" if token is None else f"SLKV-Token: {token}\r\n".encode()) + self.raw[1]


SOON: Final = Limits(head_timeout_seconds=0.1, body_timeout_seconds=0.1, linger_seconds=0.2)
PUT: Final = b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\n"
ONCE: Final = {"Idempotency-Key": "r1"}
LEADER: Final = WriteMode.LEADER
READ_ONLY: Final = WriteMode.READ_ONLY

CASES: Final = [
    Case("bad-request", target=f"{KEY}?consistency=strong"),
    Case("bad-request", raw=(PUT, b"Transfer-Encoding: gzip\r\n\r\n")),
    Case("bad-request", raw=(PUT, b"Transfer-Encoding: chunked\r\n\r\nno length\r\n")),
    Case("conditions-unsupported", "PUT", body=b"1", headers={"If-Match": "*"}),
    Case("consistency-unavailable", target=f"{KEY}?consistency=linearizable", mode=READ_ONLY),
    Case("headers-too-large", headers={"X": "x" * 9000, "Y": "y" * 9000}),
    Case("idempotency-key-reused", "PUT", body=b"2", headers=ONCE, mode=LEADER),
    Case("internal-error", target="/v1/kv", breaks=buggy),
    Case("key-invalid", target="/v1/kv/%zz"),
    Case("key-not-found", target="/v1/kv/missing"),
    Case("key-not-found", target="/v1/kv/missing?consistency=linearizable"),
    Case("key-reserved", "PUT", "/v1/kv/%00a", body=b"1"),
    Case("log-unavailable", "PUT", body=b"1", breaks=failing(Fault.WRITE_REFUSED)),
    Case("log-unavailable", "DELETE", breaks=failing(Fault.WRITE_REFUSED)),
    Case("log-unavailable", target=f"{KEY}?consistency=linearizable", breaks=failing(Fault.WRITE_REFUSED)),
    Case("method-not-allowed", "POST", body=b"1"),
    Case("no-leader", "PUT", body=b"1", mode=LEADER, settings={"write_timeout_seconds": 0.2}, breaks=leaderless),
    Case("no-such-path", target="/v2"),
    Case(
        "outcome-unknown", "PUT", body=b"1", settings={"write_timeout_seconds": 0.2}, breaks=failing(Fault.ANSWER_LOST)
    ),
    Case("outcome-unknown", "DELETE", settings={"write_timeout_seconds": 0.2}, breaks=failing(Fault.REQUEST_LOST)),
    Case("overloaded", breaks=shedding),
    Case("overloaded", target="/v1/kv", breaks=shedding),
    Case("overloaded", "PUT", body=b"x" * 600, settings={"limits": Limits(bodies_bytes=1000)}, breaks=crowded),
    Case("precondition-failed", "PUT", body=b"1", headers={"If-None-Match": "*"}, mode=LEADER),
    Case("precondition-failed", "DELETE", "/v1/kv/missing", headers={"If-Match": "*"}, mode=LEADER),
    Case("read-only", "PUT", body=b"1", mode=READ_ONLY),
    Case("read-timeout", target=f"{KEY}?consistency=bounded&max_lag_ms=0", breaks=failing(Fault.UNREACHABLE)),
    Case("request-timeout", raw=(PUT, b"Content-Length: 5\r\n\r\nx"), settings={"limits": SOON}),
    Case("token-invalid", headers={"SLKV-Token": "none"}),
    Case("token-of-another-log", headers={"SLKV-Token": "another:0:5"}),
    Case("uri-too-long", target="/v1/kv/" + "k" * 5000),
    Case("value-too-large", "PUT", body=b"x" * 2000, settings={"value_limit_bytes": 1000}),
]

WITHOUT_HEADER: Final = [
    Case("bad-request", raw=(b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\n", b": no name\r\n\r\n")),
    Case("bad-request", raw=(b"NONSENSE\r\n", b"\r\n")),
    Case("headers-too-large", raw=(PUT, b"X: %b" % (b"x" * 200_000))),
    Case("request-timeout", raw=(PUT, b"Content-Le"), settings={"limits": SOON}),
    Case("uri-too-long", target="/v1/kv/" + "k" * 50_000),
]


def named(case: Case) -> str:
    return f"{case.slug} ({case.method})"


def offset_of(service: Service, reply: Reply) -> int:
    """The offset up to which an answer's token stands for the log."""
    log, _, offset = str(reply.header("slkv-token")).rpartition(":")
    assert log == f"{service.log_id}:0", reply
    return int(offset)


async def provoke(case: Case, service: Service, monkeypatch: pytest.MonkeyPatch, *, token: str | None = None) -> Reply:
    """The problem, with a key in the map, and a request that is known where there is a leader."""
    if case.mode is LEADER:
        assert (await service.ask("PUT", KEY, body=b"1", **ONCE)).status == 204
    else:
        await service.put("a", b"1")
    await case.breaks(service, monkeypatch)
    client = await service.connect()
    await client.send(case.spell(token))
    reply = await client.reply(method=case.method)
    assert reply.problem == case.slug
    return reply


def serve(case: Case) -> Any:
    """A service as the case wants it."""
    return serving(write_mode=case.mode, **{"read_timeout_seconds": 0.2, **case.settings})


async def test_every_problem_of_the_data_port_is_provoked() -> None:
    assert {case.slug for case in CASES} | ADMIN_ONLY | {"not-ready"} == set(PROBLEMS)


@pytest.mark.parametrize("case", CASES, ids=named)
async def test_every_problem_bears_the_map_s_token_and_lag(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(case) as service:
        reply = await provoke(case, service, monkeypatch)
        assert int(reply.header("slkv-lag-ms") or "none") >= 0
        assert 0 <= offset_of(service, reply) < service.broker.end
        if case.slug != "outcome-unknown":  # which may come to pass
            assert offset_of(service, reply) == service.replica.position - 1


@pytest.mark.parametrize("case", [case for case in CASES if "SLKV-Token" not in case.headers], ids=named)
async def test_no_problem_bears_a_token_below_the_one_that_was_sent(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(case) as service:
        sent = f"{service.log_id}:0:123456"
        if case.method == "GET" and case.slug in ("key-not-found", "log-unavailable", "internal-error"):
            case = Case("read-timeout", target=case.target)  # for it waits for its token first
        reply = await provoke(case, service, monkeypatch, token=sent)
        assert reply.header("slkv-token") == sent
        assert reply.header("slkv-lag-ms") is not None


@pytest.mark.parametrize("case", WITHOUT_HEADER, ids=named)
async def test_where_the_token_was_not_read_the_answer_has_none_but_the_lag(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(case) as service:
        reply = await provoke(case, service, monkeypatch, token=f"{service.log_id}:0:123456")
        assert reply.header("slkv-token") is None
        assert reply.header("slkv-lag-ms") is not None


async def test_a_connection_too_many_is_told_the_lag() -> None:
    async with serving(limits=Limits(connections=1)) as service:
        await service.put("a", b"1")
        await (await service.connect()).ask("GET", KEY)
        reply = await (await service.connect()).reply()
        assert (reply.problem, reply.header("slkv-token")) == ("overloaded", None)
        assert reply.header("slkv-lag-ms") is not None


async def test_a_replica_without_a_map_speaks_of_none() -> None:
    async with serving(ready=False) as service:
        for method, target in (("GET", KEY), ("PUT", KEY), ("GET", "/v2")):
            reply = await service.ask(method, target, body=b"")
            assert reply.status in (404, 503)
            assert (reply.header("slkv-token"), reply.header("slkv-lag-ms")) == (None, None)


async def test_a_repeated_write_is_answered_with_no_less_than_its_token() -> None:
    async with serving(write_mode=LEADER) as service:
        client = await service.connect()
        first = await client.ask("PUT", KEY, body=b"1", **ONCE)
        later = await client.ask("PUT", "/v1/kv/b", body=b"1")
        again = await client.ask("PUT", KEY, body=b"1", slkv_token=str(later.header("slkv-token")), **ONCE)
        assert (again.header("idempotency-replayed"), again.header("etag")) == ("true", first.header("etag"))
        assert again.header("slkv-token") == later.header("slkv-token")


async def test_who_goes_on_with_the_token_of_a_write_in_doubt_sees_no_less_than_before() -> None:
    async with serving(write_timeout_seconds=0.2) as service:
        client = await service.connect()
        token = str((await client.ask("PUT", KEY, body=b"1")).header("slkv-token"))
        service.broker.fault = Fault.ANSWER_LOST
        doubtful = await client.ask("PUT", KEY, body=b"2", slkv_token=token)
        assert doubtful.problem == "outcome-unknown"
        service.broker.fault = None
        read = await _read_on(client, doubtful)
        assert read.body in (b"1", b"2")
        service.broker.append([Entry(b"a", b"3")])
        await eventually(lambda: service.replica.position == service.broker.end)
        assert (await _read_on(client, read)).body == b"3"


async def _read_on(client: Client, last: Reply) -> Reply:
    return await asyncio.wait_for(client.ask("GET", KEY, slkv_token=str(last.header("slkv-token"))), 5)
