"""The requests of one connection that came in whole and wait for their turn."""

import collections

from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Request
from sharedlogkv_replica.server.limits import Limits


class Backlog:
    """In order of arrival. Their bodies count as held while they wait."""

    __slots__ = ("_bytes", "_counters", "_limits", "_requests")

    def __init__(self, limits: Limits, counters: HttpCounters) -> None:
        self._limits = limits
        self._counters = counters
        self._requests: collections.deque[Request] = collections.deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def oldest(self) -> Request:
        """The one that came first; there must be one."""
        return self._requests[0]

    @property
    def newest(self) -> Request:
        """The one that came last; there must be one."""
        return self._requests[-1]

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more should be read."""
        return len(self._requests) >= self._limits.pipelined_requests or self._bytes > self._limits.pipelined_bytes

    def push(self, request: Request) -> None:
        """Has `request` wait behind the others; also when it is full, as what was read can't be unread."""
        self._requests.append(request)
        self._count(len(request.body))

    def pop(self) -> Request:
        """Takes out the one that came first; there must be one."""
        request = self._requests.popleft()
        self._count(-len(request.body))
        return request

    def clear(self) -> None:
        """Forgets all."""
        self._requests.clear()
        self._count(-self._bytes)

    def _count(self, size: int) -> None:
        self._bytes += size
        self._counters.held_body_bytes += size
