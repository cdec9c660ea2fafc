"""The graceful stop: what is in flight is answered, the rest is let go, and the deadline holds."""

import asyncio
import time

import pytest

from sharedlogkv_replica.core.records import Entry
from tests.support.eventually import eventually
from tests.support.http import request, serving

pytestmark = pytest.mark.asyncio


async def test_a_draining_server_ends_each_connection_with_its_next_answer() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a")).header("connection") is None
        service.server.drain()
        reply = await client.ask("GET", "/v1/kv/a")
        assert (reply.status, reply.header("connection")) == (200, "close")
        assert await client.ended() == b""
        late = await service.ask("GET", "/v1/kv/a")
        assert (late.status, late.header("connection")) == (200, "close")


async def test_idle_connections_end_at_once() -> None:
    async with serving() as service:
        clients = [await service.connect() for _ in range(10)]
        assert (await clients[0].ask("GET", "/v1/kv/a")).status == 404
        began = time.monotonic()
        await service.server.stop(timeout_seconds=5)
        assert time.monotonic() - began < 1
        for client in clients:
            assert await client.ended() == b""


async def test_what_is_in_flight_is_answered() -> None:
    async with serving() as service:
        waiting, writing, halfway = [await service.connect() for _ in range(3)]
        await waiting.send(
            request("GET", "/v1/kv/late", slkv_token=service.next_token(ahead=1)) + request("GET", "/v1/kv/late") * 2
        )
        await writing.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab")
        await halfway.send(b"GET /v1/kv/")
        await eventually(lambda: service.counters.read_waits == 1 and service.counters.held_body_bytes == 2)
        stop = asyncio.create_task(service.server.stop(timeout_seconds=5))
        await eventually(lambda: service.server.draining)

        await writing.send(b"cd")
        put = await writing.reply()
        assert (put.status, put.header("connection")) == (204, "close")
        assert await writing.ended() == b""
        await halfway.send(b"a HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await halfway.reply()).header("connection") == "close"
        assert await halfway.ended() == b""
        assert not stop.done()

        service.broker.append([Entry(b"late", b"1")])
        replies = [await waiting.reply() for _ in range(3)]
        assert [reply.body for reply in replies] == [b"1"] * 3
        assert [reply.header("connection") for reply in replies] == [None, None, "close"]
        assert await waiting.ended() == b""
        for client in (waiting, writing, halfway):
            await client.close()
        await stop


async def test_the_deadline_cuts_what_is_left() -> None:
    async with serving(read_timeout_seconds=30) as service:
        client = await service.connect()
        await client.send(request("GET", "/v1/kv/late", slkv_token=service.next_token()))
        await eventually(lambda: service.counters.read_waits == 1)
        began = time.monotonic()
        await service.server.stop(timeout_seconds=0.2)
        assert 0.15 < time.monotonic() - began < 2
        assert service.counters.open_connections == 0
        assert await client.ended() == b""


async def test_nobody_new_is_taken_once_it_no_longer_listens() -> None:
    async with serving() as service:
        port = service.server.port
        client = await service.connect()
        service.server.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            await service.connect(port=port)
        assert (await client.ask("GET", "/v1/kv/a")).status == 404


async def test_stopping_twice_is_stopping_once() -> None:
    async with serving() as service:
        await service.server.stop(timeout_seconds=1)
        await service.server.stop(timeout_seconds=0)


async def test_a_replica_that_stops_is_not_ready_but_answers() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        service.replica.retire()
        probe = await service.connect(port=service.admin.port)
        reply = await probe.ask("GET", "/readyz")
        assert (reply.status, reply.body.split(b":")[0]) == (503, b"Stopping")
        assert (await service.ask("GET", "/v1/kv/a")).body == b"1"


async def test_no_request_is_lost_while_a_busy_server_drains_and_stops() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        answered = [0]
        closed = [0]

        async def load() -> None:
            """A client that keeps its connection for as long as it is told to."""
            client = await service.connect()
            while (await client.ask("GET", "/v1/kv/a")).header("connection") != "close":
                answered[0] += 1
            closed[0] += 1
            await client.close()

        clients = [asyncio.create_task(load()) for _ in range(20)]
        await eventually(lambda: answered[0] > 500)
        service.server.drain()
        await asyncio.gather(*clients)
        assert closed[0] == 20
        await service.server.stop(timeout_seconds=1)
