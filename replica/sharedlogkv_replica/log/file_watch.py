"""Tells when a file changes, by the kernel's word (inotify): no cost while nothing happens, and no delay when it does.

Source: inotify(7).
"""

import asyncio
import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

from sharedlogkv_replica.errors import LogUnavailable

_MODIFY: Final = 0x002
_ATTRIBUTES: Final = 0x004  # also the count of names: the file was deleted, or another one put in its place
_MOVED: Final = 0x800
_EVENTS_BYTES: Final = 4096


class FileWatch:
    """Watches the file at a path. Used within one event loop; `close` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = asyncio.Event()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        asyncio.get_running_loop().add_reader(self._descriptor, self._drain)

    def begin(self) -> None:
        """From now on, changes of the file that bears the name end the next `wait`.

        Raises:
            LogUnavailable: it can't be watched.
        """
        self._changed.clear()
        mask = _MODIFY | _ATTRIBUTES | _MOVED
        self._check(self._libc.inotify_add_watch(self._descriptor, os.fsencode(self._path), mask))

    def wake(self) -> None:
        """Has whoever waits look again."""
        self._changed.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Returns after a change since the last `begin`, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()

    def close(self) -> None:
        """Watches no more."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._descriptor, _EVENTS_BYTES):
                pass
        self._changed.set()

    def _check(self, result: int) -> int:
        if result < 0:
            problem = os.strerror(ctypes.get_errno())
            raise LogUnavailable(
                f"{self._path} can't be watched: {problem}; fs.inotify.max_user_instances may be too low"
            )
        return result
