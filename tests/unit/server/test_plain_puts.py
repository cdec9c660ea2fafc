"""Plain PUTs on a connection without sockets: one, and several that a client pipelines."""

import pytest

from tests.support.http import request
from tests.support.scripted_connection import NOW, PLAIN, connect, turn

pytestmark = pytest.mark.asyncio

PUT = request("PUT", "/plain", body=b"value")


async def test_a_plain_put_is_begun_once_and_answered_when_it_has_ended() -> None:
    handler, connection, transport = connect()
    for number in range(3):  # parsed the first time, recognised then
        body = b"x" * 10**number
        connection.data_received(request("PUT", "/plain", body=body))
        assert transport.output == b""
        handler.puts[-1].future.set_result("plain")
        await turn()
        assert transport.output.endswith(b"\r\n\r\n" + body)
        transport.written.clear()
    assert [put.body for put in handler.puts] == [b"x", b"x" * 10, b"x" * 100]
    assert handler.handled == []


@pytest.mark.parametrize("known", [False, True], ids=["parsed", "recognised"])
async def test_a_plain_put_that_does_not_end_as_most_do_is_answered_at_length(*, known: bool) -> None:
    handler, connection, transport = connect()
    if known:
        connection.data_received(PUT)
        handler.puts[0].future.set_result("plain")
        await turn()
    connection.data_received(PUT)
    handler.puts[-1].future.set_result("otherwise")
    await turn()
    assert transport.written[-1].endswith(b"at length")
    connection.data_received(NOW)
    assert transport.written[-1].endswith(b"now")


async def test_a_bug_in_a_plain_put_is_answered_and_ends_the_connection() -> None:
    handler, connection, transport = connect()
    connection.data_received(PUT)
    handler.puts[0].future.set_result("bug")
    await turn()
    assert b" 500 " in transport.output
    assert b"Connection: close" in transport.output
    assert transport.ended


async def test_what_comes_behind_a_plain_put_waits_for_its_answer() -> None:
    handler, connection, transport = connect()
    connection.data_received(PUT)
    connection.data_received(NOW + PLAIN + PUT)
    assert transport.output == b""
    handler.puts[0].future.set_result("plain")
    await turn()
    assert transport.output.index(b"value") < transport.output.index(b"now")
    assert transport.output.count(b"HTTP/1.1 200 OK") == 3
    assert handler.handled == [b"/now", b"/plain"]
    handler.puts[1].future.set_result("plain")
    await turn()
    assert transport.output.count(b"HTTP/1.1 200 OK") == 4


def puts(count: int, *, first: int = 0) -> list[bytes]:
    """PUTs of as many keys, with bodies that tell them apart."""
    return [request("PUT", f"/plain-{n}", body=b"<%d>" % n) for n in range(first, first + count)]


@pytest.mark.parametrize("known", [False, True], ids=["parsed", "recognised"])
async def test_plain_puts_of_one_read_are_begun_together_and_answered_in_one_write(*, known: bool) -> None:
    handler, connection, transport = connect()
    if known:
        connection.data_received(PUT)
        handler.puts.pop().future.set_result("plain")
        await turn()
        transport.written.clear()
    connection.data_received(b"".join(puts(20)))
    assert [put.body for put in handler.puts] == [b"<%d>" % n for n in range(20)]
    for put in handler.puts:
        put.future.set_result("plain")
    await turn()
    assert len(transport.written) == 1
    assert transport.output.split(b"\r\n\r\n")[1][:3] == b"<0>"
    assert [transport.output.index(b"<%d>" % n) for n in range(20)] == sorted(
        transport.output.index(b"<%d>" % n) for n in range(20)
    )
    assert handler.handled == []


async def test_a_put_that_ends_early_is_answered_in_its_turn() -> None:
    handler, connection, transport = connect()
    connection.data_received(b"".join(puts(3)))
    handler.puts[2].future.set_result("plain")
    handler.puts[1].future.set_result("otherwise")
    await turn()
    assert transport.output == b""
    handler.puts[0].future.set_result("plain")
    await turn()
    assert transport.output.index(b"<0>") < transport.output.index(b"at length") < transport.output.index(b"<2>")


