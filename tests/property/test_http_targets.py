"""Percent-encoding and queries: whatever the bytes, they come through."""

from urllib.parse import quote_from_bytes, quote_plus, unquote_to_bytes, urlencode

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.server.targets import parse_query, percent_decode, split_target


@given(key=st.binary(max_size=200), safe=st.sampled_from(["", "/", "/:@!$&'()*+,;=~"]))
def test_what_is_encoded_is_decoded(key: bytes, safe: str) -> None:
    assert percent_decode(quote_from_bytes(key, safe=safe).encode()) == key


@given(key=st.binary(max_size=200))
def test_bytes_may_be_encoded_without_need(key: bytes) -> None:
    assert percent_decode("".join(f"%{byte:02x}" for byte in key).encode()) == key


@given(text=st.binary(max_size=50).map(lambda raw: raw.replace(b"a", b"%").replace(b"b", b"%4")))
def test_every_text_is_decoded_as_others_do_or_refused(text: bytes) -> None:
    assert percent_decode(text) in (unquote_to_bytes(text), None)


@given(parameters=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=30), max_size=5))
def test_a_query_is_read_as_forms_write_it(parameters: dict[str, bytes]) -> None:
    query = urlencode(parameters, quote_via=quote_plus).encode()
    assert parse_query(query, frozenset(parameters)) == parameters
    assert split_target(b"/v1/kv?" + query) == (b"/v1/kv", query)
