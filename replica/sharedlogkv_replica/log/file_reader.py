"""Reads a log file from some position on up to its synced end, while others append to it.

Blocks only as long as the page cache does.
"""

import os
from pathlib import Path
from typing import Final

from sharedlogkv_replica.core.records import START, Batch, LogRecord, Position
from sharedlogkv_replica.errors import LogRefused, LogTruncated
from sharedlogkv_replica.log.file_access import (
    FrameCursor,
    damage,
    is_at_path,
    loss,
    open_descriptor,
    replacement,
    synced_end,
    translated,
)
from sharedlogkv_replica.log.file_format import Frame, decode_records

_BATCH_RECORDS: Final = 500


class FileReader:
    """One reading; used within one event loop. `close` it.

    Args:
        path: where the log is.
        start: the position to begin with; `START` means wherever the log begins.
        log_id: the id that the log must have.
    """

    def __init__(self, path: Path, *, start: Position, log_id: str) -> None:
        self._path = path
        self._log_id = log_id
        self._position = start
        self._open()

    def _open(self) -> None:
        self._descriptor, log_id = open_descriptor(self._path, os.O_RDONLY)
        self._cursor = FrameCursor(self._descriptor)
        self._file_end: Position | None = None  # behind the last frame that was stepped over
        if log_id != self._log_id:
            raise LogTruncated(replacement(self._path, was=self._log_id, now=log_id))

    def close(self) -> None:
        """Releases the file."""
        os.close(self._descriptor)

    def next(self) -> Batch | None:
        """The next batch; None when there is nothing yet.

        Raises:
            LogTruncated: the log does not have the position, or it is another log.
            LogRefused: the file is gone or damaged.
            LogUnavailable: the disk does not answer.
        """
        with translated(self._path):
            batch = self._next_here()
            if batch is None and self._has_moved():
                batch = self._next_here()
        return batch

    def _next_here(self) -> Batch | None:
        records: list[LogRecord] = []
        timestamp_ms = 0
        before, end_bytes = self._position, synced_end(self._descriptor)
        while len(records) < _BATCH_RECORDS and isinstance(found := self._cursor.next(end_bytes), Frame):
            fresh = self._take(found)
            if fresh:
                records += fresh
                timestamp_ms = found.timestamp_ms
        if self._position > before:
            return Batch(records, self._position, timestamp_ms)
        if os.fstat(self._descriptor).st_size < end_bytes or end_bytes < self._cursor.at:
            raise LogTruncated(loss(self._path))
        if found is not None:
            raise LogRefused(damage(self._path, self._cursor.at))
        end = self._file_end or START
        if self._position > end:
            raise LogTruncated(f"{self._path} ends at {end}, and no longer has position {self._position}")
        return None

    def _take(self, frame: Frame) -> list[LogRecord]:
        """What of a frame is still to be read."""
        if self._file_end is None and START < self._position < frame.first:
            raise LogTruncated(f"{self._path} begins at {frame.first}, and no longer has position {self._position}")
        self._file_end = frame.position
        if frame.position <= self._position:
            return []
        records = decode_records(frame)
        if frame.first < self._position:
            records = [record for record in records if record[0] >= self._position]
        self._position = frame.position
        return records

    def _has_moved(self) -> bool:
        """Whether another copy of the log bears the name now; goes over to it."""
        if is_at_path(self._descriptor, self._path):
            return False
        os.close(self._descriptor)
        self._open()
        return True
