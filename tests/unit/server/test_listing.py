"""Which keys a page may list."""

import pytest

from sharedlogkv_replica.core.store import Store
from sharedlogkv_replica.server.listing import PAGE_BYTES, Span, decode_cursor, encode_cursor, parse_span, render_page
from sharedlogkv_replica.server.problems import Refused


@pytest.mark.parametrize(
    ("parameters", "span"),
    [
        ({}, Span(b"", None, 100)),
        ({"limit": b"7"}, Span(b"", None, 7)),
        ({"prefix": b"a"}, Span(b"a", b"b", 100)),
        ({"prefix": b"\xff"}, Span(b"\xff", None, 100)),
        ({"prefix": b"a", "start": b"ab", "end": b"ac"}, Span(b"ab", b"ac", 100)),
        ({"prefix": b"b", "start": b"a", "end": b"z"}, Span(b"b", b"c", 100)),
        ({"cursor": b"YQ"}, Span(b"a\x00", None, 100)),
        ({"cursor": b"YQ", "prefix": b"a", "start": b"a"}, Span(b"a\x00", b"b", 100)),
    ],
)
def test_all_parameters_narrow_the_span(parameters: dict[str, bytes], span: Span) -> None:
    assert parse_span(parameters) == span


@pytest.mark.parametrize(
    "cursor", [b"", b"YQ==", b"Y", b"YR", b"YQ\n", b"Y Q", b"+w", encode_cursor(b"a" * 4097).encode()]
)
def test_what_no_listing_gave_is_no_cursor(cursor: bytes) -> None:
    with pytest.raises(Refused):
        decode_cursor(cursor)


def test_a_page_has_an_item_however_large() -> None:
    store = Store()
    store.apply([(0, b"a", b"x" * (PAGE_BYTES + 1)), (1, b"b", b"")])  # type: ignore[list-item] # offsets are ints
    page = render_page(store, Span(b"", None, 10))
    assert page.endswith(b'"version":0}],"cursor":"YQ"}')


def test_the_last_page_has_no_cursor_even_if_it_is_full() -> None:
    store = Store()
    store.apply([(0, b"a", b"1"), (1, b"b", b"2")])  # type: ignore[list-item] # offsets are ints
    assert b"cursor" not in render_page(store, Span(b"", None, 2))
    assert b"cursor" in render_page(store, Span(b"", None, 1))
