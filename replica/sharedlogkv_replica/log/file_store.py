"""An open log file that is appended to, beside other processes. Blocks; no asyncio here.

Whoever appends holds the file's lock (`flock`), has read the file to its end, and so knows the next offset and the
highest epoch of every producer id: the file itself is the book in which claims are kept.

An append, in order: under the lock the frame is written, then the disk confirms it (`fdatasync`), then the synced end
in the file's header is moved behind it, then the lock is released. Readers go up to the synced end, so nobody acts upon
what a loss of power could take back. The synced end itself gets onto the disk with the next frame, or when the system
sees fit. So what lies behind it, when somebody comes to hold the lock, is one of these, and is settled at once:

| what | from | is |
|---|---|---|
| a whole frame, acknowledged | a loss of power that took the last synced end | published, once confirmed by the disk |
| a whole frame, not acknowledged | a crash between writing and publishing | the same: its outcome is unknown |
| anything else | a crash while it was written | cut off |

Below the synced end nothing is ever cut off: what is no frame there is damage.
"""

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, Offset, Position
from sharedlogkv_replica.errors import Fenced, LogRefused, LogReplaced, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.file_access import (
    CHUNK_BYTES,
    FrameCursor,
    damage,
    is_at_path,
    loss,
    open_descriptor,
    replacement,
    synced_end,
    translated,
)
from sharedlogkv_replica.log.file_format import (
    ANYBODY,
    ID_BYTES,
    SYNCED_END_AT,
    Frame,
    encode_frame,
    encode_header,
    encode_synced_end,
)

logger = logging.getLogger(__name__)

PRODUCER_ID: Final = 1
"""Of all claims: their epochs are in the file, and do not run out."""

_LOCK_PAUSE_SECONDS: Final = 0.001


def create_log(path: Path) -> None:
    """Makes an empty log at `path` unless there is something; when several do at once, one log is made.

    Raises:
        LogRefused: we may not.
        LogUnavailable: the disk does not let us.
    """
    if path.exists():
        return
    if not path.parent.is_dir():
        raise LogRefused(f"there is no directory {path.parent} for the log")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with translated(path):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, encode_header(secrets.token_bytes(ID_BYTES)))
            os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.close(descriptor)
            draft.unlink()
        _sync_names(path.parent)


