"""Writes that wait for a batch: in order, bounded in number and bytes, each with a deadline.

Overload is answered, not queued: what does not fit is refused at once, what waited too long is told that nothing was
written. One timer serves the whole queue, since deadlines rise along it.
"""

import asyncio
import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sharedlogkv_replica.engine.promise import Promise
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import LogUnavailable, ReplicaError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of a queue.

    Attributes:
        timeout_seconds: from a write's arrival to its answer, whatever it is.
        records: writes that wait, at most.
        size_bytes: their sizes summed, at most.
    """

    timeout_seconds: float
    records: int = 20_000
    size_bytes: int = 64 << 20


class Pending(Generic[T]):
    """One write that waits.

    Attributes:
        item: what to write.
        future: ends with its answer.
        deadline: when it must have one, by the loop's clock.
        size: its bytes in a batch, at most.
    """

    __slots__ = ("deadline", "future", "item", "size")

    def __init__(self, item: T, future: "asyncio.Future[Any] | Promise[Any]", deadline: float, size: int) -> None:
        self.item = item
        self.future = future
        self.deadline = deadline
        self.size = size


class WriteQueue(Generic[T]):
    """The queue of one writer.

    Args:
        limits: its bounds.
        on_expired: is told of each write that left the queue because its deadline came.
    """

    def __init__(self, limits: QueueLimits, *, on_expired: Callable[[Pending[T]], None]) -> None:
        self._limits = limits
        self._on_expired = on_expired
        self._queue: collections.deque[Pending[T]] = collections.deque()
        self._size_bytes = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # kept: to ask for the running one is a system call

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def next_size(self) -> int:
        """The size of the first write; only when there is one."""
        return self._queue[0].size

    def find_problem(self, size: int) -> ReplicaError | None:
        """Why one more write of `size` bytes has no room; None when it has."""
        limits = self._limits
        if len(self._queue) >= limits.records or self._size_bytes + size > limits.size_bytes:
            return LogUnavailable(f"{len(self._queue)} writes ({self._size_bytes} bytes) already wait for the log")
        return None

    def put(self, item: T, future: "asyncio.Future[Any] | Promise[Any]", *, size: int) -> None:
        """Appends a write; its deadline counts from now."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        timeout_seconds = self._limits.timeout_seconds
        self._queue.append(Pending(item, future, loop.time() + timeout_seconds, size))
        self._size_bytes += size
        if self._expiry is None:
            self._expiry = loop.call_later(timeout_seconds, self._expire)

    def pop(self) -> Pending[T]:
        """Removes the first write, which must be there; its caller may have given up meanwhile (`future.done()`)."""
        pending = self._queue.popleft()
        self._size_bytes -= pending.size
        return pending

    def drain(self) -> Iterator[Pending[T]]:
        """Removes all that still waits, in order, and forgets the timer."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        while self._queue:
            yield self.pop()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queue and self._queue[0].deadline <= now:
            pending = self.pop()
            self._on_expired(pending)
            waited = self._limits.timeout_seconds
            fail(pending.future, LogUnavailable(f"the log took no write for {waited:g} s; nothing was written"))
        self._expiry = loop.call_at(self._queue[0].deadline, self._expire) if self._queue else None
