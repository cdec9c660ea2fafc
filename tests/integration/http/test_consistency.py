"""Consistency levels, their default, and the lag that every answer tells."""

import asyncio

import pytest

from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry, Position
from sharedlogkv_replica.log.memory import Fault
from tests.support.eventually import eventually
from tests.support.http import Service, serving

pytestmark = pytest.mark.asyncio

BOUNDED = "?consistency=bounded"


async def measured(service: Service) -> None:
    """Returns once the replica knows as of when its map is complete."""
    await eventually(lambda: service.replica.staleness_ms() is not None)


# --- bounded ---


async def test_a_bounded_read_of_a_map_that_is_fresh_enough_is_answered_at_once() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        await measured(service)
        assert (await service.ask("GET", f"/v1/kv/a{BOUNDED}&max_lag_ms=3600000")).body == b"1"
        assert service.counters.read_waits == 0


async def test_a_bounded_read_sees_what_was_acknowledged_before_its_bound_and_writes_nothing() -> None:
    async with serving(write_mode=WriteMode.READ_ONLY) as service:
        client = await service.connect()
        for number in range(50):
            service.broker.append([Entry(b"a", b"%d" % number)])
            assert (await client.ask("GET", f"/v1/kv/a{BOUNDED}&max_lag_ms=0")).body == b"%d" % number
        listed = await client.ask("GET", f"/v1/kv{BOUNDED}&max_lag_ms=0")
        assert listed.json == {"items": [{"key": "a", "value": "49", "version": 49}]}
        assert service.broker.end == 50


async def test_a_bounded_read_without_the_log_is_answered_within_its_bound_and_fails_beyond() -> None:
    async with serving(read_timeout_seconds=0.2) as service:
        await service.put("a", b"1")
        await measured(service)
        client = await service.connect()
        service.broker.fault = Fault.UNREACHABLE
        assert (await client.ask("GET", f"/v1/kv/a{BOUNDED}&max_lag_ms=3600000")).body == b"1"
        reply = await client.ask("GET", f"/v1/kv/a{BOUNDED}&max_lag_ms=0")
        assert reply.problem in ("read-timeout", "log-unavailable")
        assert reply.header("retry-after") == "1"


async def test_a_bounded_read_waits_for_its_token_too() -> None:
    async with serving() as service:
        await measured(service)
        for max_lag_ms in (0, 3_600_000):
            token, waits = service.next_token(), service.counters.read_waits
            target = f"/v1/kv/a{BOUNDED}&max_lag_ms={max_lag_ms}"
            asking = asyncio.create_task(service.ask("GET", target, slkv_token=token))
            await service.await_read_waits(waits + 1)
            service.broker.append([Entry(b"a", b"%d" % max_lag_ms)])
            assert (await asking).body == b"%d" % max_lag_ms


@pytest.mark.parametrize(
    "query", ["max_lag_ms=1", "consistency=session&max_lag_ms=1", "consistency=bounded&max_lag_ms=x"]
)
async def test_a_bound_is_a_number_and_of_bounded_reads_alone(query: str) -> None:
    async with serving() as service:
        assert (await service.ask("GET", f"/v1/kv/a?{query}")).problem == "bad-request"


# --- the default ---


async def test_a_default_level_holds_for_every_read_that_names_none() -> None:
    async with serving(default_level=Level.LINEARIZABLE) as service:
        client = await service.connect()
        for number in range(20):
            assert (await client.ask("PUT", "/v1/kv/a", body=b"%d" % number)).status == 204
            assert (await client.ask("GET", "/v1/kv/a")).body == b"%d" % number
        waits = service.counters.read_waits
        assert (await client.ask("GET", "/v1/kv/a?consistency=eventual")).status == 200
        assert service.counters.read_waits == waits


async def test_a_default_bound_holds_for_every_bounded_read_that_names_none() -> None:
    async with serving(default_level=Level.BOUNDED, default_max_lag_ms=0) as service:
        client = await service.connect()
        for number in range(20):
            service.broker.append([Entry(b"a", b"%d" % number)])
            assert (await client.ask("GET", "/v1/kv/a")).body == b"%d" % number
        await measured(service)
        waits = service.counters.read_waits
        assert (await client.ask("GET", "/v1/kv/a?max_lag_ms=3600000")).body == b"19"
        assert service.counters.read_waits == waits


# --- many at once ---


@pytest.mark.parametrize("query", ["", BOUNDED + "&max_lag_ms=0", "?consistency=linearizable"])
async def test_while_many_reads_wait_others_are_answered(query: str) -> None:
    async with serving(read_timeout_seconds=60) as service:
        await service.put("a", b"1")
        token = service.next_token(ahead=100)
        waiting = [await service.connect() for _ in range(200)]
        asking = [asyncio.create_task(client.ask("GET", f"/v1/kv/a{query}", slkv_token=token)) for client in waiting]
        await eventually(lambda: len(service.replica.follower.waiters) == 200)
        assert (await service.ask("GET", "/v1/kv/a")).body == b"1"
        service.broker.append([Entry(b"a", b"2")] * 101)
        assert {reply.body for reply in await asyncio.gather(*asking)} == {b"2"}
        await eventually(lambda: len(service.replica.follower.waiters) == 0)


# --- the lag ---


async def test_every_answer_to_a_read_or_a_write_tells_the_lag() -> None:
    async with serving() as service:
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a")).header("slkv-lag-ms") == "0"
        assert (await client.ask("PUT", "/v1/kv/a", body=b"1")).header("slkv-lag-ms") is not None
        await eventually(lambda: service.replica.position == 1)
        assert (await client.ask("DELETE", "/v1/kv/b")).header("slkv-lag-ms") is not None
        await eventually(lambda: service.replica.position == 2)
        for target in ("/v1/kv/a", "/v1/kv/a?consistency=session", "/v1/kv/missing", "/v1/kv"):
            assert (await client.ask("GET", target)).header("slkv-lag-ms") == "0"
        assert (await client.ask("GET", "/v1/kv/a", if_none_match="*")).header("slkv-lag-ms") == "0"


async def test_a_replica_that_is_behind_says_how_far() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        service.broker.fault = Fault.UNREACHABLE
        service.replica.follower.lag.observe_end(Position(100), asked_at_ms=0)
        await eventually(lambda: service.replica.lag_ms() > 0)
        client = await service.connect()
        for target in ("/v1/kv/a", "/v1/kv/a?consistency=eventual"):
            assert int(str((await client.ask("GET", target)).header("slkv-lag-ms"))) > 0
        assert service.counters.plain_reads == 1
