"""A connection without sockets: when it handles, when it writes, and when it wants no more."""

import logging

import pytest

from sharedlogkv_replica.server.http_messages import Outcome, Request
from sharedlogkv_replica.server.limits import Limits
from tests.support.http import request
from tests.support.scripted_connection import LARGE, LATER, NOW, PLAIN, ScriptedHandler, connect, turn

pytestmark = pytest.mark.asyncio


async def test_all_answers_to_what_came_at_once_leave_in_one_write() -> None:
    _, connection, transport = connect()
    connection.data_received(NOW + PLAIN + NOW + PLAIN)
    assert len(transport.written) == 1
    assert transport.output.count(b"HTTP/1.1 200 OK") == 4


async def test_what_one_event_collects_is_bounded() -> None:
    handler, connection, transport = connect()
    connection.data_received(PLAIN * 100)
    assert max(chunk.count(b"200 OK") for chunk in transport.written) <= 16
    connection.data_received(LARGE)
    assert handler.handled == [b"/large"]


async def test_a_repeated_header_is_not_parsed_and_not_mistaken() -> None:
    handler, connection, transport = connect()
    for _ in range(3):
        connection.data_received(PLAIN)
    connection.data_received(NOW)
    connection.data_received(PLAIN[:-1])
    connection.data_received(b"\n")
    connection.data_received(b"POST" + PLAIN[3:])
    connection.data_received(b"PUT" + PLAIN[3:])
    assert transport.output.count(b"plain") == 4
    assert handler.handled == [b"/now", b"/plain", b"/plain"]


async def test_a_repeated_header_ends_where_its_request_ends() -> None:
    _, connection, transport = connect()
    for _ in range(3):
        connection.data_received(PLAIN + PLAIN[:7])
        connection.data_received(PLAIN[7:])
    assert transport.output.count(b"plain") == 6


async def test_a_repeated_token_is_looked_at_every_time() -> None:
    handler, connection, _ = connect()
    for _ in range(3):
        connection.data_received(request("GET", "/plain", slkv_token="some"))
    connection.data_received(PLAIN)
    connection.data_received(PLAIN)
    assert handler.tokens == [b"some"] * 3 + [None] * 2


async def test_one_request_is_handled_at_a_time() -> None:
    handler, connection, transport = connect()
    connection.data_received(LATER + PLAIN + LATER + NOW)
    assert (handler.handled, transport.written) == ([b"/later"], [])
    handler.promises[0].set_result(b"first")
    await turn()
    assert handler.handled == [b"/later", b"/plain", b"/later"]
    assert transport.output.endswith(b"now")
    handler.promises[1].set_result(b"second")
    await turn()
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in transport.output.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"first", b"now", b"second", b"now"]


async def test_reading_stops_while_too_many_requests_wait() -> None:
    handler, connection, transport = connect(Limits(pipelined_requests=3))
    connection.data_received(LATER + NOW * 2)
    assert transport.is_reading()
    connection.data_received(NOW)
    assert not transport.is_reading()
    handler.promises[0].set_result(b"")
    await turn()
    assert transport.is_reading()
    assert len(handler.handled) == 4


async def test_what_came_in_one_read_is_not_parsed_further_than_can_wait() -> None:
    handler, connection, transport = connect(Limits(pipelined_requests=3))
    connection.data_received(LATER + NOW * 10_000)
    assert not transport.is_reading()
    handler.promises[0].set_result(b"")
    await turn()
    assert transport.is_reading()
    assert len(handler.handled) == 10_001


async def test_nothing_is_handled_while_the_client_takes_no_answers() -> None:
    handler, connection, transport = connect()
    transport.hold()
    assert not transport.is_reading()
    connection.data_received(NOW + PLAIN)
    assert (handler.handled, transport.written) == ([], [])
    transport.release()
    await turn()
    assert transport.is_reading()
    assert transport.output.count(b"200 OK") == 2


