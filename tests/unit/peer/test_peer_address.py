"""`host:port` of a peer."""

import pytest

from sharedlogkv_replica.engine.peer_address import complete_address, format_address, own_address, parse_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.7:8081", ("10.0.0.7", 8081)),
        ("pod.ns.svc:1", ("pod.ns.svc", 1)),
        ("[fd00::7]:65535", ("fd00::7", 65535)),
    ],
)
def test_an_address_is_read_and_written(text: str, parts: tuple[str, int]) -> None:
    assert parse_address(text) == parts
    assert format_address(*parts) == text


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "[]:1", "fd00::7:1", "host:0", "host:65536", "host:٣"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_address(text)


def test_one_s_own_address_is_where_one_listens() -> None:
    assert own_address("127.0.0.1", 8081) == "127.0.0.1:8081"


def test_without_a_host_one_s_own_address_can_be_read() -> None:
    host, port = parse_address(own_address(None, 8081))
    assert host
    assert port == 8081


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1:8081"),
        ("10.0.0.1:7000", "10.0.0.1:7000"),
        ("store-abc", "store-abc:8081"),
        ("fd00::1", "[fd00::1]:8081"),
        ("[fd00::1]", "[fd00::1]:8081"),
        ("[fd00::1]:7000", "[fd00::1]:7000"),
    ],
)
def test_a_host_alone_gets_the_peer_port(text: str, expected: str) -> None:
    assert complete_address(text, port=8081) == expected
