"""Listings: their pages, bounds and encodings."""

import asyncio
import base64

import pytest

from sharedlogkv_replica.core.records import Entry
from tests.support.eventually import eventually
from tests.support.http import Client, Reply, serving

pytestmark = pytest.mark.asyncio
LINEARIZABLE = "?consistency=linearizable"


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
