"""Reads that wait for the map to reach an offset.

A heap by offset, so that applying a batch touches only the waiters that it releases: a hundred thousand reads waiting
for a later offset cost the others nothing.
"""

import asyncio
import heapq
import itertools
from typing import Any

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.errors import ReplicaError, WaitTimeout

_REBUILD_FROM = 1024  # below this many waiters the dead ones cost less than a rebuild


def fail(future: "asyncio.Future[Any]", error: ReplicaError) -> None:
    """Ends `future` with `error` unless it has ended; without asyncio's complaint if its caller is gone by then."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen


class Waiters:
    """Futures by the offset that they wait for; for use on one event loop."""

    __slots__ = ("_dead", "_heap", "_order", "_position")

    def __init__(self) -> None:
        self._heap: list[tuple[Offset, int, asyncio.Future[None]]] = []
        self._order = itertools.count()  # a tie-breaker: futures don't compare
        self._dead = 0
        self._position = Position(0)

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    @property
    def heap_size(self) -> int:
        """Entries held, those that ended early included; bounded by twice the waiters, or `_REBUILD_FROM`."""
        return len(self._heap)

    async def wait(self, offset: Offset, *, timeout_seconds: float) -> None:
        """Returns once the record at `offset` is applied.

        Raises:
            WaitTimeout: it was not, within `timeout_seconds`.
            ReplicaError: what `fail_all` was given.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._heap, (offset, next(self._order), future))
        timer = loop.call_later(timeout_seconds, self._expire, future, offset, timeout_seconds)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():  # else it was released in the same turn, and has left the heap
                self._bury()
            raise
        finally:
            timer.cancel()

    def _expire(self, future: asyncio.Future[None], offset: Offset, timeout_seconds: float) -> None:
        if future.done():
            return
        error = WaitTimeout(
            f"offset {offset} was not applied within {timeout_seconds:g} s (the map is at position "
            f"{self._position}); retry, or read with consistency=eventual"
        )
        fail(future, error)
        self._bury()

    def _bury(self) -> None:
        """Counts a dead entry: a client may hold a token that this log never reaches, and those must not pile up."""
        self._dead += 1
        if len(self._heap) > _REBUILD_FROM and self._dead > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if not entry[2].done()]
            heapq.heapify(self._heap)
            self._dead = 0

    def release(self, position: Position) -> None:
        """Wakes every waiter whose offset is below `position`."""
        self._position = position
        heap = self._heap
        while heap and heap[0][0] < position:
            future = heapq.heappop(heap)[2]
            if future.done():
                self._dead -= 1
            else:
                future.set_result(None)

    def fail_all(self, error: ReplicaError) -> None:
        """Ends every wait with `error`: the map that they waited on is gone."""
        for _, _, future in self._heap:
            fail(future, error)
        self._heap.clear()
        self._dead = 0
