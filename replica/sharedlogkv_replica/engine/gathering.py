"""Whether a leader's next batch waits a moment, so that it is a whole one.

Most clients send their next write when the last one is answered. So those of the last batch are about to write again
when it ends, and others came meanwhile: without a wait the two would take turns for ever, with two half batches in
the place of one. PostgreSQL has `commit_delay` and `commit_siblings` for this. Here the last batch tells how many to
wait for, and for how long at most: a millisecond, and one more for every 64 of them, which is about what it takes to
hear them all; but no longer than it was itself on its way, so that no write's time is more than doubled. One that did
not get those it waited for expects fewer.
"""

import asyncio
from types import TracebackType
from typing import Final

_SECONDS: Final = 0.001
_WRITES_A_MOMENT: Final = 64
_WRITES_MOST: Final = 480
"""No batch waits for more than these, which is nearly as many as one may have."""


class Gathering:
    """Counts; `with` it, the one that appends waits.

    Args:
        wake: is awaited by the one that appends; whoever has other work for it sets it.
    """

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._expected = 0
        self._awaited = 0
        self._seconds = _SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def note_batch(self, writes: int, *, queued: int, seconds: float) -> None:
        """Takes in that a batch of so many writes is about to be answered, while `queued` wait for the next one.

        `seconds` is how long it was on its way.
        """
        self._expected = min((writes + queued) * 15 // 16, _WRITES_MOST) if writes > 1 else 0
        self._seconds = max(_SECONDS, min(seconds, _SECONDS * (1 + self._expected // _WRITES_A_MOMENT)))

    def lacks(self, queued: int) -> bool:
        """Whether more than those that wait are likely to come at once."""
        return queued < self._expected

    def note_arrival(self, queued: int) -> None:
        """Takes in that a write came, and `queued` wait now: wakes whoever waits for no more."""
        if queued >= self._awaited:
            self._wake.set()

    def __enter__(self) -> None:
        """From now on `wake` is set when those expected have come, when a moment is over, or by whoever else may."""
        self._awaited, self._expected = self._expected, 0
        self._wake.clear()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._wake.set)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._awaited = 0
