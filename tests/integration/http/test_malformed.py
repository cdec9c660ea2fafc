"""Input that is not HTTP, or not unambiguous, is refused, and the connection ends: nothing behind it is believed."""

import pytest

from tests.support.http import request, serving

pytestmark = pytest.mark.asyncio

GET = request("GET", "/v1/kv/a")

MALFORMED = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"BREW /pot HTTP/1.1\r\nHost: t\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/kv/a\r\n\r\n",
    "an unknown version": b"GET /v1/kv/a HTTP/1.2\r\nHost: t\r\n\r\n",
    "a space in the target": b"GET /v1/kv/a b HTTP/1.1\r\nHost: t\r\n\r\n",
    "a control character in the target": b"GET /v1/kv/a\x01 HTTP/1.1\r\nHost: t\r\n\r\n",
    "a byte above 0x7f in the target": b"GET /v1/kv/\xc3\xa9 HTTP/1.1\r\nHost: t\r\n\r\n",
    "no Host": b"GET /v1/kv/a HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n",
    "line ends without CR": b"GET /v1/kv/a HTTP/1.1\nHost: t\n\n",
    "a lone CR in a field": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nA: b\rc\r\n\r\n",
    "a NUL in a field": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nA: b\x00c\r\n\r\n",
    "a folded field": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nA : b\r\n\r\n",
    "a space before the first field": b"GET /v1/kv/a HTTP/1.1\r\n Host: t\r\n\r\n",
    "a field without a name": b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\n: b\r\n\r\n",
    "a length that is no number": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3x\r\n\r\nabc",
    "a length with a sign": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: +3\r\n\r\nabc",
    "a negative length": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: -3\r\n\r\nabc",
    "an empty length": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\n",
    "a length above 64 bits": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 18446744073709551619\r\n\r\nabc",
    "two lengths": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "the same length twice": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 3, 3\r\n\r\nabc",
    "length, then coding": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "coding, then length": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
    "a coding that is not chunked": (b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    "chunked beneath another coding": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunked before another coding": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"
    ),
    "a coding that only looks like chunked": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
    ),
    "two codings": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"
    ),
    "a coding with HTTP/1.0": b"PUT /v1/kv/a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    ),
    "a chunk size above 64 bits": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n"
    ),
    "a chunk longer than its size": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"
    ),
    "a chunk size without CR": (
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_malformed_gets_400_and_ends_the_connection(raw: bytes) -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        await client.send(GET + raw + GET)
        assert (await client.reply()).body == b"1"
        reply = await client.reply()
        assert (reply.problem, reply.header("connection")) == ("bad-request", "close")
        assert await client.ended() == b""
        assert service.broker.end == 1


async def test_what_is_malformed_behind_a_request_that_waits_is_refused_in_its_turn() -> None:
    async with serving(read_timeout_seconds=0.1) as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/a", slkv_token=service.next_token()) + b"NONSENSE\r\n\r\n" + GET)
        assert (await client.reply()).problem == "read-timeout"
        assert (await client.reply()).problem == "bad-request"
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "raw", [b"\x00", b"GET", b"GET /v1", b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(raw: bytes) -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(raw)
        client.writer.write_eof()
        await client.ended()
        assert service.counters.open_connections == 0
        assert service.counters.held_body_bytes == 0


async def test_connect_opens_no_tunnel() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"CONNECT /v1/kv/a HTTP/1.1\r\nHost: t\r\n\r\n" + GET)
        first = await client.reply()
        assert first.status >= 400
