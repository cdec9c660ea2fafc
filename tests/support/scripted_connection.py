"""A connection to a handler that answers as a test says, without sockets."""

import asyncio

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_connection import HttpConnection
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, PlainPut, Request, Response
from sharedlogkv_replica.server.http_server import HttpServer
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import problem
from tests.support.http import request
from tests.support.transport import RecordingTransport

NOW, PLAIN, LATER, LARGE = (request("GET", target) for target in ("/now", "/plain", "/later", "/large"))


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
