"""A connection without sockets: when it handles, when it writes, and when it wants no more."""

import asyncio
import logging

import pytest

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_connection import HttpConnection
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, PlainPut, Request, Response
from sharedlogkv_replica.server.http_server import HttpServer
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import problem
from tests.support.http import request
from tests.support.transport import RecordingTransport

pytestmark = pytest.mark.asyncio


class ScriptedPut:
    """A put that is answered as the test says: plainly with its body, at length, with a problem, or with a bug."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def finish_plain(self) -> bytes | None:
        if self.future.result() == "bug":
            raise ZeroDivisionError
        if self.future.result() == "plain":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body)
        return None

    def finish(self, future: object, /) -> Response:
        del future
        if self.future.result() == "problem":
            return problem("outcome-unknown", "perhaps")
        return Response(200, b"", b"at length")


class ScriptedHandler:
    """Answers `/now` at once, `/plain` the short way, `/later` when told, `/large` with a mebibyte; fails at `/bug`."""

    body_limit_bytes = 1 << 20
    fields = frozenset[bytes]()

    def __init__(self) -> None:
        self.handled: list[bytes] = []
        self.promises: list[asyncio.Future[bytes]] = []
        self.tokens: list[bytes | None] = []
        self.puts: list[ScriptedPut] = []

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """One of the answers of a script."""
        self.tokens.append(token)
        if target == b"/plain-bug":
            raise ZeroDivisionError
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain" if target == b"/plain" else None

    def plain_put(self, target: bytes, body: bytes) -> PlainPut | None:
        """Takes PUTs of `/plain` and of what begins so, which the test ends."""
        if not target.startswith(b"/plain"):
            return None
        self.puts.append(ScriptedPut(body))
        return self.puts[-1]

    def describe_state(self, request: Request) -> bytes:
        """Tells what is known of the request's token."""
        token = request.headers.get(b"slkv-token", b"none") if request.head_is_whole else b"unknown"
        return b"Sent: %b\r\n" % token

    def admit(self, request: Request) -> Response | None:
        """Everything is admitted."""
        del request
        return None

    def handle(self, request: Request) -> Outcome:
        """One of the answers of a script."""
        self.handled.append(request.target)
        match request.target:
            case b"/later":
                promise: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                self.promises.append(promise)
                return Deferred(promise, finish_later, abandonable=True)
            case b"/large":
                return Response(200, b"", b"x" * (1 << 20))
            case b"/bug":
                raise ZeroDivisionError
            case _:
                return Response(200, b"", b"now")


def finish_later(promise: "asyncio.Future[bytes]") -> Response:
    """The answer that a promise of `/later` turns into."""
    return Response(200, b"", promise.result())


def connect(
    limits: Limits | None = None, *, handler: ScriptedHandler | None = None
) -> tuple[ScriptedHandler, HttpConnection, RecordingTransport]:
    """A connection to a scripted handler."""
    handler = handler or ScriptedHandler()
    server = HttpServer(handler, limits=limits or Limits(), clock=CoarseClock(), counters=HttpCounters())
    connection = HttpConnection(server)
    return handler, connection, RecordingTransport(connection)


async def turn() -> None:
    """Lets everything run that is due."""
    for _ in range(3):
        await asyncio.sleep(0)


NOW, PLAIN, LATER, LARGE = (request("GET", target) for target in ("/now", "/plain", "/later", "/large"))


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
