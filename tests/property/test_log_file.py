"""The bytes of a log file: what was written is read back, and what was damaged is never taken for a record."""

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, LogRecord, Position
from sharedlogkv_replica.log.file_format import (
    HEADER_BYTES,
    ID_BYTES,
    SYNCED_END_AT,
    Frame,
    decode_frame,
    decode_header,
    decode_records,
    decode_synced_end,
    encode_frame,
    encode_header,
)

BATCH = st.tuples(
    st.lists(st.builds(Entry, st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=4),
    st.integers(0, 2),
    st.builds(Writer, st.integers(0, 2**63), st.integers(0, 2**31)),
)


def encode(batches: list[tuple[list[Entry], int, Writer]]) -> tuple[bytes, list[LogRecord]]:
    """A file of these batches, each with a gap behind it, and the records in it."""
    data = encode_header(bytes(range(ID_BYTES)))
    records: list[LogRecord] = []
    position = 7
    for entries, gap, writer in batches:
        data += encode_frame(
            entries, first=Position(position), timestamp_ms=position, writer=writer, offsets=len(entries) + gap
        )
        records += [(position + index, entry.key, entry.value) for index, entry in enumerate(entries)]  # type: ignore[misc]
        position += len(entries) + gap
    return data, records


def decode(data: bytes) -> list[LogRecord]:
    """The records of all whole frames from the beginning."""
    records: list[LogRecord] = []
    at = HEADER_BYTES
    while isinstance(found := decode_frame(data, at), Frame):
        records += decode_records(found)
        at += found.size_bytes
    return records


@given(st.lists(BATCH, max_size=5))
def test_what_was_written_is_read_back(batches: list[tuple[list[Entry], int, Writer]]) -> None:
    data, records = encode(batches)
    assert decode_header(data) == f"file-{bytes(range(ID_BYTES)).hex()}"
    assert decode(data) == records
    at = HEADER_BYTES
    for entries, gap, writer in batches:
        frame = decode_frame(data, at)
        assert isinstance(frame, Frame)
        assert (frame.writer, frame.position - frame.first) == (writer, len(entries) + gap)
        at += frame.size_bytes


@given(st.lists(BATCH, min_size=1, max_size=5), st.data())
def test_a_file_cut_anywhere_is_a_log_of_its_first_batches(
    batches: list[tuple[list[Entry], int, Writer]], data: st.DataObject
) -> None:
    whole, records = encode(batches)
    found = decode(whole[: data.draw(st.integers(HEADER_BYTES, len(whole)))])
    assert found == records[: len(found)]


@given(st.lists(BATCH, min_size=1, max_size=5), st.data(), st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(
    batches: list[tuple[list[Entry], int, Writer]], data: st.DataObject, change: int
) -> None:
    whole, records = encode(batches)
    damaged = bytearray(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged[at] ^= change
    found = decode(bytes(damaged))
    if at < HEADER_BYTES:
        assert (decode_header if at < SYNCED_END_AT else decode_synced_end)(bytes(damaged)) is None
    else:
        assert found == records[: len(found)]
        sizes = [len(encode([batch])[0]) - HEADER_BYTES for batch in batches]
        whole_batches = sum(1 for index in range(len(sizes)) if HEADER_BYTES + sum(sizes[: index + 1]) <= at)
        assert len(found) == sum(len(entries) for entries, _, _ in batches[:whole_batches])
