"""One HTTP/1.1 connection: bytes in, requests in order to the handler, answers in the same order, bytes out.

States of the message being read (`_phase`) and what moves them; all else on the connection is a queue:

    IDLE --first byte--> HEAD --end of header, body follows--> BODY --end of body--> IDLE
    IDLE --first byte--> HEAD --end of header, no body--> IDLE

Invariants:
    1. At most one request is being answered (`_active`). Those behind it wait in `_waiting`, whole and in order.
    2. While anything waits, or the client does not take its answers (`_write_paused`), nothing is handled out of turn.
    3. Once `_deaf`, no byte that comes in is parsed: the request before it is the connection's last one.
    4. Once `_ended`, nothing is written: the last answer is out, and what still comes in is drained and dropped.
    5. Every answer made during one event of the loop leaves in one write, up to `_FLUSH_ANSWERS` and large bodies.

Most requests of most clients are a GET without any header field that matters, answered from memory. They take the
short way at the top of `on_message_complete`: no request object, no queue. And most clients send the same header with
every request of a connection: once the parser has found one plain, `_tail` remembers what followed the target, and a
request that is the same but for its target is not parsed at all.
"""

import asyncio
import collections
import logging
from typing import Final, Protocol, cast

import httptools

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import (
    CONTINUE,
    NOTED_FIELDS,
    Deferred,
    Handler,
    Request,
    Response,
    render_head,
)
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import problem

logger = logging.getLogger(__name__)

_IDLE: Final = 0
_HEAD: Final = 1
_BODY: Final = 2

_PIECE_BYTES: Final = 16 * 1024  # the parser can't stop inside what it is fed, so this bounds how far it runs ahead
_TAIL_BYTES: Final = 2048  # remembered by each connection
_FLUSH_ANSWERS: Final = 16  # with plain answers of at most 32 KiB each this bounds what one event collects
_SEPARATE_BODY_BYTES: Final = 32 * 1024  # from here on a body is not copied behind its head


