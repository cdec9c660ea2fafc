"""How replicas talk: frames of messages, and what a message is.

A connection carries frames both ways. A frame is its length (four bytes, big-endian) and a msgpack array of messages:
all that one end had to say in one turn of its loop, encoded and decoded in one go. Before the frames comes a handshake
(`peer_handshake`), of frames with one message each.

One end asks and the other answers. Questions are numbered by their order on the connection, from 0, so that no number
travels with them; answers name the number and come in any order. A `Goodbye` asks for no more questions.

Fields are known by their place. One that is added goes to the end and has a default, and then older replicas still read
the message; any other change is a new `PROTOCOL_VERSION`. A message that is not understood ends its connection.
"""

import struct
from collections.abc import Iterator
from typing import Final, TypeAlias, assert_never

import msgspec

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, Offset, Position
from sharedlogkv_replica.core.writes import (
    UNCONDITIONAL,
    Condition,
    ConditionFailed,
    RequestId,
    RequestMismatch,
    Write,
    WriteResult,
    Written,
)
from sharedlogkv_replica.errors import (
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    PeerFault,
    PeerRefused,
    RecordTooLarge,
    ReplicaError,
)

PROTOCOL_VERSION: Final = 1
FRAME_TARGET_BYTES: Final = 256 * 1024
"""Messages are put into one frame up to this size; a larger message has a frame of its own."""

_LENGTH: Final = struct.Struct("!I")
_MESSAGE_OVERHEAD_BYTES: Final = 64  # what a message takes beside its bytes, texts and versions, at most
_VERSION_BYTES: Final = 9  # an integer of msgpack, at most
_CONDITIONS_LIMIT_BYTES: Final = 64 * 1024  # all versions that a request's header can name
_TEXT_LIMIT: Final = 1_000  # characters of an error's text that travel


