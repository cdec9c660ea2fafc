"""An open log file: walking through its frames, and appending to it beside other processes. Blocks; no asyncio here.

Whoever appends holds the file's lock (`flock`), has read the file to its end, and so knows the next offset and the
highest epoch of every producer id: the file itself is the book in which claims are kept. What a crash left of the last
frame is cut off then. Damage in the middle is never cut, since records behind it were acknowledged.
"""

import errno
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
from sharedlogkv_replica.log.file_format import (
    ANYBODY,
    HEADER_BYTES,
    ID_BYTES,
    Flaw,
    Frame,
    decode_frame,
    decode_header,
    encode_frame,
    encode_header,
    frame_bytes,
)

logger = logging.getLogger(__name__)

PRODUCER_ID: Final = 1
"""Of all claims: their epochs are in the file, and do not run out."""

_CHUNK_BYTES: Final = 1 << 18
_LOCK_PAUSE_SECONDS: Final = 0.001
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS, errno.ENOTDIR, errno.ELOOP})


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


def find_log_id(path: Path) -> str | None:
    """The id of the log that is at `path` now; None when nothing is there.

    Raises:
        LogRefused: it is no log, or we may not read it.
        LogUnavailable: the disk does not answer.
    """
    if not path.exists():
        return None
    descriptor, log_id = open_descriptor(path, os.O_RDONLY)
    os.close(descriptor)
    return log_id


def open_descriptor(path: Path, flags: int) -> tuple[int, str]:
    """A descriptor of the log at `path`, and its id.

    Raises:
        LogRefused: there is none, it is no log, or we may not open it.
        LogUnavailable: the disk does not answer.
    """
    with translated(path):
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            log_id = decode_header(os.pread(descriptor, HEADER_BYTES, 0))
            if log_id is None:
                raise LogRefused(f"{path} is no log of SharedLogKV; name another file, or one that does not exist yet")
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor, log_id


def is_at_path(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that bears the name now."""
    there, ours = path.stat(), os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


class FrameCursor:
    """Walks through the frames of an open file, from the first one on.

    Attributes:
        at: where in the file the next frame begins.
    """

    def __init__(self, descriptor: int) -> None:
        self.at = HEADER_BYTES
        self._descriptor = descriptor
        self._data = b""  # of the file, up to some point of the past
        self._index = 0  # of the next frame in it

    def next(self) -> Frame | Flaw | None:
        """The next frame, and steps over it; None at the end of the file; a flaw where there is no frame."""
        if self._index < len(self._data):
            found = decode_frame(self._data, self._index)
            if isinstance(found, Frame):
                return self._step(found)
        wanted_bytes = _CHUNK_BYTES
        while True:
            self._data, self._index = os.pread(self._descriptor, wanted_bytes, self.at), 0
            if not self._data:
                return None
            found = decode_frame(self._data, 0)
            if isinstance(found, Frame):
                return self._step(found)
            if len(self._data) < wanted_bytes:  # this is the end of the file
                return found
            wanted_bytes = max(2 * wanted_bytes, frame_bytes(self._data, 0) + 1 if found is Flaw.INCOMPLETE else 0)

    def _step(self, frame: Frame) -> Frame:
        self.at += frame.size_bytes
        self._index += frame.size_bytes
        return frame


class LogFile:
    """A log file that this process appends to; used by one thread at a time.

    Args:
        path: where it is.
        closing: becomes true when whoever waits for the lock must give up.

    Attributes:
        log_id: the id of the log that was opened.
        end: behind the last whole frame that was seen.
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

    def catch_up(self) -> Position:
        """The log's end: behind every whole frame.

        Raises:
            LogRefused: the file is gone or damaged.
            LogReplaced: another log is there.
            LogUnavailable: the disk does not answer.
        """
        with translated(self._path):
            self._follow_path()
            self._read_to_end()
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
            self._mend(self._read_to_end())
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

    def _write(self, data: bytes) -> None:
        at = self._cursor.at
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], at + written)
        except OSError:
            os.ftruncate(self._descriptor, at)  # no reader takes a frame in part
            raise
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise OutcomeUnknown(f"the disk did not confirm a batch in {self._path}: {error}") from error
        self._read_to_end()

    def _read_to_end(self) -> Flaw | None:
        """Takes note of all whole frames; returns why there is no further one, None at the end of the file."""
        while isinstance(found := self._cursor.next(), Frame):
            self.end = found.position
            name = found.writer
            if name != ANYBODY:
                self._epochs[name.producer_id] = max(name.epoch, self._epochs.get(name.producer_id, 0))
        if found is Flaw.DAMAGED:
            raise LogRefused(damage(self._path, self._cursor.at))
        if os.fstat(self._descriptor).st_size < self._cursor.at:
            raise LogReplaced(f"{self._path} has lost records that it had before")
        return found

    def _mend(self, flaw: Flaw | None) -> None:
        """Cuts off what a crash left of the last frame; only under the lock, or it may be a frame being written."""
        if flaw is not None:
            logger.warning("the log's last batch was torn, and is cut off", extra={"byte": self._cursor.at})
            os.ftruncate(self._descriptor, self._cursor.at)

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        """Holds the lock of the file that bears the name."""
        with translated(self._path):
            while True:
                self._follow_path()
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if self._closing() or time.monotonic() > deadline:
                        raise LogUnavailable(f"somebody else holds the lock of {self._path}") from None
                    time.sleep(_LOCK_PAUSE_SECONDS)
                    continue
                if is_at_path(self._descriptor, self._path):
                    break
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # replaced just then
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

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


def replacement(path: Path, *, was: str, now: str) -> str:
    """What to say of a path that has a log with another id."""
    return f"{path} has the id {now} and had {was}: it was deleted and created anew"


def damage(path: Path, at: int) -> str:
    """What to say of a file that is damaged at byte `at`."""
    return f"{path} is damaged at byte {at}, with more behind it; put a good copy in its place, under the same name"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Tells the system's errors about the file in our words: as `LogRefused` or `LogUnavailable`."""
    try:
        yield
    except FileNotFoundError as error:
        raise LogRefused(f"there is no file {path}") from error
    except OSError as error:
        kind = LogRefused if error.errno in _NOT_OURS else LogUnavailable
        raise kind(f"{path} can't be used: {error.strerror}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
