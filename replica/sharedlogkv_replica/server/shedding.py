"""Turns reads away while they leave too little to the map: a short answer, ready beforehand.

In front of the map's look-up on the short way, and only while there is something to turn away: at all other times a
read costs not one instruction more.
"""

from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.core.records import Position
from sharedlogkv_replica.core.store import Versioned
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import PLAIN_TARGET, Request, render_head
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.state_lines import problem_lines

DETAIL = "the map would fall behind the log by more than maxLagSeconds; retry later, or on another replica"
_PLAIN_GET: Final = Request(b"GET", b"")

Get = Callable[[bytes], Versioned | None]


class Shedding:
    """One replica's reads that are turned away."""

    def __init__(self, replica: Replica, *, counters: HttpCounters, clock: CoarseClock) -> None:
        self._replica = replica
        self._guard = replica.guard
        self._counters = counters
        self._clock = clock
        self._refusal = problem("overloaded", DETAIL)
        self._answer = b""  # to reads without a token, while position and clock are these:
        self._made_for: tuple[Position, float] | None = None
        self._was_shed = False  # the look-up that has just found nothing was one to be turned away

    def wrap(self, get: Get) -> Get:
        """`get` at most times; while reads are turned away, one that finds nothing for those."""
        if not self._guard.share:
            return get

        def get_or_shed(key: bytes) -> Versioned | None:
            found = get(key)
            if found is not None and self._guard.sheds():
                self._was_shed = True
                return None
            return found

        return get_or_shed

    def refuse_plain(self, target: bytes, token: bytes | None) -> bytes | None:
        """The whole answer to a plain GET of `target` if it has just been turned away; None if it was not."""
        if not self._was_shed:
            return None
        self._was_shed = False
        if target.translate(None, PLAIN_TARGET):
            return None  # it may not have been parsed, and is turned away, or not, when it was
        self._counters.shed_reads += 1
        self._counters.count_answer(b"GET", 503)
        if token is not None:
            return self._render(token)
        made_for = self._replica.position, self._clock.now
        if self._made_for != made_for:
            self._made_for, self._answer = made_for, self._render(None)
        return self._answer

    def _render(self, token: bytes | None) -> bytes:
        refusal = self._refusal
        refusal.state = problem_lines(self._replica, token)
        return render_head(refusal, _PLAIN_GET, date_line=self._clock.date_line, keep_alive=True) + refusal.body

    def refuse_if_due(self) -> None:
        """Nothing, for a read that is to be answered.

        Raises:
            Refused: it is to be turned away.
        """
        if self._guard.share and self._guard.sheds():
            self._counters.shed_reads += 1
            raise Refused("overloaded", DETAIL)
