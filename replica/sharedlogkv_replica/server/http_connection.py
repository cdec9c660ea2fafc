"""One HTTP/1.1 connection: requests in order to the handler, answers in the same order to the client.

Invariants:
    1. One request is being answered (`_active`), or plain PUTs are (`_puts`); the next ones wait in order (`_waiting`).
    2. While anything waits, or the client does not take its answers (`_write_paused`), nothing is handled out of turn.
    3. Once `_ended`, nothing is written: the last answer is out, and what still comes in is drained and dropped.
    4. Every answer made during one event of the loop leaves in one write, up to `_FLUSH_ANSWERS` and large bodies.
    5. `_puts_join` is true only if nothing waits but plain PUTs, nothing is held or paused, and the connection is to
       stay; `_short_way` only if no PUT is in hand either.

A plain GET or PUT makes no request object and no queue (`take_plain`, `take_plain_put`), and the one that the client
repeats is not even parsed (server/short_way.py).
"""

import asyncio
from typing import Final, cast

from sharedlogkv_replica.server.backlog import Backlog
from sharedlogkv_replica.server.host import Host
from sharedlogkv_replica.server.http_messages import CONTINUE, Deferred, Future, Request, Response, render_head
from sharedlogkv_replica.server.http_reader import IDLE, PIECE_BYTES, RequestReader
from sharedlogkv_replica.server.patience import Patience
from sharedlogkv_replica.server.problems import problem, report_bug
from sharedlogkv_replica.server.puts_in_hand import PutsInHand, answer_put, put_request
from sharedlogkv_replica.server.short_way import ShortWay

_FLUSH_ANSWERS: Final = 16  # with plain answers of at most 32 KiB each this bounds what one event collects
_SEPARATE_BODY_BYTES: Final = 32 * 1024  # from here on a body is not copied behind its head


