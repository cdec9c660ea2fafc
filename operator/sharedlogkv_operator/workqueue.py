"""The queue between what happens and the workers that reconcile it; the semantics are those of client-go's work queue.

States of a key: idle, waiting, running, running and dirty (something happened meanwhile).

| state           | add               | get      | done    |
|-----------------|-------------------|----------|---------|
| idle            | waiting           | -        | -       |
| waiting         | waiting           | running  | -       |
| running         | running and dirty | -        | idle    |
| running, dirty  | running and dirty | -        | waiting |

Invariants:
1. A key is never handed to two workers at a time.
2. What happens to a key after its reconcile began is followed by another reconcile: nothing is lost.
3. Of several delayed adds of a key the earliest holds.
4. News goes first: a key that was added because something happened is handed out before those whose time has come, so
   that resources which are only looked at again and again delay no change. Of each kind, in the order of the adds; and
   after so many of the first kind in a row, one of the second, so that none waits for ever.

Source: k8s.io/client-go/util/workqueue, "queue.go", "delaying_queue.go", "default_rate_limiters.go". Written anew.
All methods are called from one event loop, whose clock is used.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

NEWS_IN_A_ROW: Final = 8
BACKOFF_FACTOR: Final = 2.0
JITTER: Final = 0.3


class QueueStopped(Exception):
    """The queue was stopped: the worker that waited for a key ends."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failing key is put off: `base_seconds` doubled with each failure, to `limit_seconds` at most."""

    base_seconds: float
    limit_seconds: float

    def delay_seconds(self, failures: int, *, chance: float) -> float:
        """The delay after that many failures in a row (1 or more); `chance`, 0 to 1, spreads it by up to 30 % less."""
        exponent = min(failures - 1, 60)  # a float overflows far beyond
        delay = min(self.base_seconds * BACKOFF_FACTOR**exponent, self.limit_seconds)
        return delay * (1 - JITTER * chance)


class WorkQueue:
    """Keys to be reconciled, each by one worker at a time."""

    def __init__(
        self,
        *,
        backoff: Backoff,
        chance: Callable[[], float],
        on_add: Callable[[], None] = lambda: None,
        on_retry: Callable[[], None] = lambda: None,
    ) -> None:
        """An empty queue.

        Args:
            backoff: how long failing keys are put off.
            chance: draws a number from 0 to 1.
            on_add: called whenever a key begins to wait, for counting.
            on_retry: called whenever a key is put off with a back-off.
        """
        self._backoff = backoff
        self._chance = chance
        self._clock = asyncio.get_running_loop().time
        # Since when; a dict keeps the order of insertion. A key is in one of them at most.
        self._news: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._news_in_a_row = 0
        self._running: dict[str, float] = {}  # since when
        self._dirty: dict[str, None] = {}
        self._delayed: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._takers: list[asyncio.Future[None]] = []
        self._is_stopped = False
        self._on_add = on_add
        self._on_retry = on_retry

    def add(self, key: str) -> None:
        """Has the key reconciled as soon as a worker is free. Without effect once stopped."""
        if self._is_stopped or key in self._news:
            return
        if key in self._running:
            self._dirty[key] = None
        elif key in self._due:
            self._news[key] = self._due.pop(key)
        else:
            self._news[key] = self._clock()
            self._on_add()
            self._wake_one()

    def add_after(self, key: str, delay_seconds: float) -> None:
        """Adds the key after a while, unless it is to be added earlier anyhow."""
        if self._is_stopped:
            return
        moment = self._clock() + delay_seconds
        earlier = self._delayed.get(key)
        if earlier is not None:
            if earlier.when() <= moment:
                return
            earlier.cancel()
        loop = asyncio.get_running_loop()
        self._delayed[key] = loop.call_at(moment, self._add_delayed, key)

    def add_backed_off(self, key: str) -> None:
        """Adds the key after its back-off, which grows with each call until `forget`."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        self._on_retry()
        self.add_after(key, self._backoff.delay_seconds(failures, chance=self._chance()))

    def forget(self, key: str) -> None:
        """Ends the key's back-off: it succeeded, or is gone."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key, which then counts as running until `done`.

        A cancelled call takes no key.

        Raises:
            QueueStopped: there will be no further key.
        """
        while not self._news and not self._due:
            if self._is_stopped:
                raise QueueStopped
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._wake_one()  # the call was for us; hand it on
                raise
            finally:
                if taker in self._takers:
                    self._takers.remove(taker)
        if self._is_stopped:
            raise QueueStopped
        takes_news = self._news and (not self._due or self._news_in_a_row < NEWS_IN_A_ROW)
        self._news_in_a_row = self._news_in_a_row + 1 if takes_news else 0
        lane = self._news if takes_news else self._due
        key = next(iter(lane))
        del lane[key]
        self._running[key] = self._clock()
        return key

    def done(self, key: str) -> None:
        """Ends the key's reconcile; it is added again if something happened meanwhile."""
        del self._running[key]
        if key in self._dirty:
            del self._dirty[key]
            self.add(key)

    def stop(self) -> None:
        """Hands out no further key; what is running may go on to its `done`."""
        self._is_stopped = True
        self._news.clear()
        self._due.clear()
        self._dirty.clear()
        for timer in self._delayed.values():
            timer.cancel()
        self._delayed.clear()
        takers, self._takers = self._takers, []
        for taker in takers:
            if not taker.done():
                taker.set_result(None)

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._news) + len(self._due)

    @property
    def oldest_wait_seconds(self) -> float:
        """How long the key that waits longest has waited; 0 when none does."""
        return max(self._age(self._news), self._age(self._due))

    @property
    def longest_run_seconds(self) -> float:
        """How long the longest reconcile under way has run; 0 when none does."""
        return self._age(self._running)

    def _add_delayed(self, key: str) -> None:
        del self._delayed[key]
        if key in self._running:
            self._dirty[key] = None
        elif key not in self._news and key not in self._due:
            self._due[key] = self._clock()
            self._on_add()
            self._wake_one()

    def _wake_one(self) -> None:
        while self._takers:
            taker = self._takers.pop(0)
            if not taker.done():
                taker.set_result(None)
                return

    def _age(self, moments: dict[str, float]) -> float:
        return self._clock() - min(moments.values()) if moments else 0.0
