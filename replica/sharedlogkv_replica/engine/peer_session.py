"""The asking end of one connection: the handshake, then questions out and answers in.

What is asked in one turn of the loop leaves in one write; what comes in is decoded frame by frame and handed straight
to whoever asked, without a task or a future in between. Deadlines are the askers' own; a connection on which nothing is
heard for some ticks is cut, and each tick's report makes sure that there is something to hear.

Invariants:
    1. Questions are asked only while `ready`; each asker hears once: `answered`, or `lost` when the connection ends.
    2. `lost(sent=False)` means that no byte of the question was handed to the transport.
    3. An asker that was forgotten (`forget`) hears nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from sharedlogkv_replica.engine.peer_handshake import HANDSHAKE_FRAME_LIMIT_BYTES, AskingHandshake
from sharedlogkv_replica.engine.peer_wire import (
    FRAME_TARGET_BYTES,
    Answer,
    FrameSplitter,
    Goodbye,
    Outbox,
    Question,
    ReportQuestion,
    decode_answers,
)
from sharedlogkv_replica.engine.peers import PeerCounters, PeerLimits, Report
from sharedlogkv_replica.errors import PeerFault, PeerRefused

_ANSWERS_LIMIT_BYTES = 2 * FRAME_TARGET_BYTES
_WRITE_BUFFER_BYTES = 4 * FRAME_TARGET_BYTES  # asyncio's own 64 KiB would pause us in the middle of a frame


class Asker(Protocol):
    """Who asked a question.

    Attributes:
        size_bytes: the most that the question takes when encoded.
    """

    size_bytes: int

    def answered(self, answer: Answer) -> None:
        """The other end has answered."""
        ...

    def lost(self, *, sent: bool) -> None:
        """The connection ended without an answer; if not `sent`, the other end never saw the question."""
        ...


class Unheard:
    """An asker that does not care for the answer."""

    size_bytes = 64

    def answered(self, answer: Answer) -> None:
        """Nothing to do."""

    def lost(self, *, sent: bool) -> None:
        """Nothing to do."""


_UNHEARD = Unheard()


class PeerSession(asyncio.Protocol):
    """One connection, from the attempt to connect to its loss.

    Attributes:
        peer: the other end's name, once it has proved the secret.
        largest_question_bytes: what the other end takes at most.
        proved: ends with None once both ends have proved the secret, or with `PeerRefused`.
        ended: ends with the reason for which the connection ended.
    """

    def __init__(
        self,
        handshake: AskingHandshake,
        *,
        limits: PeerLimits,
        counters: PeerCounters,
        report: Callable[[], Report],
        on_room: Callable[[], None],
    ) -> None:
        """Says its first word once it is connected.

        Args:
            handshake: not begun yet.
            limits: the bounds.
            counters: for the metrics.
            report: what to report at each tick.
            on_room: called when there may be room for more questions.
        """
        loop = asyncio.get_running_loop()
        self._handshake = handshake
        self._limits = limits
        self._counters = counters
        self._report = report
        self._on_room = on_room
        self._transport: asyncio.Transport | None = None
        self._splitter = FrameSplitter(limit_bytes=HANDSHAKE_FRAME_LIMIT_BYTES)
        self._outbox = Outbox()
        self._askers: dict[int, Asker] = {}
        self._unanswered_bytes = 0
        self._next = 0  # the number of the next question
        self._sent = 0  # questions below this number were handed to the transport
        self._open = False
        self._leaving = False
        self._cut = False
        self._write_paused = False
        self._silent_ticks = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._fault: PeerRefused | None = None
        self.peer = ""
        self.largest_question_bytes = 0
        self.proved: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[PeerRefused] = loop.create_future()

    # --- asking ---

    @property
    def ready(self) -> bool:
        """Whether a question may be asked now."""
        return (
            self._open
            and not self._leaving
            and not self._write_paused
            and len(self._askers) < self._limits.unanswered_questions
            and self._unanswered_bytes < self._limits.unanswered_bytes
        )

    @property
    def unanswered(self) -> int:
        """Questions without an answer so far."""
        return len(self._askers)

    def ask(self, question: Question, asker: Asker) -> int:
        """Sends `question` at the end of this turn; returns its number. Only while `ready`."""
        number, self._next = self._next, self._next + 1
        self._askers[number] = asker
        self._unanswered_bytes += asker.size_bytes
        self._counters.questions += 1
        if self._outbox.add(question, asker.size_bytes):
            asyncio.get_running_loop().call_soon(self._flush)
        return number

    def forget(self, number: int) -> None:
        """Lets the asker of question `number` hear nothing any more; the question itself may be under way."""
        asker = self._askers.get(number)
        if asker is not None:
            self._unanswered_bytes += _UNHEARD.size_bytes - asker.size_bytes
            self._askers[number] = _UNHEARD

    def leave(self) -> None:
        """Asks nothing more, and ends once all is answered."""
        self._leaving = True
        self._end_if_done()

    def abort(self, fault: PeerRefused | None = None) -> None:
        """Cuts the connection, also one whose making was cancelled; askers learn of it in the next turn."""
        self._fault = self._fault or fault
        self._cut = True
        if self._transport is not None:
            self._transport.abort()
            # uvloop's `create_connection`, when cancelled, closes a connection that was made and may be proved by then
            # without a word to its protocol, which would tick on and write to a closed handle.
            asyncio.get_running_loop().call_soon(self.connection_lost, None)

    def _flush(self) -> None:
        transport = self._transport
        if not self._open or self._cut or transport is None or transport.is_closing():
            return
        self._sent = self._next
        data = self._outbox.take()
        self._counters.sent_bytes += len(data)
        transport.write(data)

    def _end_if_done(self) -> None:
        if self._leaving and not self._askers and self._transport is not None:
            self._transport.close()

    def _tick(self) -> None:
        """Once in a while: reports, and cuts a connection on which nothing is heard.

        Ticks are counted, and not seconds: after a pause of this very process the first tick finds the answers unread.
        """
        if self._silent_ticks >= self._limits.silent_ticks:
            text = f"the peer has said nothing for {self._silent_ticks * self._limits.tick_seconds:g} s"
            self.abort(PeerRefused(PeerFault.SILENT, text))
            return
        self._silent_ticks += 1
        if self.ready:
            report = self._report()
            self.ask(ReportQuestion(report.position, report.fit), _UNHEARD)
        self._ticker = asyncio.get_running_loop().call_later(self._limits.tick_seconds, self._tick)

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._transport.write(self._handshake.hello)

    def data_received(self, data: bytes) -> None:
        """Takes in what the other end says."""
        self._counters.received_bytes += len(data)
        self._silent_ticks = 0
        try:
            for payload in self._splitter.split(data):
                if self._open:
                    self._take_answers(payload)
                else:
                    self._prove(payload)
        except PeerRefused as refused:
            self.abort(refused)
            return
        if self.ready:
            self._on_room()
        self._end_if_done()

    def _prove(self, payload: memoryview) -> None:
        proof, challenge = self._handshake.prove(payload)
        assert self._transport is not None
        self._transport.write(proof)
        self.peer = challenge.name
        self.largest_question_bytes = challenge.frame_limit_bytes
        self._splitter.limit_bytes = _ANSWERS_LIMIT_BYTES
        self._open = True
        self._counters.connections += 1
        self._counters.open_connections += 1
        self._tick()
        if not self.proved.done():
            self.proved.set_result(None)

    def _take_answers(self, payload: memoryview) -> None:
        for answer in decode_answers(payload):
            if isinstance(answer, Goodbye):
                self._leaving = True
                continue
            asker = self._askers.pop(answer.number, None)
            if asker is None:
                raise PeerRefused(PeerFault.MALFORMED, f"an answer to question {answer.number}, which is not open")
            self._unanswered_bytes -= asker.size_bytes
            asker.answered(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells every asker; once."""
        if self.ended.done():
            return
        if self._ticker is not None:
            self._ticker.cancel()
        if self._open:
            self._counters.open_connections -= 1
        self._open = False
        lost = f"the connection was lost: {exc}" if exc else "the peer closed the connection"
        fault = self._fault or PeerRefused(PeerFault.UNREACHABLE, lost)
        askers, self._askers = self._askers, {}
        for number, asker in askers.items():
            asker.lost(sent=number < self._sent)
        if not self.proved.done():
            self.proved.set_exception(fault)
            self.proved.exception()  # marks it as seen
        self.ended.set_result(fault)

    def pause_writing(self) -> None:
        """The other end takes nothing more at the moment."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """It does again. Goes on in the next turn, because this may be called from within a write."""
        self._write_paused = False
        asyncio.get_running_loop().call_soon(self._on_room)
