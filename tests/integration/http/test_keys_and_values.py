"""Writing, reading and deleting a key, as docs/http-api.md promises it, over real sockets and a log in memory."""

from urllib.parse import quote_from_bytes

import pytest

from tests.support.eventually import eventually
from tests.support.http import serving

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


async def test_a_key_that_others_made_too_long_is_refused_at_every_spelling() -> None:
    async with serving() as service:
        await service.put("k" * 4097, b"1")
        client = await service.connect(read_limit_bytes=1 << 20)
        for spelled in ("k" * 4097, "%6b" + "k" * 4096):
            assert (await client.ask("GET", f"/v1/kv/{spelled}")).problem == "uri-too-long"
