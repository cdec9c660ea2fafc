"""Requests, responses and how a response becomes bytes (RFC 9110, RFC 9112). No IO here."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
LENGTH_ALONE: Final = frozenset({b"content-length"})
"""The header fields that are looked at, of a plain PUT."""

_BODILESS: Final = frozenset({204, 304})


@dataclass(slots=True)
class Response:
    """One final answer.

    Attributes:
        status: 200 to 599.
        headers: complete header lines, each with its line end; without `Date`, framing and `Connection`.
        body: the content; with HEAD it only gives its length.
        close: whether the connection ends with it, whatever the client wished.
        state: further header lines, which tell of which state of the store it is; None: those that
            `Handler.describe_state` gives when it is sent.
    """

    status: int
    headers: bytes = b""
    body: bytes = b""
    close: bool = False
    state: bytes | None = b""


@dataclass(slots=True)
class Request:
    """One whole request.

    Attributes:
        method: in capitals, as sent.
        target: the request target, as sent (percent-encoded).
        headers: the values of `SERVER_FIELDS` and of the handler's, by lower-case name; repeated ones joined by commas.
        body: the content; empty when there was none.
        keep_alive: whether the connection may go on after the answer.
        http_1_0: the client speaks HTTP/1.0, and must be told when the connection stays.
        refusal: the answer is decided already: the request broke the protocol or a limit.
        head_is_whole: the header was read to its end; if not, nobody knows what else it would have had.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    http_1_0: bool = False
    refusal: Response | None = None
    head_is_whole: bool = True

    @property
    def is_plain_put(self) -> bool:
        """Whether `Handler.plain_put` may be asked."""
        is_usual = self.keep_alive and not self.http_1_0 and self.refusal is None
        return self.method == b"PUT" and is_usual and self.headers.keys() == LENGTH_ALONE


class Future(Protocol):
    """What ends later: a future of asyncio, or what does the same for one listener."""

    def add_done_callback(self, listener: Callable[[Any], object], /) -> None:
        """Has `listener` called with this, in a later turn, once it has ended."""
        ...

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def cancelled(self) -> bool:
        """Whether it was given up."""
        ...

    def cancel(self) -> bool:
        """Gives it up."""
        ...

    def __await__(self) -> Generator[Any, None, Any]:
        """What it ends with."""
        ...


@dataclass(slots=True)
class Deferred:
    """An answer that comes later.

    Attributes:
        future: ends when the answer can be made.
        finish: makes it of the ended future; must take any outcome but cancellation. Called exactly once unless the
            future is cancelled.
        abandonable: the future may be cancelled once the client is gone.
    """

    future: Future
    finish: Callable[[Any], Response]
    abandonable: bool


Outcome: TypeAlias = Response | Deferred


class PlainPut(Protocol):
    """A PUT that went the short way, and whose answer comes later; its future is never given up."""

    @property
    def future(self) -> Future:
        """As `Deferred.future`."""
        ...

    def finish_plain(self) -> bytes | None:
        """The whole answer, on a connection that stays, if the write has succeeded as most do; None: ask `finish`."""
        ...

    def finish(self, future: Any, /) -> Response:
        """As `Deferred.finish`."""
        ...


class Handler(Protocol):
    """What a server serves. All methods run on the event loop and must not block."""

    @property
    def fields(self) -> frozenset[bytes]:
        """The header fields, in lower case, that it looks at beside `SERVER_FIELDS`.

        One of them takes a GET off the short way, on which most requests go.
        """
        ...

    @property
    def body_limit_bytes(self) -> int:
        """The largest request body, at the moment."""
        ...

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """The whole answer, head and body, to `GET target` on a connection that stays, if it is 200 at once.

        Only asked when the request bears none of the noted fields but `Host` and perhaps `SLKV-Token`, whose value
        `token` is. None means: ask `handle`, and is the only answer to a target with any byte that is not in
        `PLAIN_TARGET`: it may not have been parsed.
        """
        ...

    def plain_put(self, target: bytes, body: bytes) -> PlainPut | None:
        """What becomes of `PUT target` on a connection that stays, if that is to be seen at once.

        Only asked when the request bears none of the noted fields but `Host`, `Content-Length` and perhaps
        `SLKV-Token`, and its body is within `body_limit_bytes`. None means: ask `handle`, as with `plain_get`.
        """
        ...

    def admit(self, request: Request) -> Response | None:
        """The refusal that a request, whose body has not been read yet, is bound to get; None if it may be read."""
        ...

    def handle(self, request: Request) -> Outcome:
        """The answer to a whole request, or its promise."""
        ...

    def describe_state(self, request: Request) -> bytes:
        """The header lines that tell of which state an answer to `request` is that was given without a look at it."""
        ...


PLAIN_TARGET: Final = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"%?#")
"""The bytes that stand for themselves in a path: visible ASCII, without escapes, query and fragment."""

SERVER_FIELDS: Final = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"slkv-token", b"transfer-encoding", b"upgrade"}
)
"""The header fields that the server itself looks at. A handler names its own (`Handler.fields`); all others are counted
against the limit and dropped."""


def render_head(response: Response, request: Request, *, date_line: bytes, keep_alive: bool) -> bytes:
    """Status line and header section of `response` to `request`, with the framing that status and method demand.

    Source: RFC 9112 section 6.3; RFC 9110 sections 8.6 (no Content-Length with 204), 9.3.2 (HEAD gives GET's length),
    15.4.5 (304 is bodiless).
    """
    if response.status in _BODILESS:
        assert not response.body, "204 and 304 have no content"
        length = b""
    else:
        length = b"Content-Length: %d\r\n" % len(response.body)
    if not keep_alive:
        connection = b"Connection: close\r\n"
    else:
        connection = b"Connection: keep-alive\r\n" if request.http_1_0 else b""
    lines = (date_line, response.headers, response.state or b"", length, connection)
    return b"".join((_STATUS_LINES[response.status], *lines, b"\r\n"))
