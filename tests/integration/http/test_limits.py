"""What one client may ask of the server, and what becomes of one that asks for more: large, many, slow, silent."""

import asyncio
import time

import pytest

from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.server.http_connection import HttpConnection
from sharedlogkv_replica.server.limits import Limits
from tests.support.eventually import eventually
from tests.support.http import Client, read_reply, request, serving
from tests.support.transport import RecordingTransport

pytestmark = pytest.mark.asyncio

SOON = Limits(
    head_timeout_seconds=0.2,
    body_timeout_seconds=0.2,
    idle_timeout_seconds=0.2,
    stall_timeout_seconds=0.2,
    linger_seconds=0.2,
)


async def test_a_target_up_to_the_limit_is_read() -> None:
    async with serving(limits=Limits(target_bytes=100)) as service:
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/" + "a" * 93)).problem == "key-not-found"
        reply = await client.ask("GET", "/v1/kv/" + "a" * 94)
        assert (reply.problem, reply.header("connection")) == ("uri-too-long", "close")
        assert await client.ended() == b""


async def test_a_target_without_end_is_refused_while_it_comes() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"GET /" + b"a" * 100_000)
        assert (await client.reply()).problem == "uri-too-long"
        assert await client.ended() == b""


async def test_a_header_up_to_the_limit_is_read() -> None:
    async with serving(limits=Limits(head_bytes=1000)) as service:
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a", x="b" * 900)).problem == "key-not-found"
        reply = await client.ask("GET", "/v1/kv/a", x="b" * 1000)
        assert (reply.problem, reply.header("connection")) == ("headers-too-large", "close")
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "start",
    [
        b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nX: ",
        b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\n",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: ",
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
    ids=["a field", "fields", "a trailer", "a chunk extension"],
)
async def test_a_header_without_end_is_refused_while_it_comes(start: bytes) -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(start)
        sent = 0
        while not service.counters.sent_bytes:
            await client.send(b"x" * 1000 if start[-2:] != b"\r\n" else b"X: %b\r\n" % (b"y" * 1000))
            sent += 1000
            assert sent < 1_000_000
            await asyncio.sleep(0)
        assert (await client.reply()).problem == "headers-too-large"


async def test_a_value_up_to_the_limit_is_taken() -> None:
    async with serving() as service:
        client = await service.connect()
        value = bytes(range(256)) * 4096
        put = await client.ask("PUT", "/v1/kv/a", body=value)
        assert put.status == 204
        assert (await client.ask("GET", "/v1/kv/a", slkv_token=str(put.header("slkv-token")))).body == value


async def test_a_larger_value_is_refused_before_it_is_read() -> None:
    async with serving(value_limit_bytes=1000) as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n")
        reply = await client.reply()
        assert (reply.problem, reply.header("connection")) == ("value-too-large", "close")
        assert await client.ended() == b""


async def test_a_larger_chunked_value_is_refused_as_soon_as_it_is_too_large() -> None:
    async with serving(value_limit_bytes=1000) as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send((b"64\r\n" + b"x" * 100 + b"\r\n") * 11)
        assert (await client.reply()).problem == "value-too-large"
        assert await client.ended() == b""
        assert service.counters.held_body_bytes == 0


async def test_the_refusal_of_a_large_value_reaches_a_client_that_goes_on_sending() -> None:
    async with serving(value_limit_bytes=1000) as service:
        client = await service.connect()
        size = 8 << 20
        client.writer.write(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        assert (await client.reply()).problem == "value-too-large"


async def test_bodies_of_all_clients_together_are_bounded() -> None:
    async with serving(limits=Limits(bodies_bytes=1000)) as service:
        head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 900\r\n\r\n"
        first, second = await service.connect(), await service.connect()
        await first.send(head + b"x" * 600)
        await eventually(lambda: service.counters.held_body_bytes == 600)
        await second.send(head + b"x" * 600)
        reply = await second.reply()
        assert (reply.problem, reply.header("retry-after")) == ("overloaded", "1")
        await eventually(lambda: service.counters.held_body_bytes == 600)
        await first.send(b"x" * 300)
        assert (await first.reply()).status == 204
        assert service.counters.held_body_bytes == 0


async def test_one_connection_too_many_is_told_so() -> None:
    async with serving(limits=Limits(connections=2)) as service:
        first, second = await service.connect(), await service.connect()
        assert (await first.ask("GET", "/v1/kv/a")).status == 404
        assert (await second.ask("GET", "/v1/kv/a")).status == 404
        third = await service.connect()
        reply = await third.reply()
        assert (reply.problem, reply.header("retry-after"), reply.header("connection")) == ("overloaded", "1", "close")
        assert await third.ended() == b""
        assert service.counters.refused_connections == 1
        await first.close()
        await third.close()
        await eventually(lambda: service.counters.open_connections == 1)
        assert (await service.ask("GET", "/v1/kv/a")).status == 404


async def test_connections_turned_away_take_no_place_of_others() -> None:
    async with serving(limits=Limits(connections=1)) as service:
        first = await service.connect()
        assert (await first.ask("GET", "/v1/kv/a")).status == 404
        for _ in range(3):
            assert (await (await service.connect()).reply()).problem == "overloaded"
        await first.close()
        await eventually(lambda: service.counters.open_connections == 3)  # those turned away have not closed yet
        assert (await service.ask("GET", "/v1/kv/a")).status == 404


async def test_a_length_of_thousands_of_digits_is_a_large_value() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: " + b"0" * 5000 + b"1\r\n\r\nx")
        assert (await client.reply()).problem == "value-too-large"


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"GET /v1/kv/", "header"),
        (b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\n", "header"),
        (b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nx", "body"),
    ],
)
async def test_a_request_that_comes_too_slowly_is_ended(start: bytes, part: str) -> None:
    async with serving(limits=SOON) as service:
        client = await service.connect()
        began = time.monotonic()
        await client.send(start)
        trickle = asyncio.create_task(_trickle(client))
        reply = await client.reply()
        assert (reply.problem, reply.header("connection")) == ("request-timeout", "close")
        assert part in str(reply.json["detail"])
        assert time.monotonic() - began >= 0.2
        trickle.cancel()
        await asyncio.wait([trickle])


