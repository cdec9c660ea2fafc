"""Frames and messages: what is said arrives as it was, in any pieces, and nothing else is taken."""

import pytest
from msgspec import msgpack

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import Condition, ConditionFailed, RequestId, RequestMismatch, Write, Written
from sharedlogkv_replica.engine.peer_wire import (
    FRAME_TARGET_BYTES,
    FrameSplitter,
    Goodbye,
    IndexAnswer,
    IndexQuestion,
    LeadsQuestion,
    Outbox,
    ReportQuestion,
    answer_of,
    decode_answers,
    decode_questions,
    encode_frame,
    frame_limit_bytes,
    question_of,
    result_of,
    write_bound_bytes,
    write_of,
)
from sharedlogkv_replica.errors import (
    Fenced,
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    PeerFault,
    PeerRefused,
    RecordTooLarge,
    ReplicaError,
)

WRITES = [
    Write(b"k", b"value"),
    Write(b"k", b""),
    Write(b"k", None),
    Write(b"k", b"v", Condition(match=frozenset({Offset(1), Offset(1 << 60)}))),
    Write(b"k", b"v", Condition(match=frozenset())),
    Write(b"k", b"v", Condition(none_match=frozenset())),
    Write(b"k", b"v", Condition(none_match=frozenset({Offset(7)})), RequestId("id", "print")),
]


def payloads(data: bytes | bytearray, *, limit_bytes: int = 1 << 22) -> list[memoryview]:
    return list(FrameSplitter(limit_bytes=limit_bytes).split(bytes(data)))


@pytest.mark.parametrize("write", WRITES, ids=repr)
def test_a_write_arrives_as_it_was(write: Write) -> None:
    (payload,) = payloads(encode_frame([question_of(write, timeout_seconds=2.5)]))
    (question,) = decode_questions(payload)
    assert question == question_of(write, timeout_seconds=2.5)
    assert write_of(question_of(write, timeout_seconds=2.5)) == write


@pytest.mark.parametrize("write", WRITES, ids=repr)
def test_the_bound_of_a_write_is_one(write: Write) -> None:
    assert len(msgpack.encode(question_of(write, timeout_seconds=2.5))) <= write_bound_bytes(write)


@pytest.mark.parametrize(
    "result",
    [
        Written(Offset(3)),
        Written(Offset(3), repeated=True),
        ConditionFailed(Offset(4), Offset(8)),
        ConditionFailed(None, Offset(8)),
        RequestMismatch(),
    ],
    ids=repr,
)
def test_a_result_arrives_as_it_was(result: Written | ConditionFailed | RequestMismatch) -> None:
    (payload,) = payloads(encode_frame([answer_of(7, result)]))
    (answer,) = decode_answers(payload)
    assert not isinstance(answer, Goodbye)
    assert answer.number == 7
    assert result_of(answer) == result


@pytest.mark.parametrize("kind", [NoLeader, LogUnavailable, LogRefused, RecordTooLarge, OutcomeUnknown])
def test_an_error_arrives_by_kind_and_words(kind: type[ReplicaError]) -> None:
    error = result_of(answer_of(7, kind("words")))
    assert type(error) is kind
    assert str(error) == "words"


@pytest.mark.parametrize("error", [Fenced("x"), ZeroDivisionError("x")], ids=repr)
def test_an_error_without_a_name_on_the_wire_means_that_the_outcome_is_unknown(error: Exception) -> None:
    assert isinstance(result_of(answer_of(7, error)), OutcomeUnknown)


def test_an_answer_to_another_question_tells_nothing_of_a_write() -> None:
    assert isinstance(result_of(IndexAnswer(7, Offset(1))), OutcomeUnknown)


def test_questions_of_all_kinds_share_a_frame_and_keep_their_order() -> None:
    questions = [
        IndexQuestion(),
        question_of(WRITES[0], timeout_seconds=1),
        LeadsQuestion(Term(3)),
        ReportQuestion(Position(9), fit=True),
    ]
    (payload,) = payloads(encode_frame(questions))
    assert decode_questions(payload) == questions


def test_a_field_that_a_newer_replica_adds_is_ignored() -> None:
    (payload,) = payloads(encode_frame([[3, 17, "new"], [2]]))
    assert decode_questions(payload) == [LeadsQuestion(Term(17)), IndexQuestion()]


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x91", msgpack.encode([[99]]), msgpack.encode({"a": 1}), msgpack.encode([[1, "k"]])]
)
def test_what_is_no_question_is_malformed(payload: bytes) -> None:
    for decode in (decode_questions, decode_answers):
        with pytest.raises(PeerRefused) as caught:
            decode(memoryview(payload))
        assert caught.value.fault is PeerFault.MALFORMED


def test_an_oversize_frame_is_refused_by_its_length_alone() -> None:
    splitter = FrameSplitter(limit_bytes=100)
    with pytest.raises(PeerRefused, match="101 bytes") as caught:
        list(splitter.split(b"\x00\x00\x00\x65"))
    assert caught.value.fault is PeerFault.OVERSIZE


def test_the_limit_may_rise_between_two_frames_of_the_same_bytes() -> None:
    splitter = FrameSplitter(limit_bytes=10)
    found = []
    for payload in splitter.split(bytes(encode_frame(b"ab") + encode_frame(bytes(100)))):
        found.append(len(payload))
        splitter.limit_bytes = 1000
    assert found == [4, 102]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000])
def test_frames_are_found_in_bytes_that_come_in_pieces(size: int) -> None:
    said = [b"", b"a", bytes(500), b"bc" * 700]
    data = b"".join(encode_frame(message) for message in said)
    splitter = FrameSplitter(limit_bytes=10_000)
    found = [
        msgpack.decode(bytes(payload))
        for start in range(0, len(data), size)
        for payload in splitter.split(data[start : start + size])
    ]
    assert found == said


def test_an_outbox_keeps_frames_below_what_a_peer_takes() -> None:
    outbox = Outbox()
    sizes = [1_000] * 600 + [1 << 20] + [10] * 5
    for size in sizes:
        write = Write(bytes(4096), bytes(size))
        outbox.add(question_of(write, timeout_seconds=1), write_bound_bytes(write))
    frames = payloads(outbox.take(), limit_bytes=frame_limit_bytes(1 << 20))
    assert sum(len(decode_questions(frame)) for frame in frames) == len(sizes)
    assert sum(len(frame) > FRAME_TARGET_BYTES for frame in frames) == 1


def test_an_outbox_says_when_it_was_empty() -> None:
    outbox = Outbox()
    assert outbox.add(IndexQuestion())
    assert not outbox.add(IndexQuestion())
    outbox.take()
    assert outbox.add(IndexQuestion())