class HttpConnection(asyncio.Protocol):
    """The protocol object of one accepted connection."""

    __slots__ = (
        "_active", "_active_request", "_client_done", "_clock", "_counters", "_ended", "_ended_at", "_handler",
        "_held", "_long", "_out", "_patience", "_plain", "_plain_get", "_plain_token", "_put_request",
        "_puts", "_puts_join", "_read_paused", "_reader", "_repeated", "_server", "_short_way", "_transport",
        "_waiting", "_write_paused",
    )  # fmt: skip

    def __init__(self, server: Host["HttpConnection"]) -> None:
        self._server = server
        self._handler = server.handler
        self._plain_get = server.handler.plain_get
        self._repeated = ShortWay(server.handler, limits=server.limits, counters=server.counters)
        self._put_request = Request(b"PUT", b"")  # stands for the newest PUT in hand
        self._clock = server.clock
        self._counters = server.counters
        self._transport: asyncio.Transport
        self._reader = RequestReader(
            self, server.handler, limits=server.limits, clock=server.clock, counters=server.counters
        )
        self._held = memoryview(b"")  # bytes that came in and were not fed to the reader yet
        self._plain = self._long = False  # the event under way saw a request that took the short way; another one
        self._plain_token: bytes | None = None  # of the latest GET that took it

        self._active: Deferred | None = None
        self._active_request: Request | None = None
        self._puts = PutsInHand(server.handler.plain_put)
        self._waiting = Backlog(server.limits, server.counters)
        self._out: list[bytes] = []

        self._short_way = self._puts_join = not server.draining
        self._read_paused = self._write_paused = False
        self._client_done = False  # it sends no more, but may still want its answers
        self._ended = False
        self._ended_at = 0.0
        self._patience = Patience(server.limits)

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away at once."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            self._counters.refused_connections += 1
            self._reader.refuse(problem("overloaded", "too many connections are open; retry on another replica"))

    def data_received(self, data: bytes) -> None:
        """Reads what came in, answers what can be answered, and writes once."""
        counters, reader = self._counters, self._reader
        counters.received_bytes += len(data)
        if self._puts_join and reader.phase == IDLE:
            answer = self._repeated.take_get(data) if self._short_way else None
            if answer is not None:
                reader.since = self._clock.now
                counters.sent_bytes += len(answer)
                self._transport.write(answer)
                return
            taken = self._repeated.take_puts(data, self._puts, self._finish_puts)
            if taken:
                self._short_way = False
                reader.since = self._clock.now
                if taken == len(data):
                    return
                data = data[taken:]
        if reader.deaf:
            return
        if self._held or len(data) > PIECE_BYTES:
            self._held = memoryview(bytes(self._held) + data)
            self._feed_held()
        else:
            between = reader.phase == IDLE and not self._puts
            self._plain, self._long = False, False
            reader.feed(data)
            if between and self._plain and not self._long:
                self._remember(data)
        if self._out:
            self._flush()

    def eof_received(self) -> bool:
        """The client will send no more: keeps the connection until what it asked for is answered."""
        self._client_done = True
        if self._ended or self._is_idle:
            return False
        self._mark_last()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        """Frees everything. Reads that are under way are given up, writes are not: the client asked for them."""
        self._stop_hearing()
        self._ended = True
        self._server.leave(self)
        if self._active is not None and self._active.abandonable:
            self._active.future.cancel()
        self._drop_input()
        self._reader.close()
        self._out.clear()

    def pause_writing(self) -> None:
        """The client is slower than its answers: handles nothing more until it has caught up."""
        self._write_paused = True
        self._settle_pace()

    def resume_writing(self) -> None:
        """The client has caught up. Goes on in the next turn, because this may be called from within a write."""
        self._write_paused = False
        asyncio.get_running_loop().call_soon(self._advance)

    # --- reading ---

    @property
    def _is_idle(self) -> bool:
        """Whether everything that came in whole is answered."""
        return self._active is None and not self._puts and not self._waiting

    def _remember(self, data: bytes) -> None:
        """Keeps what the requests like `data` have in common, if those were all plain: PUTs, or one GET."""
        if self._puts and not self._out:
            self._repeated.learn_put(data, self._puts.first_token)
        elif not self._puts and len(self._out) == 1:
            self._repeated.learn_get(data, self._plain_token)

    def _feed_held(self) -> None:
        """Reads what is held, piece by piece, until it is used up or enough requests wait."""
        while self._held and not self._reader.deaf and not (self._write_paused or self._waiting.is_full):
            piece, self._held = self._held[:PIECE_BYTES], self._held[PIECE_BYTES:]
            self._reader.feed(piece)
        self._settle_pace()

    def _settle_pace(self) -> None:
        """Reads, or not, and opens the short way, or not, as the queue and the client's speed allow."""
        if self._ended:
            return
        deaf, crowded = self._reader.deaf, bool(self._held) or self._write_paused or self._waiting.is_full
        self._puts_join = not (deaf or crowded or self._active or self._waiting or self._server.draining)
        self._short_way = self._puts_join and not self._puts
        pause = crowded and not deaf
        if pause != self._read_paused:
            self._read_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._reader.since = self._clock.now
                self._transport.resume_reading()

    def _stop_hearing(self) -> None:
        self._reader.deaf = True
        self._short_way = self._puts_join = False

    def _drop_input(self) -> None:
        """Forgets what was received and is not answered."""
        self._puts.clear()
        self._waiting.clear()
        self._held = memoryview(b"")

    # --- answering: the reader's sink ---

    def take_plain(self, target: bytes, token: bytes | None) -> bool:
        """Answers `GET target` at once, if it is its turn and the handler can."""
        if not self._short_way:
            return False
        answer = self._plain_get(target, token)
        if answer is None:
            return False
        self._plain, self._plain_token = True, token
        self._out.append(answer)
        if len(self._out) >= _FLUSH_ANSWERS:
            self._flush()
        return True

    def take_plain_put(self, target: bytes, body: bytes, token: bytes | None) -> bool:
        """Begins `PUT target`, if it may be begun now and the handler can."""
        if not self._puts_join or not self._puts.begin(target, body, token, on_end=self._finish_puts):
            return False
        self._plain = True
        self._short_way = False
        return True

    def invite_body(self) -> None:
        """Says `100 Continue`; behind other answers the client waits in vain and then sends the body anyway."""
        if self._is_idle:
            self._out.append(CONTINUE)

    def take(self, request: Request) -> None:
        """Queues a request, and answers it if it is its turn."""
        self._long = True
        if self._server.draining:
            request.keep_alive = False
        if not request.keep_alive:
            self._stop_hearing()
        if self._is_idle and not self._write_paused:
            self._answer(request)
        else:
            self._waiting.push(request)
            self._settle_pace()

    def _answer(self, request: Request) -> None:
        """Has the handler answer `request`, at once or later."""
        try:
            outcome = request.refusal or self._handler.handle(request)
        except Exception as error:  # noqa: BLE001 # the seam to the handler: a bug there must not take the others along
            outcome = report_bug(error)
        if isinstance(outcome, Response):
            self._emit(request, outcome)
            return
        self._active, self._active_request = outcome, request
        self._short_way = self._puts_join = False
        outcome.future.add_done_callback(self._finish)

    def _finish_puts(self, _: Future) -> None:
        """Answers the PUTs in hand that have ended, in order; those behind one that has not wait for it."""
        if self._ended:
            return
        ended = self._puts.pop_ended()
        if not ended:  # those before it are under way; or it was answered with them
            return
        last = None if self._puts or self._put_request.keep_alive else ended[-1][0]
        for put, token in ended:
            answer = answer_put(put, is_last=put is last)
            if isinstance(answer, bytes):
                self._out.append(answer)
            else:
                self._emit(put_request(token, keep_alive=put is not last), answer)
        self._reader.since = self._clock.now
        if self._waiting or self._held or self._write_paused or self._read_paused:
            self._advance()
            return
        self._puts_join = not self._reader.deaf and not self._server.draining
        self._short_way = self._puts_join and not self._puts
        if self._out:
            self._flush()

    def _finish(self, future: Future) -> None:
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
            response = report_bug(error)
        if self._ended:
            return
        self._reader.since = self._clock.now
        self._emit(request, response)
        self._advance()

    def _emit(self, request: Request, response: Response) -> None:
        """Puts one answer behind those that wait to be written; the last one ends the connection."""
        keep_alive = request.keep_alive and not response.close
        if response.state is None:
            response.state = self._handler.describe_state(request)
        self._counters.count_answer(request.method, response.status)
        self._out.append(render_head(response, request, date_line=self._clock.date_line, keep_alive=keep_alive))
        if response.body and request.method != b"HEAD":
            self._out.append(response.body)
        if not keep_alive:
            self._end()
        elif len(self._out) >= _FLUSH_ANSWERS or len(self._out[-1]) >= _SEPARATE_BODY_BYTES:
            self._flush()

    def _advance(self) -> None:
        """Goes on wherever it can: answers what waits, reads what is held, writes, takes in more."""
        waiting, puts = self._waiting, self._puts
        while waiting and self._active is None and not self._write_paused:
            request = waiting.oldest
            if request.is_plain_put and puts.begin(request.target, request.body, None, on_end=self._finish_puts):
                waiting.pop()
            elif puts:
                break
            else:
                self._answer(waiting.pop())
        self._feed_held()
        if self._out:
            self._flush()

    def _flush(self) -> None:
        """Writes what is collected, at once."""
        out, self._out = self._out, []
        if self._ended or self._transport.is_closing():
            return
        self._counters.sent_bytes += sum(map(len, out))
        if len(out) == 1:
            self._transport.write(out[0])
        elif len(out[-1]) >= _SEPARATE_BODY_BYTES:
            self._transport.writelines(out)
        else:
            self._transport.write(b"".join(out))

    # --- ending ---

    def _end(self) -> None:
        """The last answer is made: writes it, says so, and drains what the client still sends.

        Closing with unread bytes in the socket would reset the connection, and the reset may overtake the answer.
        """
        self._flush()
        self._stop_hearing()
        self._ended = True
        self._ended_at = self._clock.now
        self._drop_input()
        if self._client_done:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            if self._read_paused:
                self._transport.resume_reading()

    def _mark_last(self) -> None:
        """Makes the newest request that is whole the connection's last one."""
        last = self._waiting.newest if self._waiting else self._put_request if self._puts else self._active_request
        assert last is not None
        last.keep_alive = False
        self._stop_hearing()

    def _close(self) -> None:
        """Ends a connection that waits for nothing."""
        self._stop_hearing()
        self._ended = True
        self._ended_at = self._clock.now
        self._transport.close()

    def abort(self) -> None:
        """Cuts the connection."""
        self._stop_hearing()
        self._ended = True
        self._transport.abort()

    def leave_short_way(self) -> None:
        """From now on every answer may have to be the last one, and so is decided on in full."""
        self._short_way = self._puts_join = False

    def finish(self) -> None:
        """Ends the connection gracefully: what was received whole or in part is still answered, nothing after it."""
        if self._ended or self._reader.deaf or self._held or self._reader.phase != IDLE:
            return  # what is being read becomes the last request, since the server drains
        if self._is_idle:
            self._close()
        else:
            self._mark_last()

    def sweep(self) -> None:
        """Ends the connection if its client has used up its time; called every `Limits.sweep_seconds`."""
        now, patience, reader = self._clock.now, self._patience, self._reader
        unsent_bytes = self._transport.get_write_buffer_size()
        if patience.is_stalled(unsent_bytes, now):
            self._counters.slow_client_aborts += 1
            self.abort()
        if unsent_bytes:
            self._ended_at = now  # the client gets its time to close after the last byte, not before it
        elif self._ended:
            if patience.has_lingered(now - self._ended_at):
                self.abort()
        elif not self._is_idle or self._read_paused:
            return  # it is our turn
        elif reader.phase == IDLE:
            if patience.was_idle(now - reader.since):
                self._close()
        else:
            refusal = patience.find_refusal(reader.phase, now - reader.since)
            if refusal is not None:
                reader.refuse(refusal)
