"""Bytes into requests: the parser's callbacks, what they collect, and every limit on what a client sends.

States of the message being read, and what moves them:

    IDLE --first byte--> HEAD --end of header, body follows--> BODY --end of body--> IDLE
    IDLE --first byte--> HEAD --end of header, no body--> IDLE

Invariants:
    1. Requests leave in the order in which they came, each once and whole, or refused.
    2. A refused request is the last one: from then on the reader is `deaf`, and whatever it is fed is dropped. So no
       byte whose meaning is in doubt is ever taken for the beginning of a request (RFC 9112 section 11.2).
    3. What is kept of an unfinished request is bounded, also where the parser collects it unseen.
"""

from typing import Final, Protocol

import httptools

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import LENGTH_ALONE, SERVER_FIELDS, Handler, Request, Response
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import problem, report_bug

PIECE_BYTES: Final = 16 * 1024
"""The most that may be fed at once: the parser can't stop inside, so this bounds how far it runs ahead."""

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2


class RequestSink(Protocol):
    """Where requests go."""

    def take_plain(self, target: bytes, token: bytes | None) -> bool:
        """Answers `GET target` without fields that matter but a token, if it can be done at once; False: use `take`."""
        ...

    def take_plain_put(self, target: bytes, body: bytes, token: bytes | None) -> bool:
        """Begins `PUT target` without fields that matter but length and token, if it can be; False: use `take`."""
        ...

    def take(self, request: Request) -> None:
        """Takes the next request; if it is the last one, the sink makes the reader deaf."""
        ...

    def invite_body(self) -> None:
        """The body of the next request may come, and its client waits to be told so."""
        ...


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        phase: `IDLE`, `HEAD` or `BODY`.
        since: when the phase began, by the coarse clock; also moved by whoever stops reading for a while.
        deaf: the last request was read; what is fed is dropped.
    """

    __deletable__ = ("_parser",)  # for the compiler, mypyc
    __slots__ = (
        "_body", "_body_bytes", "_clock", "_counters", "_handler", "_head_bytes", "_headers", "_hosts", "_limits",
        "_noted", "_parser", "_sink", "_target", "_token", "_unseen_bytes", "_upgrade_with_body", "deaf", "phase",
        "since",
    )  # fmt: skip

    def __init__(
        self, sink: RequestSink, handler: Handler, *, limits: Limits, clock: CoarseClock, counters: HttpCounters
    ) -> None:
        self._sink = sink
        self._handler = handler
        self._noted = SERVER_FIELDS | handler.fields
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._parser = httptools.HttpRequestParser(self)
        self.phase = IDLE
        self.since = clock.now
        self.deaf = False
        self._target = b""
        self._token: bytes | None = None  # apart from the others, since it alone needs no thought about framing
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0  # of its finished fields
        self._unseen_bytes = 0  # fed since the last sign of progress
        self._hosts = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._upgrade_with_body = False

    def feed(self, data: bytes | memoryview) -> None:
        """Reads at most `PIECE_BYTES` bytes; calls the sink for every request that ends in them."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_past_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self.refuse(report_bug(error))
        except httptools.HttpParserError as error:
            if not self.deaf:
                self.refuse(problem("bad-request", f"this is not HTTP/1.1: {error}"))
        if self.phase != IDLE and not self.deaf:
            self._bound_unseen(len(data))

    def refuse(self, response: Response) -> None:
        """Answers the message being read, if any, with `response`; nothing after it is read."""
        self._refuse(response, head_is_whole=self.phase == BODY)

    def _refuse(self, response: Response, *, head_is_whole: bool = True) -> None:
        self.deaf = True
        self._drop_body()
        method = self._parser.get_method() if self.phase != IDLE and self._target else b""  # else not known yet
        request = Request(method, self._target, keep_alive=False, refusal=response, head_is_whole=head_is_whole)
        if head_is_whole and self._token is not None:
            request.headers[b"slkv-token"] = self._token
        self._sink.take(request)

    def close(self) -> None:
        """Frees everything; nothing may be fed any more. Idempotent."""
        self.deaf = True
        self._drop_body()
        if hasattr(self, "_parser"):
            del self._parser  # it holds our bound methods: a cycle that only the garbage collector would free

    # --- the parser's callbacks, in the order of a message ---

    def on_message_begin(self) -> None:
        """A request's first byte."""
        if self.phase == BODY:  # the head that `_feed_past_upgrade` repeats
            return
        self.phase = HEAD
        self.since = self._clock.now
        self._target = b""
        self._token = None
        self._hosts = self._head_bytes = self._unseen_bytes = 0
        if self._headers:
            self._headers = {}

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        if self.phase == BODY:
            return
        self._target += url
        if len(self._target) > self._limits.target_bytes and not self.deaf:
            self.refuse(problem("uri-too-long", f"the target is longer than {self._limits.target_bytes} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; or a trailer field, which nobody may use to alter a request that was checked already."""
        self._head_bytes += len(name) + len(value)
        field = name.lower()
        if field not in self._noted or self.phase == BODY:
            return
        if field == b"host":
            self._hosts += 1
            return
        value = value.rstrip(b" \t")  # which is no part of it (RFC 9112 section 5.1), and which the parser leaves
        if field == b"connection" and value == b"keep-alive" and self._parser.get_http_version() == "1.1":
            return  # many clients say so in every request; it changes nothing, and must not cost the short way
        if field == b"slkv-token":
            self._token = value if self._token is None else self._token + b", " + value
            return
        old = self._headers.get(field)
        self._headers[field] = value if old is None else old + b", " + value

    def on_headers_complete(self) -> None:
        """The end of the header section: the last moment to refuse a body before it is sent."""
        if self.phase == BODY or self.deaf:
            return
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_large_head(head_is_whole=True)
        elif self._headers:
            self._begin_body()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self.deaf:
            return
        self._unseen_bytes = -PIECE_BYTES  # the piece that this is part of does not count
        self._body.append(data)
        self._body_bytes += len(data)
        self._counters.held_body_bytes += len(data)
        if self._body_bytes > self._handler.body_limit_bytes:
            self._refuse_large_body()
        elif self._counters.held_body_bytes > self._limits.bodies_bytes:
            self.refuse(problem("overloaded", "too many request bodies are being received; retry a little later"))

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self.deaf:
            return
        if (
            not self._headers
            and self._hosts == 1
            and self._parser.should_keep_alive()
            and self._parser.get_method() == b"GET"
            and self._sink.take_plain(self._target, self._token)
        ):
            self.phase = IDLE
        elif self._take_plain_put():
            self._drop_body()
            self.phase = IDLE
            self.since = self._clock.now
        elif self._upgrade_with_body:
            self._upgrade_with_body = False  # the parser believes that an upgrade has no body; it is still to come
        else:
            self._take_whole()

    def _take_plain_put(self) -> bool:
        """Whether the request that is whole is a plain PUT, and was taken as one."""
        return (
            self._headers.keys() == LENGTH_ALONE
            and self._hosts == 1
            and self._parser.get_method() == b"PUT"
            and self._parser.should_keep_alive()
            and self._parser.get_http_version() == "1.1"
            and self._sink.take_plain_put(self._target, b"".join(self._body), self._token)
        )

    # --- what they have in common ---

    def _begin_body(self) -> None:
        """Looks at the header fields that govern body and connection, and refuses what can be refused now."""
        headers = self._headers
        length, coding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
        version = self._parser.get_http_version()
        if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
            self._refuse(problem("bad-request", "the only transfer coding is chunked, and not with HTTP/1.0"))
            return
        if length is not None and (len(length) > 18 or int(length) > self._handler.body_limit_bytes):
            self._refuse_large_body()
            return
        if coding is None and (length is None or int(length) == 0):
            return
        if headers.get(b"expect", b"").lower() == b"100-continue" and version != "1.0":
            refusal = self._handler.admit(self._build_request(version))
            if refusal is not None:
                self._refuse(refusal)
                return
            self._sink.invite_body()
        self.phase = BODY
        self.since = self._clock.now
        self._unseen_bytes = 0
        self._upgrade_with_body = self._parser.should_upgrade()

    def _drop_body(self) -> None:
        self._counters.held_body_bytes -= self._body_bytes
        self._body_bytes = 0
        self._body = []

    def _take_whole(self) -> None:
        version = self._parser.get_http_version()
        if version == "0.9" or (version != "1.0" and self._hosts != 1):
            self._refuse(problem("bad-request", "a request needs one Host field, and HTTP/1.0 or HTTP/1.1"))
            return
        request = self._build_request(version)
        self._drop_body()  # from here on the sink counts it
        self._headers = {}  # these are the request's now, which may wait while the next ones are read
        self.phase = IDLE
        self.since = self._clock.now
        self._sink.take(request)

    def _build_request(self, version: str) -> Request:
        if self._token is not None:
            self._headers[b"slkv-token"] = self._token
        return Request(
            self._parser.get_method(),
            self._target,
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self._parser.should_keep_alive(),
            version == "1.0",
        )

    def _feed_past_upgrade(self, rest: memoryview) -> None:
        """Goes on behind a request for an upgrade, which a server may ignore and we do (RFC 9110 section 7.8).

        The parser stops there and takes the body for the new protocol's bytes. So a new one is told of the body, by a
        head that has the framing only; the callbacks ignore that head because the phase is BODY already.
        """
        if self.phase == BODY:
            length = self._headers.get(b"content-length")
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: " + length
            options = self._headers.get(b"connection", b"").split(b",")
            kept = b",".join(option for option in options if option.strip().lower() != b"upgrade")
            version = self._parser.get_http_version().encode()
            self._parser = httptools.HttpRequestParser(self)
            self.feed(b"PUT / HTTP/%b\r\n%b\r\nConnection: %b\r\n\r\n" % (version, framing, kept))
        if rest and not self.deaf:
            self.feed(rest)

    def _bound_unseen(self, fed_bytes: int) -> None:
        """Bounds what the parser collects of a field, a trailer or a chunk extension that has no end.

        Counts everything fed since the header or the body's last byte, so a field that ends is counted here as well.
        """
        self._unseen_bytes += fed_bytes
        if self._unseen_bytes > 2 * PIECE_BYTES + self._limits.head_bytes + self._limits.target_bytes:
            self._refuse_large_head(head_is_whole=self.phase == BODY)

    def _refuse_large_head(self, *, head_is_whole: bool) -> None:
        limit = self._limits.head_bytes
        response = problem("headers-too-large", f"the header fields are larger than {limit} bytes")
        self._refuse(response, head_is_whole=head_is_whole)

    def _refuse_large_body(self) -> None:
        limit = self._handler.body_limit_bytes
        self._refuse(problem("value-too-large", f"the body is larger than {limit} bytes"))