class WriteQuestion(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A write to carry out. The fields are those of `Write`, and how long the asker will wait."""

    key: bytes
    value: bytes | None
    timeout_seconds: float
    match: frozenset[Offset] | None
    none_match: frozenset[Offset] | None
    request: str | None
    fingerprint: str | None


class IndexQuestion(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Up to where must a linearizable read have read?"""


class LeadsQuestion(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Do you lead this term, under a valid lease?"""

    term: Term


class ReportQuestion(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Where the asker's map is, and whether the asker could lead. The answer shows that the other end lives."""

    position: Position
    fit: bool


Question: TypeAlias = WriteQuestion | IndexQuestion | LeadsQuestion | ReportQuestion


class WrittenAnswer(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """`Written`."""

    number: int
    offset: Offset
    repeated: bool


class ConditionFailedAnswer(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """`ConditionFailed`."""

    number: int
    version: Offset | None
    applied: Offset


class MismatchAnswer(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """`RequestMismatch`."""

    number: int


class ErrorAnswer(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A write ended with an error."""

    number: int
    kind: str
    text: str


class IndexAnswer(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The read index; None without a valid lease."""

    number: int
    index: Offset | None


class LeadsAnswer(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Whether the answering replica leads the term that was asked about."""

    number: int
    leads: bool


class ReportAnswer(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The report was taken down."""

    number: int


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Ask no more, and close the connection once all is answered."""


Answer: TypeAlias = (
    WrittenAnswer | ConditionFailedAnswer | MismatchAnswer | ErrorAnswer | IndexAnswer | LeadsAnswer | ReportAnswer
)
Message: TypeAlias = Question | Answer | Goodbye

_ENCODER: Final = msgspec.msgpack.Encoder()
_QUESTIONS: Final = msgspec.msgpack.Decoder(list[Question])
_ANSWERS: Final = msgspec.msgpack.Decoder(list[Answer | Goodbye])

_ERRORS: Final[dict[str, type[ReplicaError]]] = {
    "no-leader": NoLeader,
    "log-unavailable": LogUnavailable,
    "log-refused": LogRefused,
    "record-too-large": RecordTooLarge,
    "outcome-unknown": OutcomeUnknown,
}
_KINDS: Final = {error: kind for kind, error in _ERRORS.items()}


def frame_limit_bytes(value_limit_bytes: int) -> int:
    """The largest frame that a replica takes whose clients may write values up to `value_limit_bytes`."""
    largest = value_limit_bytes + KEY_LIMIT_BYTES + _CONDITIONS_LIMIT_BYTES
    return max(FRAME_TARGET_BYTES, largest) + _MESSAGE_OVERHEAD_BYTES


def encode_frame(message: object) -> bytearray:
    """The frame around one message, or a list of them."""
    frame = bytearray(_LENGTH.size)
    _ENCODER.encode_into(message, frame, _LENGTH.size)
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame


def decode_questions(payload: memoryview) -> list[Question]:
    """The questions of one frame.

    Raises:
        PeerRefused: it holds anything else.
    """
    try:
        return _QUESTIONS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerRefused(PeerFault.MALFORMED, f"a frame holds no questions: {error}") from None


def decode_answers(payload: memoryview) -> list[Answer | Goodbye]:
    """The answers of one frame.

    Raises:
        PeerRefused: it holds anything else.
    """
    try:
        return _ANSWERS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerRefused(PeerFault.MALFORMED, f"a frame holds no answers: {error}") from None


class FrameSplitter:
    """Finds the frames in a stream of bytes.

    Attributes:
        limit_bytes: the largest frame that is taken, without its length; may be set between two frames.
    """

    __slots__ = ("_held", "_wanted", "limit_bytes")

    def __init__(self, *, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._held = bytearray()
        self._wanted = 0  # how much must be held before there is a whole frame

    def split(self, data: bytes) -> Iterator[memoryview]:
        """The frames that `data` completes, one by one and without their lengths; run it to its end, or end it all.

        Raises:
            PeerRefused: a frame is larger than the limit, which its length tells before it is held.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = bytes(self._held)
            self._held.clear()
        view, start, self._wanted = memoryview(data), 0, _LENGTH.size
        while len(data) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, start)
            if size > self.limit_bytes:
                text = f"a frame of {size} bytes is announced, and {self.limit_bytes} are the limit"
                raise PeerRefused(PeerFault.OVERSIZE, text)
            end = start + _LENGTH.size + size
            if end > len(data):
                self._wanted = _LENGTH.size + size
                break
            yield view[start + _LENGTH.size : end]
            start = end
        self._held += view[start:]


class Outbox:
    """Collects the messages of one turn of the loop, and gives the bytes that carry them."""

    __slots__ = ("_frames", "_messages", "_size_bytes")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._size_bytes = 0
        self._frames: list[bytearray] = []

    def add(self, message: Message, size_bytes: int = _MESSAGE_OVERHEAD_BYTES) -> bool:
        """Puts `message`, of at most `size_bytes` when encoded, behind the others; True if it is the first one."""
        first = not self._messages and not self._frames
        if self._messages and self._size_bytes + size_bytes > FRAME_TARGET_BYTES:
            self._seal()
        self._messages.append(message)
        self._size_bytes += size_bytes
        return first

    def take(self) -> bytes | bytearray:
        """All that was collected, as bytes to write; empties the box."""
        if self._messages:
            self._seal()
        frames, self._frames = self._frames, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _seal(self) -> None:
        self._frames.append(encode_frame(self._messages))
        self._messages = []
        self._size_bytes = 0


def write_bound_bytes(write: Write) -> int:
    """The most that the question for `write` takes when encoded."""
    size = _MESSAGE_OVERHEAD_BYTES + len(write.key) + len(write.value or b"")
    if write.request is not None:
        size += len(write.request.id) + len(write.request.fingerprint)
    if write.condition is not UNCONDITIONAL:
        size += _VERSION_BYTES * (len(write.condition.match or ()) + len(write.condition.none_match or ()))
    return size


def question_bound_bytes(question: Question) -> int:
    """About what `question` takes; what a server counts against its bound."""
    if isinstance(question, WriteQuestion):
        return _MESSAGE_OVERHEAD_BYTES + len(question.key) + len(question.value or b"")
    return _MESSAGE_OVERHEAD_BYTES


def answer_bound_bytes(answer: Answer) -> int:
    """The most that `answer` takes when encoded."""
    if isinstance(answer, ErrorAnswer):
        return _MESSAGE_OVERHEAD_BYTES + 4 * len(answer.text)  # UTF-8 takes four bytes a character at most
    return _MESSAGE_OVERHEAD_BYTES


def question_of(write: Write, *, timeout_seconds: float) -> WriteQuestion:
    """The question that asks for `write`."""
    condition, request = write.condition, write.request
    return WriteQuestion(
        write.key,
        write.value,
        timeout_seconds,
        condition.match,
        condition.none_match,
        None if request is None else request.id,
        None if request is None else request.fingerprint,
    )


def write_of(question: WriteQuestion) -> Write:
    """The write that `question` asks for."""
    condition, request = UNCONDITIONAL, None
    if question.match is not None or question.none_match is not None:
        condition = Condition(question.match, question.none_match)
    if question.request is not None:
        request = RequestId(question.request, question.fingerprint or "")
    return Write(question.key, question.value, condition, request)


def answer_of(number: int, result: WriteResult | BaseException) -> Answer:
    """The answer that tells of `result`. An error that has no name on the wire is told as an unknown outcome."""
    match result:
        case Written(offset=offset, repeated=repeated):
            return WrittenAnswer(number, offset, repeated)
        case ConditionFailed(version=version, applied=applied):
            return ConditionFailedAnswer(number, version, applied)
        case RequestMismatch():
            return MismatchAnswer(number)
        case BaseException():
            kind = _KINDS.get(type(result), "outcome-unknown")  # type: ignore[arg-type] # any class may be looked up
            return ErrorAnswer(number, kind, str(result)[:_TEXT_LIMIT])
        case _:
            assert_never(result)


def result_of(answer: Answer) -> WriteResult | ReplicaError:
    """What `answer` tells of a write. One that is no answer to a write tells nothing of it."""
    match answer:
        case WrittenAnswer(offset=offset, repeated=repeated):
            return Written(offset, repeated)
        case ConditionFailedAnswer(version=version, applied=applied):
            return ConditionFailed(version, applied)
        case MismatchAnswer():
            return RequestMismatch()
        case ErrorAnswer(kind=kind, text=text):
            return _ERRORS.get(kind, OutcomeUnknown)(text)
        case _:
            return OutcomeUnknown("the leader's answer was to another question")
