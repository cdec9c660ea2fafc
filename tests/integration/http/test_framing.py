"""What goes over the wire: message framing, connection management and their order (RFC 9110, RFC 9112)."""

import asyncio
import email.utils
import time

import pytest

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from tests.support.eventually import eventually
from tests.support.http import request, serving

pytestmark = pytest.mark.asyncio


async def test_a_connection_serves_one_request_after_another() -> None:
    async with serving() as service:
        client = await service.connect()
        for number in range(50):
            put = await client.ask("PUT", f"/v1/kv/key-{number}", body=b"value")
            assert put.status == 204
            token = put.header("slkv-token")
            assert token is not None
            assert (await client.ask("GET", f"/v1/kv/key-{number}", slkv_token=token)).body == b"value"
        assert service.counters.accepted_connections == 1


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        await client.send(
            request("GET", "/v1/kv/a")
            + request("PUT", "/v1/kv/b", body=b"2")
            + request("GET", "/v1/kv/a")
            + request("GET", "/v1/kv/b?consistency=linearizable")
            + request("GET", "/v1/kv/missing")
            + request("DELETE", "/v1/kv/a")
            + request("GET", "/v1/kv/a?consistency=linearizable")
        )
        replies = [await client.reply() for _ in range(7)]
        assert [reply.status for reply in replies] == [200, 204, 200, 200, 404, 204, 404]
        assert [reply.body for reply in replies[:4]] == [b"1", b"", b"1", b"2"]


async def test_requests_behind_one_that_waits_are_answered_after_it() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/late", slkv_token=service.next_token()) + request("GET", "/v1/kv/a"))
        await eventually(lambda: service.counters.read_waits == 1)
        assert service.counters.sent_bytes == 0
        service.broker.append([Entry(b"late", b"2")])
        assert [(await client.reply()).body, (await client.reply()).body] == [b"2", b"1"]


async def test_a_plain_get_is_counted_and_says_all_that_a_full_answer_says() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        plain = [await client.ask("GET", "/v1/kv/a") for _ in range(3)]
        full = await client.ask("GET", "/v1/kv/a?consistency=eventual")
        assert service.counters.plain_reads == 3
        assert full.headers == plain[0].headers == plain[2].headers
        assert plain[2].body == full.body == b"1"
        assert list(service.counters.requests()) == [("GET", "2xx", 4)]
        await service.put("b", b"2")
        later = await client.ask("GET", "/v1/kv/a")
        assert (later.header("etag"), later.header("slkv-token")) == ('"0"', f"{service.log_id}:0:1")


@pytest.mark.parametrize("mode", [WriteMode.LEADER, WriteMode.LEADERLESS])
async def test_a_plain_put_is_counted_and_says_all_that_a_full_answer_says(mode: WriteMode) -> None:
    async with serving(write_mode=mode) as service:
        client = await service.connect()
        plain = [await client.ask("PUT", "/v1/kv/a", body=b"%d" % number) for number in range(3)]
        full = await client.ask("PUT", "/v1/kv/%61", body=b"3")
        assert service.counters.plain_puts == 3
        for reply in (*plain, full):
            assert reply.status == 204
            assert reply.header("slkv-token") == f"{service.log_id}:0:" + (reply.header("etag") or "").strip('"')
            assert [name for name, _ in reply.headers] == [name for name, _ in full.headers]
        assert list(service.counters.requests()) == [("PUT", "2xx", 4)]
        assert sum(service.counters.write_seconds.counts) == 4
        assert (await client.ask("GET", "/v1/kv/a", slkv_token=full.header("slkv-token") or "")).body == b"3"


async def test_a_remembered_put_does_not_write_what_is_another_request() -> None:
    async with serving() as service:
        client = await service.connect()
        assert (await client.ask("PUT", "/v1/kv/a", body=b"1")).status == 204
        assert (await client.ask("PUT", "/v1/kv/a%20b", body=b"2")).status == 204
        assert (await client.ask("PUT", "/v1/kv/", body=b"3")).status == 400
        assert (await client.ask("PUT", "/v1/kv/a?x=1", body=b"4")).status == 400
        assert (await client.ask("PUT", "/v1/kv", body=b"5")).status == 405
        assert (await client.ask("PUT", f"/v1/kv/{'k' * 4097}", body=b"6")).status == 414
        assert (await client.ask("GET", "/v1/kv/a")).body == b"1"
        assert (await client.ask("GET", "/v1/kv/a%20b")).body == b"2"


