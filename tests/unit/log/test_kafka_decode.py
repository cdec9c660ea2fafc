"""From the client's messages to records and a position: every kind of message moves reading on, or ends it."""

import pytest
from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import Position
from sharedlogkv_replica.errors import LogRefused, LogTruncated, ReplicaError
from sharedlogkv_replica.log.kafka_decode import decode


def record(offset: int, key: bytes | None = b"k", value: bytes | None = b"v", timestamp_ms: int = 1000) -> Message:
    return Message(topic="t", partition=0, offset=offset, key=key, value=value, timestamp=(2, timestamp_ms + offset))


def event(code: int, offset: int = 0) -> Message:
    return Message(topic="t", partition=0, offset=offset, value=b"text", error=KafkaError(code, "text"))


def test_records_become_tuples_and_the_position_is_behind_the_last() -> None:
    decoded = decode([record(5), record(9, b"", None), record(12, None, b"")], Position(3))
    assert decoded.batch.records == [(5, b"k", b"v"), (9, b"", None), (12, None, b"")]
    assert decoded.batch.position == 13
    assert decoded.batch.timestamp_ms == 1012


def test_the_end_of_the_partition_moves_the_position_over_what_readers_never_see() -> None:
    decoded = decode([record(5), event(KafkaError._PARTITION_EOF, 8)], Position(5))
    assert (decoded.batch.position, decoded.batch.timestamp_ms) == (8, 1005)
    decoded = decode([event(KafkaError._PARTITION_EOF, 8)], Position(8))
    assert (decoded.batch.position, decoded.batch.records, decoded.batch.timestamp_ms) == (8, [], 0)


def test_records_behind_an_end_that_was_passed_are_read() -> None:
    decoded = decode([event(KafkaError._PARTITION_EOF, 5), record(5), record(6)], Position(5))
    assert [offset for offset, _, _ in decoded.batch.records] == [5, 6]
    assert decoded.batch.position == 7


@pytest.mark.parametrize("reported", [4, 6, 6_052_837_906_199_484_527])
def test_one_undecodable_offset_is_named_and_stepped_over_wherever_it_is_reported(reported: int) -> None:
    decoded = decode([record(5), event(KafkaError._BAD_MSG, reported)], Position(5))
    assert decoded.batch.records == [(5, b"k", b"v")]
    assert decoded.batch.position == 7
    assert decoded.undecodable == "6: text"
    assert decoded.failure is None


def test_what_comes_behind_an_undecodable_record_is_left_to_be_read_again() -> None:
    messages = [event(KafkaError._BAD_MSG, 5), record(8), event(KafkaError._PARTITION_EOF, 9)]
    decoded = decode(messages, Position(5))
    assert (decoded.batch.position, decoded.batch.records) == (6, [])


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (KafkaError._AUTO_OFFSET_RESET, LogTruncated),
        (KafkaError.OFFSET_OUT_OF_RANGE, LogTruncated),
        (KafkaError._LOG_TRUNCATION, LogTruncated),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, LogRefused),
        (KafkaError._UNKNOWN_TOPIC, LogRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, LogRefused),
    ],
)
def test_what_ends_reading_ends_it_behind_the_records_before_it(code: int, failure: type[ReplicaError]) -> None:
    decoded = decode([record(5), event(code, 6)], Position(5))
    assert isinstance(decoded.failure, failure)
    assert [offset for offset, _, _ in decoded.batch.records] == [5]


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, 12345])
def test_what_the_client_gets_over_by_itself_is_only_noted(code: int) -> None:
    decoded = decode([event(code)], Position(5))
    assert (decoded.failure, decoded.errors, decoded.batch.position) == (None, ["text"], 5)


def test_what_brokers_say_about_the_group_is_of_no_interest() -> None:
    decoded = decode([event(KafkaError.GROUP_AUTHORIZATION_FAILED)], Position(5))
    assert (decoded.failure, decoded.errors, decoded.batch.position) == (None, [], 5)


MESSAGES = st.lists(
    st.sampled_from(
        [None, KafkaError._PARTITION_EOF, KafkaError._BAD_MSG, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN]
    ).flatmap(lambda code: st.tuples(st.just(code), st.integers(min_value=0, max_value=3))),
    min_size=1,
)


@given(MESSAGES)
def test_the_position_passes_every_record_that_was_read_and_none_that_was_not(
    steps: list[tuple[int | None, int]],
) -> None:
    offset = 10
    messages = []
    readable = []
    for code, gap in steps:
        offset += gap
        messages.append(record(offset) if code is None else event(code, offset))
        if code is None:
            readable.append(offset)
            offset += 1
    decoded = decode(messages, Position(10))
    read = [offset for offset, _, _ in decoded.batch.records]
    left_out = [] if decoded.undecodable is None else [decoded.batch.position - 1]
    assert decoded.batch.position >= 10
    assert read == [offset for offset in readable if offset < decoded.batch.position and offset not in left_out]