async def test_a_bug_costs_its_own_connection_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for target in ("/bug", "/plain-bug"):
        caplog.clear()
        _, connection, transport = connect()
        connection.data_received(NOW + request("GET", target) + NOW)
        assert transport.output.count(b"HTTP/1.1 200") == 1
        assert transport.output.count(b"HTTP/1.1 500") == 1
        assert b"internal-error" in transport.output
        assert transport.ended
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_bug_in_a_later_answer_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    handler, connection, transport = connect()
    connection.data_received(LATER)
    handler.promises[0].set_exception(ZeroDivisionError())
    await turn()
    assert b"internal-error" in transport.output
    assert transport.ended
    assert len(caplog.records) == 1


async def test_an_answer_to_a_client_that_is_gone_is_dropped() -> None:
    handler, connection, transport = connect()
    connection.data_received(LATER + NOW)
    transport.close()
    await turn()
    assert handler.promises[0].cancelled()
    assert (handler.handled, transport.written) == ([b"/later"], [])


async def test_what_comes_after_the_last_answer_is_drained() -> None:
    handler, connection, transport = connect()
    connection.data_received(request("GET", "/now", connection="close") + NOW)
    assert transport.ended
    connection.data_received(NOW * 1000)
    assert (len(handler.handled), transport.is_reading(), transport.closed) == (1, True, False)
    assert connection.eof_received() is False


async def test_a_connection_that_ends_reads_again_to_see_its_client_go() -> None:
    handler, connection, transport = connect(Limits(pipelined_requests=1))
    connection.data_received(LATER + request("GET", "/now", connection="close"))
    handler.promises[0].set_result(b"")
    await turn()
    assert transport.ended
    assert transport.is_reading()


class NotingHandler(ScriptedHandler):
    """Notes the conditions of the requests that it gets."""

    fields = frozenset({b"if-none-match"})

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[bytes | None] = []

    def handle(self, request: Request) -> Outcome:
        """As scripted."""
        self.conditions.append(request.headers.get(b"if-none-match"))
        return super().handle(request)


async def test_a_request_that_waits_keeps_to_its_own_header_fields() -> None:
    handler, connection, transport = connect(handler=NotingHandler())
    conditional = request("GET", "/now", If_None_Match="*")
    for data in (LATER, NOW, conditional, NOW):
        connection.data_received(data)
    handler.promises[0].set_result(b"")
    await turn()
    assert transport.output.count(b"HTTP/1.1 200 OK") == 4
    assert isinstance(handler, NotingHandler)
    assert handler.conditions == [None, None, b"*", None]


HEAD = b"PUT /now HTTP/1.1\r\nHost: t\r\nSLKV-Token: a\r\n"


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/bug", slkv_token="a"),
        HEAD + b"Content-Length: 9999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n",
        HEAD + b"Host: u\r\n\r\n",
        HEAD + b"X: %b\r\n\r\n" % (b"x" * 200),
    ],
    ids=["a bug", "too large", "another coding", "no chunk", "two hosts", "a large header"],
)
async def test_a_problem_that_is_found_behind_the_header_knows_the_token(data: bytes) -> None:
    _, connection, transport = connect(Limits(head_bytes=150))
    connection.data_received(data)
    assert b"Sent: a\r\n" in transport.output


@pytest.mark.parametrize(
    "data", [HEAD + b": no name\r\n", b"GET /%b" % (b"x" * 200), b"NONSENSE\r\n\r\n"], ids=["header", "target", "line"]
)
async def test_a_problem_that_is_found_in_the_header_does_not_know_the_token(data: bytes) -> None:
    _, connection, transport = connect(Limits(target_bytes=100))
    connection.data_received(request("GET", "/now", slkv_token="of the request before"))
    connection.data_received(data)
    assert b" 4" in transport.output
    assert b"Sent: unknown\r\n" in transport.output
    assert b"Sent: of" not in transport.output


async def test_an_answer_that_is_no_problem_is_sent_as_it_was_made() -> None:
    _, connection, transport = connect()
    connection.data_received(NOW)
    assert b"Sent" not in transport.output
