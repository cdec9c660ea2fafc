"""A log file as bytes: a header with the log's id, then one frame for each batch. Pure; all numbers are big-endian.

| header | bytes | |
|---|---|---|
| magic | 8 | `SLKVLOG1` |
| id | 16 | drawn when the file was made |
| checksum | 4 | CRC-32 of the above |
| synced end | 8 | the byte up to which the file is on the disk, and may be read; it only grows |
| its checksum | 4 | CRC-32 |

| frame | bytes | |
|---|---|---|
| length | 4 | of the body |
| body checksum | 4 | CRC-32 |
| first offset | 8 | of the batch; that of the first frame is where the log begins |
| offsets | 4 | how many the batch takes; as many as it has records, or more |
| timestamp | 8 | when it was appended, in ms since the epoch |
| producer id, epoch | 8, 4 | of a fenced writer; 0 and 0 of any other |
| head checksum | 4 | CRC-32 of the above |
| body | length | for each record: key length (4), value length (4; 2³²-1: no value), key, value |

The head has a checksum of its own, so that a length can be trusted. Where there is no frame below the synced end, the
file is damaged; above it, something is being written, or was torn by a crash.
"""

import enum
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, LogRecord, Offset, Position

_MAGIC: Final = b"SLKVLOG1"
_HEADER: Final = struct.Struct(">8s16s")
_HEAD: Final = struct.Struct(">IIQIQQI")
_CHECKSUM: Final = struct.Struct(">I")
_SYNCED_END: Final = struct.Struct(">Q")
_LENGTHS: Final = struct.Struct(">II")
_NO_VALUE: Final = 0xFFFF_FFFF

ID_BYTES: Final = 16
SYNCED_END_AT: Final = _HEADER.size + _CHECKSUM.size
HEADER_BYTES: Final = SYNCED_END_AT + _SYNCED_END.size + _CHECKSUM.size
HEAD_BYTES: Final = _HEAD.size + _CHECKSUM.size

ANYBODY: Final = Writer(producer_id=0, epoch=0)
"""In whose name a batch is appended that needs no claim."""


class Flaw(enum.Enum):
    """Why there is no frame at some place."""

    INCOMPLETE = "the bytes end before the frame does"
    BROKEN = "what is there is no frame"


@dataclass(frozen=True, slots=True)
class Frame:
    """One batch, of which the records are not decoded yet.

    Attributes:
        first: its first offset.
        position: the offset behind its last one.
        timestamp_ms: when it was appended.
        writer: in whose name.
        body: the encoded records.
        size_bytes: of the whole frame.
    """

    first: Offset
    position: Position
    timestamp_ms: int
    writer: Writer
    body: bytes
    size_bytes: int


def encode_header(log_id: bytes, *, synced_end: int = HEADER_BYTES) -> bytes:
    """The header of a log with this id (`ID_BYTES` bytes), which is on the disk up to byte `synced_end`."""
    header = _HEADER.pack(_MAGIC, log_id)
    return header + _CHECKSUM.pack(zlib.crc32(header)) + encode_synced_end(synced_end)


def decode_header(data: bytes) -> str | None:
    """The log's id, fit for a token; None where `data` does not begin with a header."""
    if len(data) < HEADER_BYTES or zlib.crc32(data[: _HEADER.size]) != _CHECKSUM.unpack_from(data, _HEADER.size)[0]:
        return None
    magic, log_id = _HEADER.unpack_from(data)
    return f"file-{log_id.hex()}" if magic == _MAGIC else None


def encode_synced_end(at: int) -> bytes:
    """What stands at `SYNCED_END_AT` in a file that is on the disk up to byte `at`."""
    end = _SYNCED_END.pack(at)
    return end + _CHECKSUM.pack(zlib.crc32(end))


def decode_synced_end(data: bytes) -> int | None:
    """The byte up to which a file is on the disk, by its header; None where that is being written just now."""
    end = data[SYNCED_END_AT : SYNCED_END_AT + _SYNCED_END.size]
    if len(data) < HEADER_BYTES or zlib.crc32(end) != _CHECKSUM.unpack_from(data, HEADER_BYTES - _CHECKSUM.size)[0]:
        return None
    return int(_SYNCED_END.unpack(end)[0])


def encode_frame(
    entries: Sequence[Entry],
    *,
    first: Position,
    timestamp_ms: int,
    writer: Writer = ANYBODY,
    offsets: int | None = None,
) -> bytes:
    """The frame of a batch at `first`, which takes as many offsets as it has entries unless `offsets` says more."""
    parts: list[bytes] = []
    for entry in entries:
        value = entry.value
        parts.append(_LENGTHS.pack(len(entry.key), _NO_VALUE if value is None else len(value)))
        parts.append(entry.key)
        if value is not None:
            parts.append(value)
    body = b"".join(parts)
    head = _HEAD.pack(
        len(body),
        zlib.crc32(body),
        first,
        len(entries) if offsets is None else offsets,
        timestamp_ms,
        writer.producer_id,
        writer.epoch,
    )
    return head + _CHECKSUM.pack(zlib.crc32(head)) + body


def decode_frame(data: bytes, at: int) -> Frame | Flaw:
    """The frame that begins at index `at` of `data`, or why there is none."""
    body_at = at + HEAD_BYTES
    if len(data) < body_at:
        return Flaw.INCOMPLETE
    length, checksum, first, offsets, timestamp_ms, producer_id, epoch = _HEAD.unpack_from(data, at)
    if zlib.crc32(data[at : at + _HEAD.size]) != _CHECKSUM.unpack_from(data, at + _HEAD.size)[0]:
        return Flaw.BROKEN
    end = body_at + length
    if len(data) < end:
        return Flaw.INCOMPLETE
    body = data[body_at:end]
    if zlib.crc32(body) != checksum:
        return Flaw.BROKEN
    position = Position(first + offsets)
    return Frame(Offset(first), position, timestamp_ms, Writer(producer_id, epoch), body, end - at)


def frame_bytes(data: bytes, at: int) -> int:
    """How large the frame at index `at` is, as far as is known: at least its head."""
    if len(data) < at + HEAD_BYTES:
        return HEAD_BYTES
    return HEAD_BYTES + int(_HEAD.unpack_from(data, at)[0])


def decode_records(frame: Frame) -> list[LogRecord]:
    """The records of a frame."""
    body = frame.body
    records: list[LogRecord] = []
    at, offset = 0, int(frame.first)
    while at < len(body):
        key_bytes, value_bytes = _LENGTHS.unpack_from(body, at)
        at += _LENGTHS.size
        key = body[at : at + key_bytes]
        at += key_bytes
        value = None
        if value_bytes != _NO_VALUE:
            value = body[at : at + value_bytes]
            at += value_bytes
        records.append((Offset(offset), key, value))
        offset += 1
    return records
