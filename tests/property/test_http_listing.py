"""Listings: pages put together are a sorted scan, and JSON gives back every byte."""

import base64
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import LogRecord, Offset
from sharedlogkv_replica.core.store import Store
from sharedlogkv_replica.server.listing import decode_cursor, encode_cursor, parse_span, render_page

KEYS = st.one_of(
    st.binary(min_size=1, max_size=6), st.binary(min_size=1, max_size=3).map(lambda key: b"\xff" + key)
).filter(lambda key: key[0] != 0)
BOUNDS = st.dictionaries(st.sampled_from(["prefix", "start", "end"]), st.binary(max_size=3), max_size=3)


def read_back(item: dict[str, Any], name: str) -> bytes:
    """The bytes that an item gives under `name`."""
    assert (name in item) != (f"{name}Base64" in item)
    if name in item:
        return str(item[name]).encode()
    return base64.b64decode(item[f"{name}Base64"], validate=True)


@given(
    data=st.dictionaries(KEYS, st.binary(max_size=20), max_size=40),
    bounds=BOUNDS,
    limit=st.integers(1, 10),
)
def test_pages_are_a_sorted_scan(data: dict[bytes, bytes], bounds: dict[str, bytes], limit: int) -> None:
    store = Store()
    records: list[LogRecord] = [(Offset(index), key, value) for index, (key, value) in enumerate(data.items())]
    store.apply(records)
    parameters = {**bounds, "limit": b"%d" % limit}
    listed: list[tuple[bytes, bytes, int]] = []
    for _ in range(len(data) + 1):
        page = orjson.loads(render_page(store, parse_span(parameters)))
        assert len(page["items"]) <= limit
        listed += [(read_back(item, "key"), read_back(item, "value"), item["version"]) for item in page["items"]]
        if "cursor" not in page:
            break
        parameters["cursor"] = page["cursor"].encode()
    prefix, start, end = bounds.get("prefix", b""), bounds.get("start", b""), bounds.get("end")
    assert listed == sorted(
        (key, value, offset)
        for offset, key, value in records
        if key is not None and value is not None
        if key.startswith(prefix) and key >= start and (end is None or key < end)
    )


@given(key=st.binary(min_size=1, max_size=100))
def test_a_cursor_gives_back_its_key(key: bytes) -> None:
    cursor = encode_cursor(key)
    assert decode_cursor(cursor.encode()) == key
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&#% ")
