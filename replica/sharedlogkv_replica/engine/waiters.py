"""Reads that wait for the map to reach an offset.

A waiting read is one future with a deadline, and no task. A heap by offset holds those that know what they wait for, so
that applying a batch touches only the reads that it releases: a hundred thousand that wait for a later offset cost the
others nothing. And those that it releases are released a few at a time, so that the others get their turns in between.
"""

import asyncio
import functools
import heapq
import itertools
from typing import Any, Final

from sharedlogkv_replica.core.records import START, Offset, Position
from sharedlogkv_replica.engine.promise import Promise
from sharedlogkv_replica.errors import ReplicaError, WaitTimeout

RELEASED_AT_ONCE: Final = 100
"""Reads released in one turn of the loop: to answer them takes it one or two milliseconds."""

_REBUILD_FROM: Final = 1024  # below this many waiters the dead ones cost less than a rebuild


def fail(future: "asyncio.Future[Any] | Promise[Any]", error: BaseException) -> None:
    """Ends `future` with `error` unless it has ended; without asyncio's complaint if its caller is gone by then."""
    if not future.done():
        future.set_exception(error)
        if isinstance(future, asyncio.Future):
            future.exception()  # marks it as seen


class Waiters:
    """Waiting reads, as futures; for use on one event loop. Whoever gives up cancels the future."""

    __slots__ = ("_heap", "_order", "_position", "_releasing", "_waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[Offset, int, asyncio.Future[None]]] = []
        self._order = itertools.count()  # a tie-breaker: futures don't compare
        self._waiting = 0
        self._position = START
        self._releasing = False

    def __len__(self) -> int:
        return self._waiting

    @property
    def heap_size(self) -> int:
        """Entries held, those that ended early included; bounded by twice the waiters, or `_REBUILD_FROM`."""
        return len(self._heap)

    def begin(self, *, timeout_seconds: float) -> "asyncio.Future[None]":
        """A read that waits, and does not know yet for which offset: `join` tells it.

        The future's errors:
            WaitTimeout: not within `timeout_seconds`.
            ReplicaError: what `fail_all` was given.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(timeout_seconds, self._expire, future, timeout_seconds)
        self._waiting += 1
        future.add_done_callback(functools.partial(self._end, timer))
        return future

    def join(self, future: "asyncio.Future[None]", offset: Offset) -> None:
        """Has a read that `begin` gave wait for the record at `offset`; ends it if that is applied already."""
        if future.done():
            return
        if offset < self._position:
            future.set_result(None)
        else:
            heapq.heappush(self._heap, (offset, next(self._order), future))

    def wait(self, offset: Offset, *, timeout_seconds: float) -> "asyncio.Future[None]":
        """A read that waits for the record at `offset`; its errors are those of `begin`."""
        future = self.begin(timeout_seconds=timeout_seconds)
        self.join(future, offset)
        return future

    def _expire(self, future: "asyncio.Future[None]", timeout_seconds: float) -> None:
        error = WaitTimeout(
            f"the map, at position {self._position}, did not get as far as this read needs within "
            f"{timeout_seconds:g} s; retry, or read with consistency=eventual"
        )
        fail(future, error)

    def _end(self, timer: asyncio.TimerHandle, future: "asyncio.Future[None]") -> None:
        """Forgets a read that has ended, however it has, and the dead entries of the heap when they are the most of it.

        A client may hold a token that this log never reaches, and those must not pile up.
        """
        del future
        timer.cancel()
        self._waiting -= 1
        if len(self._heap) > max(_REBUILD_FROM, 2 * self._waiting):
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)

    def release(self, position: Position) -> None:
        """Ends the wait of every read whose offset is below `position`: some now, the others in the next turns."""
        self._position = position
        if not self._releasing:
            self._release_some()

    def _release_some(self) -> None:
        heap = self._heap
        released = 0
        while heap and heap[0][0] < self._position and released < RELEASED_AT_ONCE:
            future = heapq.heappop(heap)[2]
            if not future.done():
                future.set_result(None)
                released += 1
        self._releasing = released == RELEASED_AT_ONCE
        if self._releasing:
            asyncio.get_running_loop().call_soon(self._release_some)

    def fail_all(self, error: ReplicaError) -> None:
        """Ends the wait of every read that knows its offset with `error`: the map that it waited on is gone."""
        self._position = START
        for _, _, future in self._heap:
            fail(future, error)
        self._heap.clear()