def _sync_names(directory: Path) -> None:
    """Has the disk confirm the names in a directory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LogFile:
    """A log file that this process appends to; used by one thread at a time.

    Args:
        path: where it is.
        closing: becomes true when whoever waits for the lock must give up.

    Attributes:
        log_id: the id of the log that was opened.
        end: behind the last published frame that was seen.
    """

    def __init__(self, path: Path, *, closing: Callable[[], bool]) -> None:
        self._path = path
        self._closing = closing
        self._descriptor, self.log_id = open_descriptor(path, os.O_RDWR)
        self._start_over()

    def _start_over(self) -> None:
        self._cursor = FrameCursor(self._descriptor)
        self._epochs: dict[int, int] = {}  # the highest one by producer id
        self.end = Position(0)

    def close(self) -> None:
        """Releases the file; whoever holds its lock through this object loses it."""
        os.close(self._descriptor)

    def settle(self, deadline: float) -> None:
        """Returns once all that is in the file now is published, or cut off: it may be what a crash has left.

        Args:
            deadline: by `time.monotonic`, for the lock, which is needed unless somebody else settles it.

        Raises:
            LogRefused: the file is gone, damaged or not ours to write.
            LogReplaced: another log is there.
            LogUnavailable: the lock was not free in time, or the disk does not answer.
        """
        with translated(self._path):
            published, size = synced_end(self._descriptor), os.fstat(self._descriptor).st_size
            if size < published:
                raise LogRefused(loss(self._path))
            while synced_end(self._descriptor) < size:
                if self._try_lock():
                    try:
                        self._mend()
                    finally:
                        self._unlock()
                    return
                self._wait_for_lock(deadline)

    def catch_up(self) -> Position:
        """The log's end: behind every published frame.

        Raises:
            LogRefused: the file is gone or damaged.
            LogReplaced: another log is there.
            LogUnavailable: the disk does not answer.
        """
        with translated(self._path):
            self._follow_path()
            self._read_to(synced_end(self._descriptor))
        return self.end

    def take_epoch(self) -> Writer:
        """The name for the next claim: the epoch above all that are in the file. Raises as `catch_up`."""
        self.catch_up()
        return Writer(PRODUCER_ID, self._epochs.get(PRODUCER_ID, 0) + 1)

    def append(
        self,
        entries: Sequence[Entry],
        *,
        writer: Writer,
        claims: bool,
        deadline: float,
        begin: Callable[[], bool],
    ) -> Offset:
        """Appends one batch, and returns its first offset once it is on the disk.

        Args:
            entries: its records.
            writer: in whose name; `ANYBODY` needs no claim.
            claims: whether it is a claim, of which the epoch must not be in the file yet.
            deadline: by `time.monotonic`, for the lock.
            begin: asked right before anything is written; false gives up.

        Raises:
            Fenced: a later claim is in the file, or for a claim one of the same epoch.
            LogUnavailable: nothing was written: the lock was not free in time, or the disk is full.
            LogRefused: nothing was written: the file is gone, damaged or not ours to write.
            LogReplaced: nothing was written: another log is there.
            OutcomeUnknown: it may have been written.
        """
        with self._locked(deadline), translated(self._path):
            self._mend()
            self._check_epoch(writer, claims=claims)
            if not begin():
                raise LogUnavailable(f"the batch was given up before it was written to {self._path}")
            first = self.end
            self._write(encode_frame(entries, first=first, timestamp_ms=_now_ms(), writer=writer))
        return Offset(first)

    def _check_epoch(self, writer: Writer, *, claims: bool) -> None:
        newest = self._epochs.get(writer.producer_id, 0)
        if writer.epoch < newest or (claims and writer.epoch == newest):
            raise Fenced(f"{self._path} has a claim of epoch {newest}, and refuses epoch {writer.epoch}")

    def _write(self, frame: bytes) -> None:
        at = self._cursor.at
        try:
            self._write_all(frame, at)
        except OSError:
            os.ftruncate(self._descriptor, at)
            raise
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, at)  # or the next one publishes what the disk did not take
            raise OutcomeUnknown(f"the disk did not confirm a batch in {self._path}: {error}") from error
        try:
            self._publish(at + len(frame))
        except OSError as error:
            raise OutcomeUnknown(f"a batch in {self._path} could not be published: {error}") from error
        self._read_to(at + len(frame))

    def _write_all(self, data: bytes, at: int) -> None:
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], at + written)

    def _publish(self, end: int) -> None:
        """Lets everybody read up to byte `end`, which the disk has confirmed; readers are woken by it."""
        self._write_all(encode_synced_end(end), SYNCED_END_AT)

    def _read_to(self, end: int) -> None:
        """Takes note of all frames before byte `end`, up to which the file is published."""
        size = os.fstat(self._descriptor).st_size
        if size < end or end < self._cursor.at:
            raise LogReplaced(loss(self._path))
        while isinstance(found := self._cursor.next(end), Frame):
            self.end = found.position
            name = found.writer
            if name != ANYBODY:
                self._epochs[name.producer_id] = max(name.epoch, self._epochs.get(name.producer_id, 0))
        if found is not None:
            raise LogRefused(damage(self._path, self._cursor.at))

    def _mend(self) -> None:
        """Publishes or cuts off what is behind the synced end; only under the lock, or it may be being written."""
        self._read_to(synced_end(self._descriptor))
        begin, size = self._cursor.at, os.fstat(self._descriptor).st_size
        if size == begin:
            return
        left = FrameCursor(self._descriptor, at=begin)
        while isinstance(left.next(size), Frame):
            pass
        if left.at < size:
            logger.warning("the log's last batch was torn, and is cut off", extra={"byte": left.at})
            os.ftruncate(self._descriptor, left.at)
        for at in range(begin, left.at, CHUNK_BYTES):
            # Written anew: what a disk has once refused, the kernel takes for written, and would confirm.
            self._write_all(os.pread(self._descriptor, min(CHUNK_BYTES, left.at - at), at), at)
        os.fdatasync(self._descriptor)  # also of the cut, or what was cut off might come back behind a later frame
        self._publish(left.at)
        self._read_to(left.at)

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        """Holds the lock of the file that bears the name."""
        with translated(self._path):
            while not self._try_lock():
                self._wait_for_lock(deadline)
        try:
            yield
        finally:
            self._unlock()

    def _try_lock(self) -> bool:
        self._follow_path()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if is_at_path(self._descriptor, self._path):
            return True
        self._unlock()  # replaced just then
        return False

    def _unlock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _wait_for_lock(self, deadline: float) -> None:
        if self._closing() or time.monotonic() > deadline:
            raise LogUnavailable(f"somebody else holds the lock of {self._path}")
        time.sleep(_LOCK_PAUSE_SECONDS)

    def _follow_path(self) -> None:
        """Goes over to the file that bears the name now, if that is another copy of the same log."""
        if is_at_path(self._descriptor, self._path):
            return
        descriptor, log_id = open_descriptor(self._path, os.O_RDWR)
        if log_id != self.log_id:
            os.close(descriptor)
            raise LogReplaced(replacement(self._path, was=self.log_id, now=log_id))
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._start_over()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
