"""Reads with a token, linearizable reads, and how long either waits."""

import asyncio

import pytest

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from tests.support.eventually import eventually
from tests.support.http import serving

pytestmark = pytest.mark.asyncio
LINEARIZABLE = "?consistency=linearizable"


async def test_no_token_is_given_for_a_log_without_records() -> None:
    async with serving() as service:
        reply = await service.ask("GET", "/v1/kv/a")
        assert (reply.problem, reply.header("slkv-token")) == ("key-not-found", None)


async def test_a_read_with_a_token_waits_until_it_is_applied() -> None:
    async with serving() as service:
        client = await service.connect()
        for level in ("", "?consistency=session", "?consistency=eventual"):
            token = service.next_token()
            waits = service.counters.read_waits
            asking = asyncio.create_task(client.ask("GET", f"/v1/kv/a{level}", slkv_token=token))
            await service.await_read_waits(waits + 1)
            service.broker.append([Entry(b"a", level.encode())])
            assert (await asking).body == level.encode()


async def test_a_linearizable_read_waits_for_its_token_too() -> None:
    async with serving() as service:
        token = service.next_token(ahead=2)
        asking = asyncio.create_task(service.ask("GET", "/v1/kv/a" + LINEARIZABLE, slkv_token=token))
        await eventually(lambda: service.broker.end == 1)  # the barrier
        service.broker.append([Entry(b"a", b"1"), Entry(b"a", b"2")])
        assert (await asking).body == b"2"


async def test_a_read_whose_token_is_never_reached_fails_in_time_and_the_connection_stays() -> None:
    async with serving(read_timeout_seconds=0.1) as service:
        client = await service.connect()
        reply = await client.ask("GET", "/v1/kv/a", slkv_token=f"{service.log_id}:0:{10**18}")
        assert (reply.problem, reply.header("retry-after")) == ("read-timeout", "1")
        assert (await client.ask("GET", "/v1/kv/a")).problem == "key-not-found"
        assert service.counters.read_timeouts == 1


async def test_a_client_may_shorten_the_wait_and_not_lengthen_it() -> None:
    async with serving(read_timeout_seconds=0.1) as service:
        client = await service.connect()
        for timeout_ms in ("0", "1", "3600000"):
            target = f"/v1/kv/a?timeout_ms={timeout_ms}"
            assert (await client.ask("GET", target, slkv_token=service.next_token())).problem == "read-timeout"


async def test_a_linearizable_read_sees_every_write_acknowledged_before_it() -> None:
    async with serving() as service:
        client = await service.connect()
        for number in range(100):
            assert (await client.ask("PUT", "/v1/kv/a", body=b"%d" % number)).status == 204
            assert (await client.ask("GET", "/v1/kv/a" + LINEARIZABLE)).body == b"%d" % number


async def test_a_linearizable_read_on_a_read_only_replica_is_refused() -> None:
    async with serving(write_mode=WriteMode.READ_ONLY) as service:
        assert (await service.ask("GET", "/v1/kv/a" + LINEARIZABLE)).problem == "consistency-unavailable"


@pytest.mark.parametrize(
    "token",
    ["", "x", "a:b:c", "id:0:-1", "id:0:1:2", "id:0:1 , id:0:2", "id:0:99999999999999999999", "i d:0:1", "\xe4:0:1"],
)
async def test_a_malformed_token_is_refused(token: str) -> None:
    async with serving() as service:
        assert (await service.ask("GET", "/v1/kv/a", slkv_token=token)).problem == "token-invalid"


async def test_a_token_means_the_same_to_a_plain_get_and_to_any_other() -> None:
    async with serving(read_timeout_seconds=0.05) as service:
        await service.put("a", b"1")
        await service.put("b", b"2")
        client = await service.connect()
        offsets = ["0", "1", "01", "2", "99", "", "+1", "1 ", "1_0", "x", "9" * 18, "9" * 19, "0" * 5000]
        tokens = [f"{service.log_id}:0:{offset}" for offset in offsets]
        tokens += [f"{service.log_id}:1:0", f"{service.log_id}:0", "", "other:0:0", f"x{service.log_id}:0:0"]
        for token in tokens:
            plain = await client.ask("GET", "/v1/kv/a", slkv_token=token)
            full = await client.ask("GET", "/v1/kv/a?consistency=session", slkv_token=token)
            again = await client.ask("GET", "/v1/kv/a", slkv_token=token)
            assert plain.status == full.status == again.status
            if plain.status == 200:
                assert plain.headers == full.headers == again.headers
            else:
                assert plain.problem == full.problem == again.problem
        assert service.counters.plain_reads == 2 * len(["0", "1", "01", "1 "])


async def test_two_tokens_are_no_token() -> None:
    async with serving() as service:
        client = await service.connect()
        await client.send(b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nSLKV-Token: id:0:1\r\nSLKV-Token: id:0:2\r\n\r\n")
        assert (await client.reply()).problem == "token-invalid"


@pytest.mark.parametrize("token", ["another-log:0:0", "{id}:1:0"])
async def test_the_token_of_another_log_is_gone_for_good(token: str) -> None:
    async with serving() as service:
        reply = await service.ask("GET", "/v1/kv/a", slkv_token=token.format(id=service.log_id))
        assert reply.problem == "token-of-another-log"
