"""The data API, as docs/http-api.md promises it, over real sockets and a log in memory."""

import asyncio
import base64
from urllib.parse import quote_from_bytes

import pytest

from sharedlogkv_replica.core.modes import Reason, Standing, WriteMode
from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.log.memory import Fault
from tests.support.eventually import eventually
from tests.support.http import Client, Reply, serving

pytestmark = pytest.mark.asyncio

LINEARIZABLE = "?consistency=linearizable"


async def test_a_value_is_written_read_and_deleted() -> None:
    async with serving() as service:
        put = await service.ask("PUT", "/v1/kv/a", body=b"1")
        assert (put.status, put.body, put.header("etag")) == (204, b"", '"0"')
        assert put.header("slkv-token") == f"{service.log_id}:0:0"
        get = await service.ask("GET", "/v1/kv/a", slkv_token=str(put.header("slkv-token")))
        assert (get.status, get.body, get.header("etag")) == (200, b"1", '"0"')
        assert get.header("content-type") == "application/octet-stream"
        assert get.header("cache-control") == "no-cache"
        delete = await service.ask("DELETE", "/v1/kv/a")
        assert (delete.status, delete.header("etag")) == (204, '"1"')
        gone = await service.ask("GET", "/v1/kv/a", slkv_token=str(delete.header("slkv-token")))
        assert (gone.status, gone.problem) == (404, "key-not-found")
        assert gone.header("slkv-token") == delete.header("slkv-token")
        assert (await service.ask("DELETE", "/v1/kv/a")).status == 204


async def test_an_empty_value_is_a_value() -> None:
    async with serving() as service:
        await service.ask("PUT", "/v1/kv/a", body=b"")
        get = await service.ask("GET", "/v1/kv/a" + LINEARIZABLE)
        assert (get.status, get.body) == (200, b"")


@pytest.mark.parametrize(
    ("spelled", "key"),
    [
        ("a/b", b"a/b"),
        ("a%2Fb", b"a/b"),
        ("/", b"/"),
        ("a//b/", b"a//b/"),
        ("../x", b"../x"),
        ("%FF%fe", b"\xff\xfe"),
        ("a%00b", b"a\x00b"),
        ("%25", b"%"),
        ("a+b", b"a+b"),
        ("a%3Fb%23c", b"a?b#c"),
        ("%C3%A4", "ä".encode()),
    ],
)
async def test_keys_are_bytes_percent_decoded_once(spelled: str, key: bytes) -> None:
    async with serving() as service:
        assert (await service.ask("PUT", f"/v1/kv/{spelled}", body=b"1")).status == 204
        await eventually(lambda: service.replica.store.get(key) is not None)
        for target in (f"/v1/kv/{spelled}", "/v1/kv/" + quote_from_bytes(key, safe="")):
            assert (await service.ask("GET", target)).body == b"1"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("/v1/kv/", "key-invalid"),
        ("/v1/kv/a%2", "key-invalid"),
        ("/v1/kv/%zz", "key-invalid"),
        ("/v1/kv/%00", "key-reserved"),
        ("/v1/kv/%00L", "key-reserved"),
        ("/v1/kv/" + "a" * 4097, "uri-too-long"),
        ("/v1/kv/a#b", "bad-request"),
        ("/v1/kv/a?consistencz=eventual", "bad-request"),
        ("/v1/kv/a?%zz=1", "bad-request"),
        ("/", "no-such-path"),
        ("/v1", "no-such-path"),
        ("/v1/kvs", "no-such-path"),
        ("/v2/kv/a", "no-such-path"),
        ("/v1/kv/?prefix=a", "key-invalid"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_what_names_no_key_is_refused(method: str, target: str, problem: str) -> None:
    async with serving() as service:
        reply = await service.ask(method, target, body=b"1" if method == "PUT" else None)
        assert reply.problem == problem
        assert service.broker.end == 0


async def test_a_key_of_4096_bytes_is_the_longest() -> None:
    async with serving() as service:
        target = "/v1/kv/" + "%ff" * 4096
        assert (await service.ask("PUT", target, body=b"1")).status == 204
        assert (await service.ask("GET", target + LINEARIZABLE)).body == b"1"
        assert (await service.ask("PUT", target + "%ff", body=b"1")).problem == "uri-too-long"


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/v1/kv/a", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/v1/kv/a", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/v1/kv/a", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/v1/kv", "GET, HEAD"),
        ("DELETE", "/v1/kv", "GET, HEAD"),
        ("POST", "/v1/openapi.yaml", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_possible_is_told_which_are(method: str, target: str, allowed: str) -> None:
    async with serving() as service:
        reply = await service.ask(method, target)
        assert (reply.problem, reply.header("allow")) == ("method-not-allowed", allowed)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("field", ["If-Match", "If-None-Match", "If-Unmodified-Since"])
async def test_a_conditional_write_is_refused_and_not_carried_out(method: str, field: str) -> None:
    async with serving() as service:
        reply = await service.ask(method, "/v1/kv/a", body=b"1", **{field: "*"})
        assert reply.problem == "conditions-unsupported"
        assert service.broker.end == 0


async def test_a_read_under_if_match_is_refused() -> None:
    async with serving() as service:
        assert (await service.ask("GET", "/v1/kv/a", if_match='"1"')).problem == "conditions-unsupported"
        assert (await service.ask("GET", "/v1/kv", if_none_match='"1"')).problem == "conditions-unsupported"


async def test_a_partial_write_is_refused() -> None:
    async with serving() as service:
        reply = await service.ask("PUT", "/v1/kv/a", body=b"1", content_range="bytes 0-0/2")
        assert reply.problem == "bad-request"


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ('"0"', 304), ('W/"0"', 304), ('"7", "0"', 304), ("*", 304),
        ('"1"', 200), ("0", 200), ('"00"', 200), ("", 200), ('"0', 200),
    ],
)  # fmt: skip
async def test_a_value_that_the_client_has_is_not_sent_again(field: str, status: int) -> None:
    async with serving() as service:
        await service.put("a", b"1")
        reply = await service.ask("GET", "/v1/kv/a", if_none_match=field)
        assert reply.status == status
        assert (reply.header("etag"), reply.header("slkv-token")) == ('"0"', f"{service.log_id}:0:0")
        assert (await service.ask("GET", "/v1/kv/missing", if_none_match="*")).status == 404


