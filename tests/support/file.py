"""The `LogSite` of a log in a file: what is foreign to such a log is put into the file by hand."""

import asyncio
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sharedlogkv_replica.core.records import Entry, Offset, Position
from sharedlogkv_replica.log.base import SharedLog
from sharedlogkv_replica.log.file import FileLog
from sharedlogkv_replica.log.file_format import (
    HEADER_BYTES,
    ID_BYTES,
    SYNCED_END_AT,
    Frame,
    decode_frame,
    decode_records,
    encode_frame,
    encode_header,
    encode_synced_end,
)

LIMIT_BYTES = 2 << 20


def frames_of(data: bytes) -> list[Frame]:
    """The whole frames of a log file."""
    frames: list[Frame] = []
    at = HEADER_BYTES
    while isinstance(found := decode_frame(data, at), Frame):
        frames.append(found)
        at += found.size_bytes
    return frames


class FileSite:
    """A log file in a directory of its own; made within the test's event loop."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "test.log"
        self._limit_bytes = LIMIT_BYTES
        self._handles: list[FileLog] = []
        self._put()

    def handle(self, *, expected_id: str | None = None) -> SharedLog:
        log = FileLog(self.path, expected_id=expected_id, batch_limit_bytes=self._limit_bytes)
        self._handles.append(log)
        return log

    async def produce(self, entries: Sequence[Entry]) -> None:
        self._append(entries, offsets=len(entries))

    async def transact(self, entries: Sequence[Entry], *, commit: bool) -> None:
        self._append(entries if commit else [], offsets=len(entries) + 1)

    async def delete_before(self, position: Position) -> None:
        with self._locked() as descriptor:
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            frames = frames_of(data)
            kept = b"".join(_kept(frames, position))
            self._replace(data[:SYNCED_END_AT] + encode_synced_end(HEADER_BYTES + len(kept)) + kept)

    async def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    async def recreate(self, *, batch_limit_bytes: int | None = None) -> None:
        if batch_limit_bytes is not None:
            self._limit_bytes = batch_limit_bytes
        self._put()

    async def close(self) -> None:
        """Closes all handles."""
        await asyncio.gather(*(log.close() for log in self._handles))

    def _put(self) -> None:
        self._replace(encode_header(secrets.token_bytes(ID_BYTES)))

    def _replace(self, data: bytes) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_bytes(data)
        draft.rename(self.path)

    def _append(self, entries: Sequence[Entry], *, offsets: int) -> None:
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            frames = frames_of(os.pread(descriptor, size, 0))
            first = frames[-1].position if frames else Position(0)
            frame = encode_frame(entries, first=first, timestamp_ms=1, offsets=offsets)
            os.pwrite(descriptor, frame, size)
            os.pwrite(descriptor, encode_synced_end(size + len(frame)), SYNCED_END_AT)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _kept(frames: Sequence[Frame], position: Position) -> Iterable[bytes]:
    """The frames of a log that begins at `position`, where it once had all these frames."""
    for frame in frames:
        if frame.position > position or frame is frames[-1]:
            first = max(Offset(position), frame.first)
            entries = [Entry(key or b"", value) for offset, key, value in decode_records(frame) if offset >= first]
            yield encode_frame(
                entries,
                first=Position(first),
                timestamp_ms=frame.timestamp_ms,
                writer=frame.writer,
                offsets=frame.position - first,
            )