async def test_a_remembered_header_does_not_answer_what_is_another_request() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        await service.put("a%20b", b"wrong")
        await service.put("a b", b"right")
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a")).body == b"1"
        assert (await client.ask("GET", "/v1/kv/a%20b")).body == b"right"
        assert (await client.ask("GET", "/v1/kv/a?consistency=odd")).status == 400
        assert (await client.ask("HEAD", "/v1/kv/a")).body == b""
        assert (await client.ask("PUT", "/v1/kv/x", body=request("GET", "/v1/kv/a"))).status == 204
        await client.send(request("GET", "/v1/kv/a") + request("GET", "/v1/kv/missing"))
        assert [(await client.reply()).status, (await client.reply()).status] == [200, 404]
        # A line end in the target, and behind it the very header that is remembered: not HTTP/1.1, and no answer.
        await service.put("a\r\nX: b", b"wrong")
        await client.send(request("GET", "/v1/kv/a\r\nX: b"))
        assert (await client.reply()).problem == "bad-request"


async def test_the_head_of_a_body_that_looks_like_a_request_is_not_one() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        get = request("GET", "/v1/kv/a")
        assert (await client.ask("GET", "/v1/kv/a")).status == 200
        await client.send(f"PUT /v1/kv/x HTTP/1.1\r\nHost: t\r\nContent-Length: {2 * len(get)}\r\n\r\n".encode())
        await eventually(lambda: service.counters.received_bytes > len(get) + 50)
        await client.send(get)
        await eventually(lambda: service.counters.held_body_bytes == len(get))
        await client.send(get)
        assert (await client.reply()).status == 204
        assert (await client.ask("GET", "/v1/kv/x?consistency=linearizable")).body == get + get


@pytest.mark.parametrize("target", ["/v1/kv/a", "/v1/kv/missing", "/v1/kv?limit=1", "/v1/openapi.yaml", "/other"])
async def test_head_is_answered_as_get_without_content(target: str) -> None:
    async with serving() as service:
        await service.put("a", b"12345")
        client = await service.connect()
        get = await client.ask("GET", target)
        head = await client.ask("HEAD", target)
        assert head.status == get.status
        assert sorted(head.headers) == sorted(get.headers)
        assert (await client.ask("GET", "/v1/kv/a")).body == b"12345"


async def test_answers_without_content_are_framed_without_a_length() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        assert (await client.ask("PUT", "/v1/kv/b", body=b"")).status == 204
        tag = (await client.ask("GET", "/v1/kv/a")).header("etag")
        assert tag is not None
        assert (await client.ask("GET", "/v1/kv/a", if_none_match=tag)).status == 304
        assert (await client.ask("GET", "/v1/kv/a")).status == 200


async def test_every_answer_is_dated() -> None:
    async with serving() as service:
        client = await service.connect()
        for method, target in [("GET", "/"), ("PUT", "/v1/kv/a"), ("GET", "/v1/kv/a")]:
            date = (await client.ask(method, target)).header("date")
            assert date is not None
            assert abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time()) < 5


async def test_connection_close_is_obeyed() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/a", connection="close") + request("GET", "/v1/kv/b"))
        assert (await client.reply()).header("connection") == "close"
        assert await client.ended() == b""


async def test_http_1_0_closes_unless_asked_to_stay() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        for _ in range(2):
            await client.send(b"GET /v1/kv/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            reply = await client.reply()
            assert (reply.status, reply.body, reply.header("connection")) == (200, b"1", "keep-alive")
        await client.send(b"GET /v1/kv/a HTTP/1.0\r\n\r\n")
        reply = await client.reply()
        assert (reply.status, reply.header("connection")) == (200, "close")
        assert await client.ended() == b""


async def test_a_client_that_says_keep_alive_every_time_gets_the_plain_answer() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        for _ in range(2):
            assert (await client.ask("GET", "/v1/kv/a", connection="keep-alive")).header("connection") is None
        assert service.counters.plain_reads == 2


async def test_blanks_around_a_field_value_are_no_part_of_it() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(
            b"PUT /v1/kv/a HTTP/1.1\r\nHost:\tt \r\nTransfer-Encoding:  chunked  \r\n\r\n1\r\nx\r\n0\r\n\r\n"
        )
        put = await client.reply()
        assert put.status == 204
        get = await client.ask(
            "GET", "/v1/kv/a", slkv_token=f"  {put.header('slkv-token')}\t ", connection="keep-alive "
        )
        assert (get.status, service.counters.plain_reads) == (200, 1)


async def test_a_chunked_value_is_put_together() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n")
        for piece in (b"3;note=1\r\nabc\r\n", b"A\r\n0123456789\r\n", b"0\r\nX-Trailer: 1\r\nIf-Match: *\r\n\r\n"):
            await client.send(piece)
        assert (await client.reply()).status == 204
        assert (await client.ask("GET", "/v1/kv/a?consistency=linearizable")).body == b"abc0123456789"


async def test_a_body_is_invited_before_it_is_sent() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.reply()).status == 204


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ("PUT /v1/kv/%00a HTTP/1.1\r\nHost: t\r\nContent-Length: 3", "key-reserved"),
        ("PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 30000000", "value-too-large"),
        ("PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nIf-Match: *", "conditions-unsupported"),
        ("PUT /other HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked", "no-such-path"),
    ],
)
async def test_a_body_is_not_invited_when_its_request_must_fail(head: str, problem: str) -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(f"{head}\r\nExpect: 100-Continue\r\n\r\n".encode())
        reply = await client.reply()
        assert (reply.problem, reply.header("connection")) == (problem, "close")
        assert await client.ended() == b""