async def test_no_token_is_given_for_a_log_without_records() -> None:
    async with serving() as service:
        reply = await service.ask("GET", "/v1/kv/a")
        assert (reply.problem, reply.header("slkv-token")) == ("key-not-found", None)


# --- consistency ---


async def test_a_read_with_a_token_waits_until_it_is_applied() -> None:
    async with serving() as service:
        client = await service.connect()
        for level in ("", "?consistency=session", "?consistency=eventual"):
            token = service.next_token()
            waits = service.counters.read_waits
            asking = asyncio.create_task(client.ask("GET", f"/v1/kv/a{level}", slkv_token=token))
            await eventually(lambda waits=waits: service.counters.read_waits == waits + 1)  # type: ignore[misc] # bound
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


@pytest.mark.parametrize(
    "query",
    ["consistency=strong", "consistency=", "consistency=eventual&consistency=session", "timeout_ms=-1", "timeout_ms=x",
     "timeout_ms=", "timeout_ms=1e3", "timeout_ms=%2B1", "limit=1", "x", "=1", "&"],
)  # fmt: skip
async def test_an_odd_parameter_of_a_read_is_refused(query: str) -> None:
    async with serving() as service:
        assert (await service.ask("GET", f"/v1/kv/a?{query}")).problem == "bad-request"


async def test_a_write_takes_no_parameters() -> None:
    async with serving() as service:
        reply = await service.ask("PUT", "/v1/kv/a?consistency=linearizable", body=b"1")
        assert reply.problem == "bad-request"


# --- listing ---


async def pages(client: Client, query: str) -> list[Reply]:
    """Every page of a listing, by its cursors."""
    result = []
    cursor = ""
    while True:
        result.append(await client.ask("GET", f"/v1/kv?{query}{cursor}"))
        assert result[-1].status == 200, result[-1]
        if "cursor" not in result[-1].json:
            return result
        cursor = f"&cursor={result[-1].json['cursor']}"


def items(replies: list[Reply]) -> list[dict[str, object]]:
    """The items of all pages."""
    result: list[dict[str, object]] = []
    for reply in replies:
        page = reply.json["items"]
        assert isinstance(page, list)
        result += page
    return result


async def test_a_hundred_thousand_keys_are_listed_by_pages() -> None:
    async with serving() as service:
        offset = service.broker.append(Entry(b"key-%06d" % number, b"v%d" % number) for number in range(100_000))
        await eventually(lambda: service.replica.position > offset + 99_999)
        client = await service.connect(read_limit_bytes=1 << 20)
        listed = items(await pages(client, "limit=1000"))
        assert listed == [
            {"key": f"key-{number:06d}", "value": f"v{number}", "version": number} for number in range(100_000)
        ]


async def test_a_listing_is_narrowed_by_prefix_start_and_end() -> None:
    async with serving() as service:
        for key in ("a", "a/1", "a/2", "a/3", "b", "b c"):
            await service.put(key, key.encode())
        client = await service.connect()

        async def keys(query: str) -> list[object]:
            return [item["key"] for item in items(await pages(client, query))]

        assert await keys("") == ["a", "a/1", "a/2", "a/3", "b", "b c"]
        assert await keys("prefix=a/") == ["a/1", "a/2", "a/3"]
        assert await keys("prefix=a/&limit=1") == ["a/1", "a/2", "a/3"]
        assert await keys("prefix=a%2F&start=a/2") == ["a/2", "a/3"]
        assert await keys("prefix=a/&end=a/2") == ["a/1"]
        assert await keys("start=a/2&end=b") == ["a/2", "a/3"]
        assert await keys("start=b") == ["b", "b c"]
        assert await keys("prefix=b+c") == await keys("prefix=b%20c") == ["b c"]
        assert await keys("start=b&end=a") == []
        assert await keys("prefix=a/&start=z") == []
        assert await keys("prefix=%ff") == []


