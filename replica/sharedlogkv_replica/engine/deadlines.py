"""What must have ended by a deadline, each its own; one timer for all.

Deadlines mostly rise in order of arrival, and then nothing is ever sorted. What comes with an earlier one is put where
it belongs when the timer next looks.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    """What has a deadline; compared by identity."""

    @property
    def deadline(self) -> float:
        """By the loop's clock, in seconds; never changes."""
        ...


T = TypeVar("T", bound=Due)


class Deadlines(Generic[T]):
    """The open ones; for use on one event loop.

    Args:
        on_late: is told of each whose deadline has come, in order of these; it is not open any more.
    """

    def __init__(self, on_late: Callable[[T], object]) -> None:
        self._on_late = on_late
        self._open: dict[T, None] = {}
        self._newest = float("-inf")  # the latest deadline so far
        self._is_sorted = True
        self._timer: asyncio.Handle | None = None
        self._due = 0.0  # when the timer looks; uvloop's can't be asked where that is past already

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, item: T) -> bool:
        return item in self._open

    def __iter__(self) -> Iterator[T]:
        return iter(self._open)

    def add(self, item: T) -> None:
        """Opens `item`."""
        self._open[item] = None
        deadline = item.deadline
        if deadline >= self._newest:
            self._newest = deadline
        else:
            self._is_sorted = False
        if self._timer is None or self._due > deadline:
            self.stop()
            self._look_at(deadline)

    def discard(self, item: T) -> None:
        """Ends `item`, unless that has happened already."""
        self._open.pop(item, None)

    def stop(self) -> None:
        """Tells nobody any more, until something is added."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, late, self._timer = loop.time(), [], None
        if not self._is_sorted:
            self._open = dict.fromkeys(sorted(self._open, key=lambda item: item.deadline))
            self._is_sorted = True
        for item in self._open:
            if item.deadline > now:
                self._look_at(item.deadline)
                break
            late.append(item)
        for item in late:
            if item in self._open:  # else somebody who was told has ended it
                self.discard(item)
                self._on_late(item)