async def test_a_key_has_one_put_in_hand_and_the_next_one_of_it_waits_with_all_behind_it() -> None:
    handler, connection, transport = connect()
    connection.data_received(PUT)
    handler.puts.pop().future.set_result("plain")
    await turn()
    connection.data_received(b"".join([*puts(2), *puts(1), *puts(1, first=7)]))
    assert [put.body for put in handler.puts] == [b"<0>", b"<1>"]
    handler.puts[0].future.set_result("plain")
    await turn()
    assert [put.body for put in handler.puts] == [b"<0>", b"<1>", b"<0>", b"<7>"]
    for put in handler.puts[1:]:
        put.future.set_result("plain")
    await turn()
    assert transport.output.count(b"HTTP/1.1 200 OK") == 5
    assert handler.handled == []


async def test_the_last_of_several_puts_ends_a_connection_that_is_to_end() -> None:
    handler, connection, transport = connect()
    connection.data_received(b"".join(puts(3)))
    connection.finish()
    for put in handler.puts[:2]:
        put.future.set_result("otherwise")
    await turn()
    assert not transport.ended
    assert b"Connection: close" not in transport.output
    handler.puts[2].future.set_result("plain")
    await turn()
    assert transport.output.count(b"Connection: close") == 1
    assert transport.ended


async def test_a_bug_in_one_of_several_puts_ends_the_connection_and_the_others_are_carried_out() -> None:
    handler, connection, transport = connect()
    connection.data_received(b"".join(puts(3)))
    for put, end in zip(handler.puts, ("bug", "plain", "plain"), strict=True):
        put.future.set_result(end)
    await turn()
    assert transport.output.count(b"HTTP/1.1 ") == 1
    assert transport.ended


async def test_more_puts_than_one_connection_may_have_in_hand_wait() -> None:
    handler, connection, transport = connect()
    for data in (*puts(70), request("PUT", "/plain-large", body=b"x" * 20_000)):
        connection.data_received(data)
    assert len(handler.puts) == 64
    for put in handler.puts:
        put.future.set_result("plain")
    await turn()
    assert len(handler.puts) == 70
    for put in handler.puts[64:]:
        put.future.set_result("plain")
    await turn()
    handler.puts[70].future.set_result("plain")  # so large a one goes alone
    await turn()
    assert transport.output.count(b"HTTP/1.1 200 OK") == 71


async def test_a_client_that_sends_no_more_still_gets_the_answer_to_its_put() -> None:
    handler, connection, transport = connect()
    connection.data_received(PUT)
    assert connection.eof_received()
    handler.puts[0].future.set_result("plain")
    await turn()
    assert b"Connection: close" in transport.output
    assert transport.output.endswith(b"at length")


async def test_a_put_whose_client_is_gone_is_not_given_up() -> None:
    handler, connection, transport = connect()
    connection.data_received(PUT)
    connection.connection_lost(None)
    assert not handler.puts[0].future.cancelled()
    handler.puts[0].future.set_result("plain")
    await turn()
    assert transport.output == b""


async def test_a_recognised_put_that_is_too_large_is_refused_like_any_other() -> None:
    handler, connection, transport = connect()
    handler.body_limit_bytes = 10
    for size in (10, 11):
        connection.data_received(request("PUT", "/plain", body=b"x" * size))
        if size == 10:
            handler.puts[0].future.set_result("plain")
            await turn()
    assert len(handler.puts) == 1
    assert b" 413 " in transport.output


# --- what a problem says of the state ---


@pytest.mark.parametrize("tokens", [["a"], ["a", "b"], ["a", "a"], [None, "a", None]], ids=str)
@pytest.mark.parametrize("last", ["problem", "bug"])
async def test_the_problem_of_a_plain_put_knows_its_token(tokens: list[str | None], last: str) -> None:
    handler, connection, transport = connect()
    for token in tokens:
        headers = {} if token is None else {"slkv_token": token}
        connection.data_received(request("GET", "/plain", slkv_token="of another request"))
        connection.data_received(request("PUT", "/plain", body=b"value", **headers))
        if len(handler.puts) < len(tokens):
            handler.puts[-1].future.set_result("plain")
            await turn()
    handler.puts[-1].future.set_result(last)
    await turn()
    assert b"Sent: %b\r\n" % (tokens[-1] or "none").encode() in transport.written[-1]
