"""Pages of a listing: which keys, how many, and where the next page begins. No IO, no waiting.

A cursor says only after which key to go on; so it never expires, and works at every replica. Pages are no snapshot:
each is read from the map as it is then. A key that is there from the first page to the last is listed exactly once.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES
from sharedlogkv_replica.core.store import Store, Versioned, prefix_end
from sharedlogkv_replica.server.problems import Refused
from sharedlogkv_replica.server.targets import parse_number

PARAMETERS: Final = frozenset({"prefix", "start", "end", "limit", "cursor"})
LIMIT_DEFAULT: Final = 100
LIMIT_MOST: Final = 1000
PAGE_BYTES: Final = 1 << 20  # of keys and values; one item is always listed, however large


@dataclass(frozen=True, slots=True)
class Span:
    """What one page may list.

    Attributes:
        start: the least key, inclusive.
        end: above the last key, exclusive; None: no bound.
        limit: the most items.
    """

    start: bytes
    end: bytes | None
    limit: int


def parse_span(parameters: Mapping[str, bytes]) -> Span:
    """The span that a listing's query asks for: the keys that satisfy prefix, start, end and cursor alike.

    Raises:
        Refused: the limit or the cursor is not valid.
    """
    limit = parse_number(parameters, "limit", least=1, most=LIMIT_MOST) or LIMIT_DEFAULT
    prefix = parameters.get("prefix", b"")
    start = max(prefix, parameters.get("start", b""))
    ends = [end for end in (parameters.get("end"), prefix_end(prefix)) if end is not None]
    cursor = parameters.get("cursor")
    if cursor is not None:
        last = decode_cursor(cursor)
        if last < start:
            raise Refused("bad-request", "the cursor belongs to another listing: repeat all other parameters with it")
        start = last + b"\x00"  # the least key above it
    return Span(start, min(ends, default=None), limit)


def encode_cursor(last: bytes) -> str:
    """The cursor that goes on after the key `last`."""
    return base64.urlsafe_b64encode(last).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: bytes) -> bytes:
    """The key after which a listing goes on.

    Raises:
        Refused: no listing gave this cursor.
    """
    try:
        last = base64.b64decode(cursor + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        last = b""
    if not 0 < len(last) <= KEY_LIMIT_BYTES or encode_cursor(last).encode() != cursor:
        raise Refused("bad-request", "the cursor is not one that a listing gave; pass it on unchanged")
    return last


def render_page(store: Store, span: Span) -> bytes:
    """One page as JSON: `items`, and `cursor` if there may be more."""
    items: list[dict[str, str | int]] = []
    size = 0
    last = b""
    document: dict[str, object] = {"items": items}
    for key, (version, value) in store.scan(span.start, span.end):
        size += len(key) + len(value)
        if len(items) == span.limit or (items and size > PAGE_BYTES):
            document["cursor"] = encode_cursor(last)
            break
        items.append(_item(key, (version, value)))
        last = key
    return orjson.dumps(document)


def _item(key: bytes, versioned: Versioned) -> dict[str, str | int]:
    version, value = versioned
    key_name, key_text = _text("key", key)
    value_name, value_text = _text("value", value)
    return {key_name: key_text, value_name: value_text, "version": version}


def _text(name: str, raw: bytes) -> tuple[str, str]:
    """`raw` as JSON can hold it: as text under `name` if it is UTF-8, else in base64 under `nameBase64`."""
    try:
        return name, raw.decode("utf-8")
    except UnicodeDecodeError:
        return name + "Base64", base64.b64encode(raw).decode("ascii")