class Host(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    limits: Limits
    clock: CoarseClock
    counters: HttpCounters
    draining: bool

    def enter(self, connection: "HttpConnection") -> bool:
        """Registers a new connection; False if there are too many."""
        ...

    def leave(self, connection: "HttpConnection") -> None:
        """Forgets a connection that is gone."""
        ...


class HttpConnection(asyncio.Protocol):
    """The protocol object of one accepted connection; also the parser's callbacks (`on_...`)."""

    __slots__ = (
        "_active", "_active_request", "_body", "_body_bytes", "_clock", "_counters", "_deaf", "_ended", "_handler",
        "_head_bytes", "_headers", "_held", "_hosts", "_limits", "_out", "_parser", "_phase", "_plain", "_plain_get",
        "_read_paused", "_server", "_short_way", "_since", "_stalled_bytes", "_stalled_since", "_tail", "_target",
        "_transport", "_upgrade_with_body", "_waiting", "_waiting_bytes", "_write_paused",
    )  # fmt: skip

    def __init__(self, server: Host) -> None:
        self._server = server
        self._handler = server.handler
        self._plain_get = server.handler.plain_get
        self._limits = server.limits
        self._clock = server.clock
        self._counters = server.counters
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)

        self._phase = _IDLE
        self._since = server.clock.now  # when this phase began
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._hosts = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._upgrade_with_body = False
        self._held = memoryview(b"")  # bytes that came in and are not parsed yet
        self._plain = False  # the event under way saw a request that took the short way
        self._tail = b""

        self._active: Deferred | None = None
        self._active_request: Request | None = None
        self._waiting: collections.deque[Request] = collections.deque()
        self._waiting_bytes = 0
        self._out: list[bytes] = []

        self._short_way = not server.draining  # a plain GET may be answered at once, and the connection stays
        self._read_paused = False
        self._write_paused = False
        self._deaf = False
        self._ended = False
        self._stalled_bytes = 0
        self._stalled_since = 0.0

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away at once."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            self._counters.refused_connections += 1
            self._refuse(problem("overloaded", "too many connections are open; retry on another replica"))
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Parses what came in, answers what can be answered, and writes once."""
        counters = self._counters
        counters.received_bytes += len(data)
        if self._short_way and self._tail and data.endswith(self._tail) and data[:5] == b"GET /" and not self._phase:
            answer = self._plain_get(data[4 : -len(self._tail)])
            if answer is not None:
                self._since = self._clock.now
                counters.sent_bytes += len(answer)
                self._transport.write(answer)
                return
        if self._deaf:
            return
        if self._held or len(data) > _PIECE_BYTES:
            self._held = memoryview(bytes(self._held) + data)
            self._feed_held()
        else:
            between = self._phase == _IDLE
            self._plain = False
            self._feed(data)
            if self._plain and between and len(self._out) == 1:
                self._remember_tail(data)
        if self._out:
            self._flush()

    def eof_received(self) -> bool:
        """The client will send no more: keeps the connection until what it asked for is answered."""
        self._stop_hearing()
        if self._ended or (self._active is None and not self._waiting):
            return False
        self._mark_last()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees everything. Reads that are under way are given up, writes are not: the client asked for them."""
        self._stop_hearing()
        self._ended = True
        self._server.leave(self)
        if self._active is not None and self._active.abandonable:
            self._active.future.cancel()
        self._counters.held_body_bytes -= self._waiting_bytes + self._body_bytes
        self._waiting.clear()
        self._waiting_bytes = self._body_bytes = 0
        self._held = memoryview(b"")
        self._body.clear()
        self._out.clear()
        del self._parser  # it holds our bound methods: a cycle that only the garbage collector would free

    def pause_writing(self) -> None:
        """The client is slower than its answers: handles nothing more until it has caught up."""
        self._write_paused = True
        self._settle_pace()

    def resume_writing(self) -> None:
        """The client has caught up. Goes on in the next turn, because this may be called from within a write."""
        self._write_paused = False
        asyncio.get_running_loop().call_soon(self._advance)

    # --- the parser's callbacks, in the order of a message ---

    def on_message_begin(self) -> None:
        """A request's first byte."""
        if self._phase == _BODY:  # the head that `_feed_past_upgrade` repeats
            return
        self._phase = _HEAD
        self._since = self._clock.now
        self._target = b""
        self._hosts = self._head_bytes = 0
        if self._headers:
            self._headers = {}

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        if self._phase == _BODY:
            return
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            self._refuse(problem("uri-too-long", f"the target is longer than {self._limits.target_bytes} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; or a trailer field, which nobody may use to alter a request that was checked already."""
        self._head_bytes += len(name) + len(value)
        field = name.lower()
        if field not in NOTED_FIELDS or self._phase == _BODY:
            return
        if field == b"host":
            self._hosts += 1
            return
        if field == b"connection" and value == b"keep-alive" and self._parser.get_http_version() == "1.1":
            return  # many clients say so in every request; it changes nothing, and must not cost the short way
        old = self._headers.get(field)
        self._headers[field] = value if old is None else old + b", " + value

    def on_headers_complete(self) -> None:
        """The end of the header section: the last moment to refuse a body before it is sent."""
        if self._phase == _BODY or self._deaf:
            return
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_large_head()
        elif self._headers:
            self._begin_body()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._deaf:
            return
        self._head_bytes = -_PIECE_BYTES  # from here on it bounds the trailer: whatever comes without a body's byte
        self._body.append(data)
        self._body_bytes += len(data)
        self._counters.held_body_bytes += len(data)
        if self._body_bytes > self._handler.body_limit_bytes:
            self._refuse_large_body()
        elif self._counters.held_body_bytes > self._limits.bodies_bytes:
            self._refuse(problem("overloaded", "too many request bodies are being received; retry a little later"))

    def on_message_complete(self) -> None:
        """A request is whole."""
        if (
            self._short_way
            and not self._headers
            and self._hosts == 1
            and self._parser.should_keep_alive()
            and self._parser.get_method() == b"GET"
        ):
            answer = self._plain_get(self._target)
            if answer is not None:
                self._plain = True
                self._phase = _IDLE
                self._out.append(answer)
                if len(self._out) >= _FLUSH_ANSWERS:
                    self._flush()
                return
        if self._upgrade_with_body:
            self._upgrade_with_body = False  # the parser believes that an upgrade has no body; it is still to come
        elif not self._deaf:
            self._take_request()

    # --- reading ---

    def _remember_tail(self, data: bytes) -> None:
        """Keeps what follows the target in `data`, if that is one plain GET and nothing else.

        Whatever begins with `GET /` and a target of plain characters, and ends with this, is then a request that the
        parser would find to be plain as well: it has found so of the same bytes.
        """
        tail = data[data.find(b" ", 5) :]
        if data[:5] == b"GET /" and tail.find(b"\r\n\r\n") == len(tail) - 4 and len(tail) <= _TAIL_BYTES:
            self._tail = tail

    def _feed(self, data: bytes | memoryview) -> None:
        """Runs the parser over `data`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_past_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            self._refuse(_report_bug(error))
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(problem("bad-request", f"this is not HTTP/1.1: {error}"))
        if self._phase != _IDLE and not self._deaf:
            self._bound_unfinished_head(len(data))

    def _bound_unfinished_head(self, received_bytes: int) -> None:
        """Counts what came in for a header or trailer field that has no end: the parser collects it unseen.

        Generous, because finished fields were counted before, and the first piece may belong to another message.
        """
        self._head_bytes += received_bytes
        if self._head_bytes > 2 * (self._limits.head_bytes + self._limits.target_bytes):
            self._refuse_large_head()

    def _feed_held(self) -> None:
        """Parses what is held, piece by piece, until it is used up or enough requests wait."""
        while self._held and not self._deaf and not self._crowded():
            piece, self._held = self._held[:_PIECE_BYTES], self._held[_PIECE_BYTES:]
            self._feed(piece)
        self._settle_pace()

    def _feed_past_upgrade(self, rest: memoryview) -> None:
        """Goes on behind a request for an upgrade, which a server may ignore and we do (RFC 9110 section 7.8).

        The parser stops there and takes the body for the new protocol's bytes. So it is told of the body once more, by
        a head that has the framing only; the callbacks ignore that head because the phase is BODY already.
        """
        if self._phase == _BODY:
            length = self._headers.get(b"content-length")
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: " + length
            options = self._headers.get(b"connection", b"").split(b",")
            kept = b",".join(option for option in options if option.strip().lower() != b"upgrade")
            version = self._parser.get_http_version().encode()
            self._feed(b"PUT / HTTP/%b\r\n%b\r\nConnection: %b\r\n\r\n" % (version, framing, kept))
        if rest and not self._deaf:
            self._feed(rest)

    def _begin_body(self) -> None:
        """Looks at the header fields that govern body and connection, and refuses what can be refused now."""
        headers = self._headers
        length, coding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
        version = self._parser.get_http_version()
        if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
            self._refuse(problem("bad-request", "the only transfer coding is chunked, and not with HTTP/1.0"))
            return
        if length is not None and int(length) > self._handler.body_limit_bytes:
            self._refuse_large_body()
            return
        if coding is None and (length is None or int(length) == 0):
            return
        if headers.get(b"expect", b"").lower() == b"100-continue" and version != "1.0":
            refusal = self._handler.admit(self._build_request(version))
            if refusal is not None:
                self._refuse(refusal)
                return
            self._invite_body()
        self._phase = _BODY
        self._since = self._clock.now
        self._head_bytes = 0
        self._upgrade_with_body = self._parser.should_upgrade()

    def _invite_body(self) -> None:
        """Says `100 Continue`; behind other answers the client waits in vain and then sends the body anyway."""
        if self._active is None and not self._waiting:
            self._out.append(CONTINUE)

    def _build_request(self, version: str) -> Request:
        return Request(
            self._parser.get_method(),
            self._target,
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self._parser.should_keep_alive() and not self._server.draining,
            version == "1.0",
        )

    def _take_request(self) -> None:
        """Queues the request that is whole now, and answers it if it is its turn."""
        version = self._parser.get_http_version()
        if version == "0.9" or (version != "1.0" and self._hosts != 1):
            self._refuse(problem("bad-request", "a request needs one Host field, and HTTP/1.0 or HTTP/1.1"))
            return
        request = self._build_request(version)
        self._body = []
        self._waiting_bytes += self._body_bytes
        self._body_bytes = 0
        self._phase = _IDLE
        self._since = self._clock.now
        if not request.keep_alive:
            self._stop_hearing()
        self._enqueue(request)

    def _refuse(self, response: Response) -> None:
        """Answers the message being read with `response`, in its turn; nothing behind it is parsed."""
        self._stop_hearing()
        method = self._parser.get_method() if self._phase != _IDLE and self._target else b""  # else not known yet
        self._enqueue(Request(method, self._target, keep_alive=False, refusal=response))

    def _stop_hearing(self) -> None:
        self._deaf = True
        self._short_way = False

    def _refuse_large_head(self) -> None:
        limit = self._limits.head_bytes
        self._refuse(problem("headers-too-large", f"the header fields are larger than {limit} bytes"))

    def _refuse_large_body(self) -> None:
        limit = self._handler.body_limit_bytes
        self._refuse(problem("value-too-large", f"the body is larger than {limit} bytes"))

    # --- answering ---

    def _enqueue(self, request: Request) -> None:
        if self._active is None and not self._waiting and not self._write_paused:
            self._answer(request)
        else:
            self._waiting.append(request)
            if self._crowded():
                self._settle_pace()

    def _crowded(self) -> bool:
        """Whether enough requests wait, so that no more should be read."""
        return (
            self._write_paused
            or len(self._waiting) >= self._limits.pipelined_requests
            or self._waiting_bytes > self._limits.pipelined_bytes
        )

    def _answer(self, request: Request) -> None:
        """Has the handler answer `request`, at once or later."""
        self._waiting_bytes -= len(request.body)
        self._counters.held_body_bytes -= len(request.body)
        try:
            outcome = request.refusal or self._handler.handle(request)
        except Exception as error:  # noqa: BLE001 # the seam to the handler: a bug there must not take the connection's others
            outcome = _report_bug(error)
        if isinstance(outcome, Response):
            self._emit(request, outcome)
            return
        self._active, self._active_request = outcome, request
        self._short_way = False
        outcome.future.add_done_callback(self._finish)

    def _finish(self, future: "asyncio.Future[object]") -> None:
        """A deferred answer can be made."""
        deferred, request = self._active, self._active_request
        assert deferred is not None
        assert request is not None
        self._active = self._active_request = None
        if future.cancelled():
            return  # only we cancel, when the client is gone
        try:
            response = deferred.finish(future)
        except Exception as error:  # noqa: BLE001 # as in `_answer`
            response = _report_bug(error)
        if self._ended:
            return
        self._since = self._clock.now
        self._emit(request, response)
        self._advance()

    def _emit(self, request: Request, response: Response) -> None:
        """Puts one answer behind those that wait to be written."""
        keep_alive = request.keep_alive and not response.close
        self._counters.count_answer(request.method, response.status)
        self._out.append(render_head(response, request, date_line=self._clock.date_line, keep_alive=keep_alive))
        if response.body and request.method != b"HEAD":
            self._out.append(response.body)
        if len(self._out) >= _FLUSH_ANSWERS or len(response.body) >= _SEPARATE_BODY_BYTES:
            self._flush()
        if not keep_alive:
            self._end()

    def _advance(self) -> None:
        """Goes on wherever it can: answers what waits, writes, parses what is held, reads again."""
        while self._waiting and self._active is None and not self._write_paused and not self._ended:
            self._answer(self._waiting.popleft())
        if self._held and not self._deaf:
            self._feed_held()
        if self._out:
            self._flush()
        self._settle_pace()

    def _settle_pace(self) -> None:
        """Reads, or not, and opens the short way, or not, as the queue and the client's speed allow."""
        if self._ended:
            return
        self._short_way = not (
            self._active is not None or self._waiting or self._write_paused or self._server.draining or self._deaf
        )
        pause = not self._deaf and (bool(self._held) or self._crowded())
        if pause != self._read_paused:
            self._read_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._since = self._clock.now
                self._transport.resume_reading()

    def _flush(self) -> None:
        """Writes what is collected, at once."""
        out, self._out = self._out, []
        if not out or self._ended or self._transport.is_closing():
            return
        if len(out[-1]) >= _SEPARATE_BODY_BYTES:
            self._counters.sent_bytes += sum(map(len, out))
            self._transport.writelines(out)
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._counters.sent_bytes += len(data)
        self._transport.write(data)

    # --- ending ---

    def _end(self) -> None:
        """The last answer is made: writes it, says so, and drains what the client still sends.

        Closing with unread bytes in the socket would reset the connection, and the reset may overtake the answer.
        """
        self._flush()
        self._stop_hearing()
        self._ended = True
        self._waiting.clear()
        self._body = []
        self._counters.held_body_bytes -= self._waiting_bytes + self._body_bytes
        self._waiting_bytes = self._body_bytes = 0
        self._held = memoryview(b"")
        self._since = self._clock.now
        if not self._transport.is_closing():
            self._transport.write_eof()
            if self._read_paused:
                self._transport.resume_reading()

    def _mark_last(self) -> None:
        """Makes the newest request that is whole the connection's last one."""
        last = self._waiting[-1] if self._waiting else self._active_request
        assert last is not None
        last.keep_alive = False
        self._stop_hearing()

    def leave_short_way(self) -> None:
        """From now on every answer may have to be the last one, and so is decided on in full."""
        self._short_way = False

    def finish(self) -> None:
        """Ends the connection gracefully: what was received whole or in part is still answered, nothing after it."""
        if self._ended:
            return
        if self._phase == _IDLE and not self._held:
            if self._active is None and not self._waiting:
                self._stop_hearing()
                self._ended = True
                self._transport.close()
            elif not self._deaf:
                self._mark_last()

    def abort(self) -> None:
        """Cuts the connection."""
        self._stop_hearing()
        self._ended = True
        self._transport.abort()

    def sweep(self) -> None:
        """Ends the connection if its client has used up its time; called every `Limits.sweep_seconds`."""
        now, limits = self._clock.now, self._limits
        stalled_bytes = self._transport.get_write_buffer_size()
        if stalled_bytes:
            if stalled_bytes != self._stalled_bytes:
                self._stalled_bytes, self._stalled_since = stalled_bytes, now
            elif now - self._stalled_since > limits.stall_timeout_seconds:
                self._counters.slow_client_aborts += 1
                self.abort()
            return
        self._stalled_bytes = 0
        waited = now - self._since - limits.sweep_seconds  # both ends are late by up to one sweep: never cut short
        if self._ended:
            if waited > limits.linger_seconds:
                self.abort()
        elif self._active is not None or self._waiting or self._read_paused:
            return  # it is our turn
        elif self._phase == _HEAD and waited > limits.head_timeout_seconds:
            self._time_out("header", limits.head_timeout_seconds)
        elif self._phase == _BODY and waited > limits.body_timeout_seconds:
            self._time_out("body", limits.body_timeout_seconds)
        elif self._phase == _IDLE and waited > limits.idle_timeout_seconds:
            self._stop_hearing()
            self._ended = True
            self._transport.close()

    def _time_out(self, part: str, seconds: float) -> None:
        self._refuse(problem("request-timeout", f"the request's {part} was not complete after {seconds:g} s"))
        self._advance()


def _report_bug(error: Exception) -> Response:
    logger.error("a request failed on a bug", exc_info=error)
    return problem("internal-error", "this is a bug of the replica; its log says more", close=True)
