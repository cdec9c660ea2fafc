"""What a replica answers when it can't do as it was asked."""

import asyncio

import pytest

from sharedlogkv_replica.core.modes import Reason, Standing, WriteMode
from sharedlogkv_replica.log.memory import Fault
from tests.support.eventually import eventually
from tests.support.http import serving

pytestmark = pytest.mark.asyncio
LINEARIZABLE = "?consistency=linearizable"


async def test_a_replica_that_is_not_ready_says_so_to_every_data_request() -> None:
    async with serving(ready=False) as service:
        for method, target in [("GET", "/v1/kv/a"), ("PUT", "/v1/kv/a"), ("DELETE", "/v1/kv/a"), ("GET", "/v1/kv")]:
            reply = await service.ask(method, target, body=b"1" if method == "PUT" else None)
            assert (reply.problem, reply.header("retry-after")) == ("not-ready", "1")
            assert service.replica.standing.message in str(reply.json["detail"])
        assert (await service.ask("GET", "/v1/openapi.yaml")).status == 200
        assert (await service.ask("GET", "/v1/kv/%00")).problem == "key-reserved"


async def test_a_map_that_is_not_complete_is_not_read() -> None:
    async with serving() as service:
        await service.put("a", b"1")
        client = await service.connect()
        assert (await client.ask("GET", "/v1/kv/a")).status == 200
        service.replica.follower.standing = Standing(False, Reason.REPLAYING, "as in a replay")
        assert (await client.ask("GET", "/v1/kv/a")).problem == "not-ready"


async def test_reads_that_wait_on_a_log_that_is_replaced_are_told() -> None:
    async with serving(read_timeout_seconds=20) as service:
        await service.put("a", b"1")
        client = await service.connect()
        asking = asyncio.create_task(client.ask("GET", "/v1/kv/a", slkv_token=service.next_token(ahead=5)))
        await eventually(lambda: service.counters.read_waits == 1)
        service.broker.recreate()
        assert (await asking).problem == "not-ready"
        assert (await client.ask("GET", "/v1/kv/a")).problem == "not-ready"


async def test_a_read_only_replica_takes_no_write() -> None:
    async with serving(write_mode=WriteMode.READ_ONLY) as service:
        for method in ("PUT", "DELETE"):
            assert (await service.ask(method, "/v1/kv/a", body=b"1")).problem == "read-only"
        await service.put("a", b"1")
        assert (await service.ask("GET", "/v1/kv/a")).body == b"1"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault.UNREACHABLE, "log-unavailable"),
        (Fault.REQUEST_LOST, "outcome-unknown"),
        (Fault.ANSWER_LOST, "outcome-unknown"),
        (Fault.WRITE_REFUSED, "log-unavailable"),
    ],
)
async def test_a_write_that_fails_says_whether_it_may_have_happened(fault: Fault, problem: str) -> None:
    async with serving(write_timeout_seconds=0.5) as service:
        await service.put("a", b"1")
        client = await service.connect()
        service.broker.fault = fault
        reply = await client.ask("PUT", "/v1/kv/a", body=b"2")
        assert reply.problem == problem
        assert reply.header("retry-after") == ("1" if problem == "log-unavailable" else None)
        assert (await client.ask("GET", "/v1/kv/missing")).problem == "key-not-found"
        service.broker.fault = None
        assert (await client.ask("PUT", "/v1/kv/a", body=b"3")).status == 204
        assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).body == b"3"


async def test_a_linearizable_read_without_the_log_fails_in_time() -> None:
    async with serving(read_timeout_seconds=0.2, write_timeout_seconds=0.4) as service:
        await service.put("a", b"1")
        client = await service.connect()
        service.broker.fault = Fault.UNREACHABLE
        assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).problem in ("read-timeout", "log-unavailable")
        assert (await client.ask("GET", "/v1/kv/a")).body == b"1"