async def _trickle(client: Client) -> None:
    """Sends a byte now and then: activity must not keep a request alive for ever."""
    while True:
        client.writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_an_idle_connection_is_ended_in_silence() -> None:
    async with serving(limits=SOON) as service:
        client = await service.connect()
        began = time.monotonic()
        assert (await client.ask("GET", "/v1/kv/a")).status == 404
        assert await client.ended() == b""
        assert time.monotonic() - began >= 0.2


async def test_every_one_of_many_idle_connections_is_ended() -> None:
    async with serving(limits=SOON) as service:
        transports = [RecordingTransport(HttpConnection(service.server)) for _ in range(1200)]
        assert service.counters.open_connections == 1200
        await eventually(lambda: service.counters.open_connections == 0)
        assert all(transport.closed for transport in transports)


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    async with serving(limits=SOON) as service:
        client = await service.connect()
        deadline = time.monotonic() + 10
        while service.counters.open_connections or not service.counters.accepted_connections:
            client.writer.write(b"\r\n")
            await asyncio.sleep(0.01)
            assert time.monotonic() < deadline


async def test_a_connection_in_use_is_not_idle() -> None:
    async with serving(limits=Limits(idle_timeout_seconds=1.0)) as service:
        await service.put("a", b"1")
        client = await service.connect()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert (await client.ask("GET", "/v1/kv/a")).status == 200
        assert service.counters.plain_reads > 1


async def test_a_request_that_waits_for_the_map_is_not_idle() -> None:
    async with serving(limits=SOON) as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/a", slkv_token=service.next_token()))
        began = time.monotonic()
        await eventually(lambda: time.monotonic() - began > 0.8)
        service.broker.append([Entry(b"a", b"1")])
        assert (await client.reply()).body == b"1"


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async with serving(limits=SOON) as service:
        await service.put("large", b"x" * (1 << 20))
        client = await service.connect(read_limit_bytes=1 << 10)
        client.writer.write(request("GET", "/v1/kv/large") * 40)
        await eventually(lambda: service.counters.slow_client_aborts == 1)
        await eventually(lambda: service.counters.open_connections == 0)


async def test_a_client_that_takes_its_answers_slowly_gets_them_all() -> None:
    async with serving(limits=Limits(stall_timeout_seconds=1.0, idle_timeout_seconds=0.2)) as service:
        await service.put("large", b"x" * (1 << 20))
        client = await service.connect(read_limit_bytes=1 << 12)
        writing = asyncio.create_task(client.send(request("GET", "/v1/kv/large") * 20))
        for _ in range(20):
            assert len((await client.reply()).body) == 1 << 20
            await asyncio.sleep(0.02)
        await writing
        assert service.counters.slow_client_aborts == 0


async def test_answers_are_not_made_faster_than_the_client_takes_them() -> None:
    async with serving() as service:
        await service.put("large", b"x" * (1 << 20))
        client, other = await service.connect(read_limit_bytes=1 << 10), await service.connect()
        client.writer.write(request("GET", "/v1/kv/large") * 200)
        await eventually(lambda: service.counters.sent_bytes > 1 << 20)
        for _ in range(50):
            assert (await other.ask("GET", "/v1/kv/missing")).status == 404
        assert service.counters.sent_bytes < 30 << 20  # what the kernel's buffers took, and no more
        for _ in range(200):
            assert len((await client.reply()).body) == 1 << 20


async def test_requests_are_not_read_faster_than_they_are_answered() -> None:
    async with serving(read_timeout_seconds=30) as service:
        client, other = await service.connect(), await service.connect()
        client.writer.write(request("GET", "/v1/kv/late", slkv_token=service.next_token()))
        client.writer.write(request("GET", "/v1/kv/missing") * 20_000)
        await eventually(lambda: service.counters.read_waits == 1)
        for _ in range(50):
            assert (await other.ask("GET", "/v1/kv/missing")).status == 404
        assert service.counters.received_bytes < 600_000  # of 900,000: two reads from the socket
        service.broker.append([Entry(b"late", b"1")])
        assert (await client.reply()).body == b"1"
        for _ in range(20_000):
            assert (await read_reply(client.reader)).status == 404


async def test_pipelined_bodies_are_bounded_too() -> None:
    async with serving(read_timeout_seconds=30) as service:
        client = await service.connect()
        client.writer.write(request("GET", "/v1/kv/late", slkv_token=service.next_token()))
        client.writer.write(request("PUT", "/v1/kv/a", body=b"x" * (1 << 20)) * 20)
        await eventually(lambda: service.counters.held_body_bytes > 2 << 20)
        assert service.counters.held_body_bytes < 5 << 20
        service.broker.append([Entry(b"late", b"1")])
        assert (await client.reply()).status == 200
        for _ in range(20):
            assert (await client.reply()).status == 204
        assert service.counters.held_body_bytes == 0
