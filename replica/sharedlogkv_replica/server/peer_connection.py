"""The answering end of one connection between replicas: a handshake, then questions in and answers out.

States: stranger (handshake), peer (questions), ended. Whoever breaks the protocol, does not prove the secret, or falls
silent is refused: one log line, one count, and the connection is closed; nothing else is touched.

Invariants:
    1. No question is read, let alone answered, before the asking end has proved the secret.
    2. What came in and is not answered is bounded: beyond the bound nothing more is read.
    3. The answers that are made in one turn of the loop leave in one write.
    4. A write that was begun is carried out, whether or not its asker is still there to hear of it.
"""

import asyncio
import functools
import logging
import secrets
from typing import Protocol, assert_never, cast

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import WriteResult
from sharedlogkv_replica.engine.peer_handshake import (
    HANDSHAKE_FRAME_LIMIT_BYTES,
    NONCE_BYTES,
    AnsweringHandshake,
    refusal_frame,
)
from sharedlogkv_replica.engine.peer_wire import (
    Answer,
    FrameSplitter,
    Goodbye,
    IndexAnswer,
    IndexQuestion,
    LeadsAnswer,
    LeadsQuestion,
    Outbox,
    Question,
    ReportAnswer,
    ReportQuestion,
    WriteQuestion,
    answer_bound_bytes,
    answer_of,
    decode_questions,
    question_bound_bytes,
    write_of,
)
from sharedlogkv_replica.engine.peers import PeerCounters, PeerLimits, PeerService
from sharedlogkv_replica.engine.promise import Promise
from sharedlogkv_replica.errors import NoLeader, OutcomeUnknown, PeerFault, PeerRefused, ReplicaError

logger = logging.getLogger(__name__)


class Host(Protocol):
    """What a connection needs of its server."""

    service: PeerService
    limits: PeerLimits
    counters: PeerCounters
    frame_limit_bytes: int
    stopping: bool

    def begin_handshake(self) -> AnsweringHandshake:
        """A handshake that has not begun."""
        ...

    def enter(self, connection: "PeerConnection") -> bool:
        """Registers a new connection; False if there are too many."""
        ...

    def befriend(self, connection: "PeerConnection") -> None:
        """Takes down that the connection's other end has proved the secret."""
        ...

    def leave(self, connection: "PeerConnection") -> None:
        """Forgets a connection that is gone."""
        ...


