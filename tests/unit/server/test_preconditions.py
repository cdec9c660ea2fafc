"""What a write's header makes it depend on."""

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import UNCONDITIONAL, Condition
from sharedlogkv_replica.server.preconditions import identify_request, parse_condition, parse_request_id
from sharedlogkv_replica.server.problems import Refused


def versions(*numbers: int) -> frozenset[Offset]:
    """A set of versions."""
    return frozenset(map(Offset, numbers))


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({}, UNCONDITIONAL),
        ({b"if-match": b'"7"'}, Condition(match=versions(7))),
        ({b"if-match": b"*"}, Condition(match=versions())),
        ({b"if-match": b'"7" ,\t"0"'}, Condition(match=versions(7, 0))),
        ({b"if-none-match": b"*"}, Condition(none_match=versions())),
        ({b"if-none-match": b'W/"7", "8"'}, Condition(none_match=versions(7, 8))),
        ({b"if-match": b'"7"', b"if-none-match": b'"8"'}, Condition(versions(7), versions(8))),
    ],
)
def test_versions_are_read_as_etags_give_them(headers: dict[bytes, bytes], condition: Condition) -> None:
    assert parse_condition(headers) == condition


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"7",
        b'"7',
        b'"-1"',
        b'"07"',
        b'"7"8"',
        b'"7",',
        b'*, "7"',
        b'"abc"',
        b"\xff",
        b'"9999999999999999999"',
    ],
)
@pytest.mark.parametrize("field", [b"if-match", b"if-none-match"])
def test_what_is_no_list_of_versions_is_refused(field: bytes, text: bytes) -> None:
    with pytest.raises(Refused, match="must be \\* or a list of versions"):
        parse_condition({field: text})


def test_a_weak_tag_can_never_match_and_so_is_refused_where_it_would_have_to() -> None:
    with pytest.raises(Refused, match="If-Match"):
        parse_condition({b"if-match": b'W/"7"'})


@pytest.mark.parametrize("text", [b"x", b'"quoted"', b"!" * 128])
def test_a_request_id_is_taken_as_it_is(text: bytes) -> None:
    assert parse_request_id({b"idempotency-key": text}) == text.decode()
    assert parse_request_id({}) is None


@pytest.mark.parametrize("text", [b"", b"a b", b"a, b", b"\xe4", b"\x7f", b"x" * 129])
def test_a_request_id_of_anything_but_visible_ascii_is_refused(text: bytes) -> None:
    with pytest.raises(Refused, match="Idempotency-Key"):
        parse_request_id({b"idempotency-key": text})


def test_requests_that_ask_for_different_things_have_different_fingerprints() -> None:
    asked = [
        (b"k", b"v", UNCONDITIONAL),
        (b"kv", b"", UNCONDITIONAL),
        (b"k", b"", UNCONDITIONAL),
        (b"k", None, UNCONDITIONAL),
        (b"", b"kv", UNCONDITIONAL),
        (b"k", b"v", Condition(match=versions())),
        (b"k", b"v", Condition(none_match=versions())),
        (b"k", b"v", Condition(match=versions(1))),
        (b"k", b"v", Condition(none_match=versions(1))),
        (b"k", b"v", Condition(match=versions(1, 2))),
        (b"k", b"v", Condition(match=versions(12))),
    ]
    ids = [identify_request("id", key=key, value=value, condition=condition) for key, value, condition in asked]
    assert len({request.fingerprint for request in ids}) == len(asked)
    assert {request.id for request in ids} == {"id"}


def test_the_same_request_has_the_same_fingerprint_however_its_versions_are_ordered() -> None:
    one, other = (parse_condition({b"if-match": text}) for text in (b'"10", "9"', b'"9","10"'))
    assert identify_request("id", key=b"k", value=b"v", condition=one) == identify_request(
        "id", key=b"k", value=b"v", condition=other
    )
