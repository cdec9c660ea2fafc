"""Which requests were carried out already: what makes a client's repetition of one harmless.

Filled from the stamps in the log, so every replica knows the same, and a new leader knows all that its predecessors
carried out. A request is remembered for at least the window, in which the log keeps its stamp as well
(`min.compaction.lag.ms`), counted by the log's own clock, so that a new replica knows as much as an old one.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.leadership import Stamp
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import RequestId

REQUESTS_MOST: Final = 1_000_000
"""Requests remembered at most, about 300 MB; a leader refuses further ones with an id until old ones have gone."""

SLACK_MS: Final = 60_000
"""How much longer a request is remembered: a leader notes its own before the log has told it the time."""


@dataclass(frozen=True, slots=True)
class Known:
    """A request that was carried out: what it wrote, and what it was."""

    offset: Offset
    fingerprint: str


class RequestWindow:
    """The requests of the last `window_ms` of the log.

    Attributes:
        window_ms: for how long a request is remembered, by the log's clock.
    """

    def __init__(self, *, most: int = REQUESTS_MOST) -> None:
        self.window_ms = 0.0
        self._most = most
        self._known: dict[str, Known] = {}
        self._by_age: deque[tuple[int, str, Offset]] = deque()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def is_full(self) -> bool:
        """Whether one more request could not be remembered for the whole window."""
        return len(self._known) >= self._most

    def note(self, offset: Offset, stamp: Stamp, *, timestamp_ms: int) -> None:
        """Remembers the requests of the stamp at `offset`, which the log took at about `timestamp_ms`."""
        for request in stamp.requests:
            written = Offset(offset + 1 + request.index)
            self._known[request.id] = Known(written, request.fingerprint)
            self._by_age.append((timestamp_ms, request.id, written))
        self._forget_before(timestamp_ms - self.window_ms - SLACK_MS)

    def find(self, request: RequestId) -> Known | None:
        """What was carried out under this request's id."""
        return self._known.get(request.id)

    def clear(self) -> None:
        """Forgets all: the log is another one."""
        self._known.clear()
        self._by_age.clear()

    def _forget_before(self, oldest_ms: float) -> None:
        by_age = self._by_age
        while by_age and by_age[0][0] < oldest_ms:
            _, request_id, offset = by_age.popleft()
            known = self._known.get(request_id)
            if known is not None and known.offset == offset:  # not written anew since
                del self._known[request_id]