class PeerConnection(asyncio.Protocol):
    """The protocol object of one accepted connection.

    Attributes:
        peer: the asking end's name, once it has proved the secret; empty before.
    """

    def __init__(self, server: Host) -> None:
        self._server = server
        self._limits = server.limits
        self._counters = server.counters
        self._transport: asyncio.Transport
        self._handshake = server.begin_handshake()
        self._splitter = FrameSplitter(limit_bytes=HANDSHAKE_FRAME_LIMIT_BYTES)
        self._outbox = Outbox()
        self._next = 0  # the number of the next question
        self._unanswered = 0
        self._unanswered_bytes = 0
        self._read_paused = False
        self._write_paused = False
        self._proved = False
        self._ended = False
        self._ticks_silent = 0
        self._ticks_stalled = 0
        self.peer = ""

    # --- the transport's events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection in, or turns it away at once."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            self._refuse(PeerRefused(PeerFault.CROWDED, "too many connections are open on the peer port"))

    def data_received(self, data: bytes) -> None:
        """Reads what came in, and answers what can be answered at once."""
        if self._ended:
            return
        self._counters.received_bytes += len(data)
        try:
            for payload in self._splitter.split(data):
                if self._proved:
                    self._ticks_silent = 0
                    for question in decode_questions(payload):
                        self._take(question)
                else:
                    self._shake_hands(payload)
        except PeerRefused as refused:
            self._refuse(refused)
            return
        self._settle_pace()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection; writes that are under way go on."""
        del exc
        if self._proved:
            self._counters.open_connections -= 1
        self._ended = True
        self._server.leave(self)

    def pause_writing(self) -> None:
        """The peer is slower than its answers: reads no more questions until it has caught up."""
        self._write_paused = True
        self._ticks_stalled = 0
        self._settle_pace()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._write_paused = False
        self._settle_pace()

    # --- the handshake ---

    def _shake_hands(self, payload: memoryview) -> None:
        if not self._handshake.challenged:
            nonce = secrets.token_bytes(NONCE_BYTES)
            limit_bytes = self._server.frame_limit_bytes
            self._transport.write(self._handshake.challenge(payload, nonce=nonce, frame_limit_bytes=limit_bytes))
            return
        self.peer = self._handshake.verify(payload)
        self._proved = True
        self._splitter.limit_bytes = self._server.frame_limit_bytes
        self._counters.connections += 1
        self._counters.open_connections += 1
        self._server.befriend(self)
        logger.info("a peer connected", extra={"peer": self.peer})
        if self._server.stopping:
            self.say_goodbye()

    def _refuse(self, refused: PeerRefused) -> None:
        """Ends the connection, and says why: to a stranger in a frame, to the log, and in the count."""
        if self._ended:
            return
        self._counters.failures[refused.fault] += 1
        address = self._transport.get_extra_info("peername")
        logger.warning(
            "a peer was refused",
            extra={
                "peer": self.peer,
                "address": str(address[0]) if address else "",
                "fault": refused.fault.value,
                "detail": str(refused),
            },
        )
        self._ended = True
        if self._proved:
            self._transport.abort()
        else:
            self._transport.write(refusal_frame(refused))
            self._transport.close()

    # --- questions and answers ---

    def _take(self, question: Question) -> None:
        """Answers `question`, at once or when its write has ended."""
        number, self._next = self._next, self._next + 1
        self._counters.questions += 1
        service = self._server.service
        match question:
            case WriteQuestion():
                self._write(number, question)
            case IndexQuestion():
                self._unanswered += 1
                service.read_index().add_done_callback(functools.partial(self._tell_index, number))
            case LeadsQuestion(term=term):
                self._answer(LeadsAnswer(number, service.ask_leads(term)))
            case ReportQuestion(position=position, fit=fit):
                service.note_peer(self.peer, position, fit=fit)
                self._answer(ReportAnswer(number))
            case _:
                assert_never(question)

    def _write(self, number: int, question: WriteQuestion) -> None:
        if self._server.stopping:
            self._answer(answer_of(number, NoLeader("the leader stops")))
            return
        written = self._server.service.write(write_of(question), timeout_seconds=question.timeout_seconds)
        size = question_bound_bytes(question)
        self._unanswered += 1
        self._unanswered_bytes += size
        written.add_done_callback(functools.partial(self._finish, number, size))

    def _tell_index(self, number: int, index: Promise[Offset | None]) -> None:
        """The read index is known."""
        self._unanswered -= 1
        if self._ended:
            return
        self._answer(IndexAnswer(number, index.result()))
        if self._read_paused:
            self._settle_pace()

    def _finish(self, number: int, size: int, written: Promise[WriteResult]) -> None:
        """A write has ended."""
        self._unanswered -= 1
        self._unanswered_bytes -= size
        if self._ended:
            return
        error = OutcomeUnknown("the leader gave the write up") if written.cancelled() else written.exception()
        if error is not None and not isinstance(error, ReplicaError):
            logger.error("a peer's write failed on a bug", exc_info=error)
        self._answer(answer_of(number, written.result() if error is None else error))
        if self._read_paused:
            self._settle_pace()

    def _answer(self, answer: Answer) -> None:
        if self._outbox.add(answer, answer_bound_bytes(answer)):
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        data = self._outbox.take()
        if self._ended or self._transport.is_closing():
            return
        self._counters.sent_bytes += len(data)
        self._transport.write(data)

    def _settle_pace(self) -> None:
        """Reads, or not, as the questions under way and the peer's speed allow."""
        if self._ended or self._transport.is_closing():
            return
        pause = (
            self._write_paused
            or self._unanswered >= self._limits.unanswered_questions
            or self._unanswered_bytes >= self._limits.unanswered_bytes
        )
        if pause != self._read_paused:
            self._read_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._ticks_silent = 0
                self._transport.resume_reading()

    # --- ending ---

    def say_goodbye(self) -> None:
        """Asks a peer to ask no more; it closes the connection once it has all answers. A stranger is cut."""
        if not self._proved:
            self.abort()
        elif self._outbox.add(Goodbye()):
            asyncio.get_running_loop().call_soon(self._flush)

    def abort(self) -> None:
        """Cuts the connection."""
        self._ended = True
        self._transport.abort()

    def tick(self) -> None:
        """Ends the connection if its other end is silent, or takes none of its answers; called once a tick."""
        seconds = self._limits.tick_seconds
        self._ticks_silent += not self._read_paused
        self._ticks_stalled += self._write_paused
        if not self._proved:
            if self._ticks_silent * seconds > self._limits.handshake_seconds:
                self._refuse(
                    PeerRefused(PeerFault.SILENT, "a connection to the peer port did not prove the secret in time")
                )
        elif self._ticks_silent > self._limits.silent_ticks:
            self._refuse(
                PeerRefused(PeerFault.SILENT, f"the peer has said nothing for {self._ticks_silent * seconds:g} s")
            )
        elif self._ticks_stalled > self._limits.silent_ticks:
            self._refuse(
                PeerRefused(PeerFault.SLOW, f"the peer took no answer for {self._ticks_stalled * seconds:g} s")
            )