async def test_bytes_that_are_no_text_are_listed_in_base64() -> None:
    async with serving() as service:
        offset = service.broker.append(
            [Entry(b"\xff/\x80", b"\xfe"), Entry(b"text", b"\xed\xa0\x80"), Entry(b"t", b"")]
        )
        await eventually(lambda: service.replica.position > offset + 2)
        reply = await service.ask("GET", "/v1/kv")
        assert reply.header("content-type") == "application/json"
        encoded = {name: base64.b64encode(raw).decode() for name, raw in [("k", b"\xff/\x80"), ("v", b"\xfe")]}
        assert items([reply]) == [
            {"key": "t", "value": "", "version": 2},
            {"key": "text", "valueBase64": base64.b64encode(b"\xed\xa0\x80").decode(), "version": 1},
            {"keyBase64": encoded["k"], "valueBase64": encoded["v"], "version": 0},
        ]


async def test_pages_are_bounded_in_bytes() -> None:
    async with serving() as service:
        for number in range(5):
            await service.put(f"large-{number}", b"x" * 600_000)
        client = await service.connect()
        replies = await pages(client, "limit=1000")
        assert len(replies) == 5
        assert [item["key"] for item in items(replies)] == [f"large-{number}" for number in range(5)]


async def test_a_listing_waits_for_its_token_as_a_read_does() -> None:
    async with serving() as service:
        client = await service.connect()
        asking = asyncio.create_task(client.ask("GET", "/v1/kv", slkv_token=service.next_token()))
        await eventually(lambda: service.counters.read_waits == 1)
        service.broker.append([Entry(b"a", b"1")])
        assert [item["key"] for item in items([await asking])] == ["a"]
        put = await client.ask("PUT", "/v1/kv/b", body=b"2")
        assert put.status == 204
        assert [item["key"] for item in items([await client.ask("GET", "/v1/kv" + LINEARIZABLE)])] == ["a", "b"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=", "cursor=", "cursor=%20", "cursor=YQ==", "cursor=Y",
     "cursor=YR", "cursor=%ff", "cursor=YQ&start=b", "cursor=YQ&prefix=b", "prefix=a&prefix=b", "prefix=%z", "depth=1"],
)  # fmt: skip
async def test_an_odd_parameter_of_a_listing_is_refused(query: str) -> None:
    async with serving() as service:
        assert (await service.ask("GET", f"/v1/kv?{query}")).problem == "bad-request"


# --- when it can't ---


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


async def test_a_key_that_others_made_too_long_is_refused_at_every_spelling() -> None:
    async with serving() as service:
        await service.put("k" * 4097, b"1")
        client = await service.connect(read_limit_bytes=1 << 20)
        for spelled in ("k" * 4097, "%6b" + "k" * 4096):
            assert (await client.ask("GET", f"/v1/kv/{spelled}")).problem == "uri-too-long"


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


# --- the admin port ---


async def test_the_admin_port_answers_probes_metrics_and_status() -> None:
    async with serving() as service:
        admin = await service.connect(port=service.admin.port)
        assert (await admin.ask("GET", "/livez")).body == b"ok\n"
        assert (await admin.ask("GET", "/readyz?verbose")).body == b"ok\n"
        metrics = await admin.ask("GET", "/metrics")
        assert metrics.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        assert metrics.body.startswith(b"# TYPE")
        status = await admin.ask("GET", "/status")
        assert (status.json["ready"], status.json["reason"]) == (True, "Serving")
        assert (await admin.ask("HEAD", "/status")).status == 200
        assert (await admin.ask("GET", "/v1/kv/a")).problem == "no-such-path"
        assert (await admin.ask("GET", "/livez#x")).problem == "bad-request"
        assert (await admin.ask("POST", "/livez")).header("allow") == "GET, HEAD"
        assert (await admin.ask("POST", "/livez", body=b"1")).problem == "value-too-large"


async def test_probes_tell_the_standing_of_a_replica_that_is_not_ready() -> None:
    async with serving() as service:
        admin = await service.connect(port=service.admin.port)
        service.broker.recreate()
        await eventually(lambda: not service.replica.standing.ready)
        reply = await admin.ask("GET", "/readyz")
        assert (reply.status, reply.body.split(b":")[0]) == (503, b"LogReplaced")
        assert (await admin.ask("GET", "/livez")).status == 200
