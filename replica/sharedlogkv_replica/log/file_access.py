"""A log file as anybody may open it: what it is, how far it may be read, and its frames one after the other.

Nothing behind the synced end is shown to a reader: it may be gone after a loss of power. Blocks only as long as the
page cache does.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sharedlogkv_replica.errors import LogRefused, LogUnavailable
from sharedlogkv_replica.log.file_format import (
    HEADER_BYTES,
    Flaw,
    Frame,
    decode_frame,
    decode_header,
    decode_synced_end,
    frame_bytes,
)

CHUNK_BYTES: Final = 1 << 18
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR, errno.EROFS, errno.ENOTDIR, errno.ELOOP})
_LOOKS: Final = 100
"""At a synced end that is being written just then, which takes no longer than a few bytes do."""


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


def synced_end(descriptor: int) -> int:
    """The byte up to which the open file is on the disk, as far as it tells; all of it may be read."""
    for _ in range(_LOOKS):
        end = decode_synced_end(os.pread(descriptor, HEADER_BYTES, 0))
        if end is not None:
            return end
    return HEADER_BYTES


class FrameCursor:
    """Walks through the frames of an open file.

    Args:
        descriptor: of the file.
        at: where in it a frame begins.

    Attributes:
        at: where in the file the next frame begins.
    """

    def __init__(self, descriptor: int, *, at: int = HEADER_BYTES) -> None:
        self.at = at
        self._descriptor = descriptor
        self._data = b""  # of the file, up to some end that was given
        self._index = 0  # of the next frame in it

    def next(self, end: int) -> Frame | Flaw | None:
        """The next frame, and steps over it; None where it would begin at byte `end`; a flaw where there is no frame.

        Nothing from `end` on is looked at: it may still be changed.
        """
        if self.at >= end:
            return None
        if self._index < len(self._data):
            found = decode_frame(self._data, self._index)
            if isinstance(found, Frame):
                return self._step(found)
        wanted_bytes = CHUNK_BYTES
        while True:
            allowed_bytes = min(wanted_bytes, end - self.at)
            self._data, self._index = os.pread(self._descriptor, allowed_bytes, self.at), 0
            found = decode_frame(self._data, 0)
            if isinstance(found, Frame):
                return self._step(found)
            if found is Flaw.BROKEN or len(self._data) < wanted_bytes:
                return found
            wanted_bytes = max(2 * wanted_bytes, frame_bytes(self._data, 0))

    def _step(self, frame: Frame) -> Frame:
        self.at += frame.size_bytes
        self._index += frame.size_bytes
        return frame


def loss(path: Path) -> str:
    """What to say of a file that ends before the records that it had end."""
    return f"{path} has lost records that it had before; put a good copy in its place, under the same name"


def replacement(path: Path, *, was: str, now: str) -> str:
    """What to say of a path that has a log with another id."""
    return f"{path} has the id {now} and had {was}: it was deleted and created anew"


def damage(path: Path, at: int) -> str:
    """What to say of a file that is damaged at byte `at`."""
    return f"{path} is damaged at byte {at}; put a good copy in its place, under the same name"


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
