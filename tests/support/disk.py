"""A disk that may lose its power: what is on it of one file, at any moment, as a matter of luck.

Stands in for the module `os` where a file is written, does what it does, and keeps a journal. Whatever was written
since the last successful sync may be there or not, each sector for itself; also the cuts. What was under way when a
sync failed stays so for ever: the system takes it for written.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

SECTOR_BYTES: Final = 64
"""Smaller than those of a real disk, so that a small frame has many."""


class Killed(BaseException):
    """The process died at this place; no code of it runs any more, and the system closes its files."""


@dataclass(frozen=True, slots=True)
class _Write:
    """Bytes of one sector."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Cut:
    size: int


@dataclass(frozen=True, slots=True)
class _Sync:
    confirmed: bool


class Disk:
    """One file on a disk. See the module.

    Args:
        image: what is on the disk at first.

    Attributes:
        fails: the next sync fails.
        dies_in: the process dies instead of its so-manieth next call; None: it lives on.
        watch: called before each of its calls.
    """

    def __init__(self, image: bytes) -> None:
        self._image = image
        self._journal: list[_Write | _Cut | _Sync] = []
        self.fails = False
        self.dies_in: int | None = None
        self.watch: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @property
    def moment(self) -> int:
        """Grows with whatever happens."""
        return len(self._journal)

    # ---- os ----

    def pwrite(self, descriptor: int, data: bytes, at: int) -> int:
        self._live()
        written = os.pwrite(descriptor, data, at)
        begin = 0
        while begin < written:
            end = min(written, begin + SECTOR_BYTES - (at + begin) % SECTOR_BYTES)
            self._journal.append(_Write(at + begin, data[begin:end]))
            begin = end
        return written

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._live()
        os.ftruncate(descriptor, size)
        self._journal.append(_Cut(size))

    def fdatasync(self, _descriptor: int) -> None:
        self._live()
        fails, self.fails = self.fails, False
        self._journal.append(_Sync(not fails))
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _live(self) -> None:
        self.watch()
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.dies_in = None
                raise Killed

    # ---- after a loss of power ----

    def image(self, moment: int, luck: Random) -> bytes:
        """What is on the disk when the power was lost at `moment`."""
        happened = self._journal[:moment]
        data = bytearray(self._image)
        for index, what in enumerate(happened):
            if isinstance(what, _Sync) or not (_confirmed(happened[index:]) or luck.random() < 0.5):
                continue
            if isinstance(what, _Cut):
                del data[what.size :]
                continue
            data.extend(bytes(max(0, what.at - len(data))))
            data[what.at : what.at + len(what.data)] = what.data
        return bytes(data)


def _confirmed(later: list[_Write | _Cut | _Sync]) -> bool:
    """Whether the first sync was a success; where it failed, no later one says anything of what was before."""
    return next((what.confirmed for what in later if isinstance(what, _Sync)), False)