async def test_http_1_0_is_never_told_to_continue() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        await eventually(lambda: service.counters.received_bytes > 0)
        await client.send(b"abc")
        assert (await client.reply()).status == 204


@pytest.mark.parametrize("connection", ["Upgrade", "Upgrade, HTTP2-Settings", "keep-alive, Upgrade"])
async def test_an_upgrade_is_passed_over(connection: str) -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        await client.send(
            request("GET", "/v1/kv/a", connection=connection, upgrade="h2c")
            + request("PUT", "/v1/kv/b", connection=connection, upgrade="h2c", body=b"new")
            + f"PUT /v1/kv/c HTTP/1.1\r\nHost: t\r\nConnection: {connection}\r\nUpgrade: x\r\n".encode()
            + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            + request("GET", "/v1/kv/b?consistency=linearizable")
            + request("GET", "/v1/kv/c?consistency=linearizable")
        )
        replies = [await client.reply() for _ in range(5)]
        assert [reply.status for reply in replies] == [200, 204, 204, 200, 200]
        assert [replies[3].body, replies[4].body] == [b"new", b"abc"]


async def test_an_upgrade_with_a_body_still_closes_if_it_says_so() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(request("PUT", "/v1/kv/b", connection="upgrade, close", upgrade="h2c", body=b"new"))
        reply = await client.reply()
        assert (reply.status, reply.header("connection")) == (204, "close")
        assert await client.ended() == b""


async def test_a_target_may_be_given_in_the_absolute_form() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        assert (await service.ask("GET", "http://elsewhere:80/v1/kv/a")).body == b"1"
        assert (await service.ask("GET", "HTTP://elsewhere")).problem == "no-such-path"


async def test_a_client_that_sends_no_more_still_gets_its_answer() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/late", slkv_token=service.next_token()) + request("GET", "/v1/kv/b"))
        client.writer.write_eof()
        await eventually(lambda: service.counters.read_waits == 1)
        service.broker.append([Entry(b"late", b"2")])
        assert (await client.reply()).body == b"2"
        last = await client.reply()
        assert (last.status, last.header("connection")) == (404, "close")
        assert await client.ended() == b""
        await eventually(lambda: service.counters.open_connections == 0)


async def test_a_read_whose_client_is_gone_is_given_up() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/late", slkv_token=service.next_token()))
        await eventually(lambda: len(service.replica.follower.waiters) == 1)
        client.cut()
        await eventually(lambda: len(service.replica.follower.waiters) == 0)
        assert service.counters.open_connections == 0
        assert list(service.counters.requests()) == []


async def test_a_write_whose_client_is_gone_is_written() -> None:
    async with serving() as service:
        client = await service.connect()
        client.writer.write(request("PUT", "/v1/kv/a", body=b"1"))
        await client.close()
        await eventually(lambda: service.replica.store.get(b"a") is not None)


async def test_blank_lines_before_a_request_are_passed_over() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"\r\n\r\n" + request("GET", "/v1/kv/a") + b"\r\n" + request("GET", "/v1/kv/a"))
        assert [(await client.reply()).status, (await client.reply()).status] == [404, 404]


async def test_many_connections_are_served_side_by_side() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        clients = [await service.connect() for _ in range(200)]
        replies = await asyncio.gather(*(client.ask("GET", "/v1/kv/a") for client in clients))
        assert {reply.body for reply in replies} == {b"1"}
        assert service.counters.open_connections == 200
