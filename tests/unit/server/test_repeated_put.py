"""Which bytes are taken for the PUT that a client repeats, and which are not."""

import pytest

from sharedlogkv_replica.server.repeated_put import RepeatedPut
from tests.support.http import request

PUT = request("PUT", "/v1/kv/a", body=b"value", user_agent="test")


def learned() -> RepeatedPut:
    """What `PUT` teaches."""
    repeated = RepeatedPut.learn(PUT)
    assert repeated is not None
    return repeated


@pytest.mark.parametrize("size", [0, 1, 9, 10, 12_345])
def test_target_length_and_body_may_differ(size: int) -> None:
    body = b"\r\n\r\n" * (size // 4) + b"x" * (size % 4)
    data = request("PUT", "/v1/kv/another", body=body, user_agent="test")
    assert learned().match(data) == (b"/v1/kv/another", body, len(data))


def test_each_of_several_is_found_where_the_one_before_it_ends() -> None:
    other = request("PUT", "/v1/kv/b", body=b"another", user_agent="test")
    data = PUT + other + PUT[:-1]
    repeated = learned()
    for _ in range(2):  # each has another length than the one before it
        assert repeated.match(data) == (b"/v1/kv/a", b"value", len(PUT))
        assert repeated.match(data, len(PUT)) == (b"/v1/kv/b", b"another", len(PUT + other))
        assert repeated.match(data, len(PUT + other)) is None


@pytest.mark.parametrize(
    "other",
    [
        PUT[:-1],
        PUT.replace(b"PUT", b"GET"),
        PUT.replace(b"test", b"Test"),
        PUT.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PUT.replace(b"Length: 5", b"Length: +5"),
        PUT.replace(b"Length: 5", b"Length: 5 "),
        PUT.replace(b"Length: 5", b"Length: "),
        PUT.replace(b"Length: 5", b"Length: 5\r\nIf-Match: *"),
        PUT.replace(b"Length: 5", b"Length: 5\r\nContent-Length: 5"),
        PUT.replace(b"Length: 5", b"Length: 0000000005"),
        b"",
        b"PUT /",
    ],
    ids=repr,
)
def test_whatever_else_differs_is_left_to_the_parser(other: bytes) -> None:
    repeated = learned()
    assert repeated.match(other) is None
    assert repeated.match(PUT) is not None
    assert repeated.match(other) is None, "nor after one of the same length"


@pytest.mark.parametrize(
    "data",
    [
        PUT[:-1],
        b"\r\n" + PUT,
        PUT.replace(b"PUT", b"POST"),
        PUT.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        request("PUT", "/v1/kv/a", body=b"value", user_agent="x" * 5000),
        b"PUT /v1/kv/a",
    ],
    ids=lambda data: repr(data)[:60],
)
def test_only_a_whole_put_with_a_length_is_learned(data: bytes) -> None:
    assert RepeatedPut.learn(data) is None
