"""Reading request targets."""

import pytest

from sharedlogkv_replica.server.problems import Refused
from sharedlogkv_replica.server.targets import parse_number, parse_query, percent_decode, printable, split_target


@pytest.mark.parametrize(
    ("text", "decoded"),
    [(b"", b""), (b"a+b", b"a+b"), (b"%41%2f%2F", b"A//"), (b"%00%ff", b"\x00\xff"), (b"%2541", b"%41"),
     (b"%", None), (b"%4", None), (b"%4g", None), (b"a%%41", None), (b"%u0041", None), (b"% 1", None), (b"%+1", None)],
)  # fmt: skip
def test_percent_encoding_is_taken_off_once_or_refused(text: bytes, decoded: bytes | None) -> None:
    assert percent_decode(text) == decoded


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/a", (b"/a", b"")),
        (b"/a?", (b"/a", b"")),
        (b"/a?b=c?d", (b"/a", b"b=c?d")),
        (b"//a/../b", (b"//a/../b", b"")),
        (b"http://host/a?b", (b"/a", b"b")),
        (b"HTTPS://host:443", (b"/", b"")),
        (b"http://host?a", (b"/", b"")),
        (b"*", (b"*", b"")),
    ],
)
def test_a_target_is_split_and_not_normalised(target: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_target(target) == parts


def test_a_fragment_is_refused() -> None:
    with pytest.raises(Refused):
        split_target(b"/a#b")


def test_parameters_are_decoded() -> None:
    query = b"a=1&b=x%26y+z%2B&c=&d"
    assert parse_query(query, frozenset("abcd")) == {"a": b"1", "b": b"x&y z+", "c": b"", "d": b""}


@pytest.mark.parametrize("query", [b"b=1", b"a=1&a=2", b"a=%", b"%=1", b"a=1&", b"=1", b"\xff=1"])
def test_parameters_that_are_unknown_repeated_or_broken_are_refused(query: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_query(query, frozenset({"a"}))
    assert refused.value.response.status == 400


def test_a_refusal_names_the_parameters_that_there_are() -> None:
    with pytest.raises(Refused) as refused:
        parse_query(b"x=1", frozenset({"b", "a"}))
    assert b"there are: a, b" in refused.value.response.body


@pytest.mark.parametrize(("raw", "number"), [(b"1", 1), (b"10", 10), (b"007", 7)])
def test_numbers_are_decimal(raw: bytes, number: int) -> None:
    assert parse_number({"n": raw}, "n", least=1, most=10) == number
    assert parse_number({}, "n", least=1, most=10) is None


@pytest.mark.parametrize(
    "raw", [b"", b"0", b"11", b"-1", b"+1", b" 1", b"1.0", b"1_0", b"\xb2", "٣".encode(), b"9" * 100]
)
def test_what_is_no_number_in_range_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse_number({"n": raw}, "n", least=1, most=10)


def test_bytes_are_made_printable_and_short() -> None:
    assert printable(b"a\xff") == "a\\xff"
    assert len(printable(b"a" * 1000)) < 100
