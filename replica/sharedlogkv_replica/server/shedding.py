"""Turns reads away while they leave too little to the map: a short answer, ready beforehand.

In front of the map's look-up on the short way, and only while there is something to turn away: at all other times a
read costs not one instruction more.
"""

from collections.abc import Callable

from sharedlogkv_replica.core.store import Versioned
from sharedlogkv_replica.engine.read_guard import ReadGuard
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import PLAIN_TARGET, Request, render_head
from sharedlogkv_replica.server.problems import Refused, problem

DETAIL = "the map would fall behind the log by more than maxLagSeconds; retry later, or on another replica"

Get = Callable[[bytes], Versioned | None]


class Shedding:
    """One replica's reads that are turned away."""

    def __init__(self, guard: ReadGuard, *, counters: HttpCounters, clock: CoarseClock) -> None:
        self._guard = guard
        self._counters = counters
        self._clock = clock
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

    def refuse_plain(self, target: bytes) -> bytes | None:
        """The whole answer to a plain GET of `target` if it has just been turned away; None if it was not."""
        if not self._was_shed:
            return None
        self._was_shed = False
        if target.translate(None, PLAIN_TARGET):
            return None  # it may not have been parsed, and is turned away, or not, when it was
        self._counters.shed_reads += 1
        self._counters.count_answer(b"GET", 503)
        response = problem("overloaded", DETAIL)
        request = Request(b"GET", b"")
        return render_head(response, request, date_line=self._clock.date_line, keep_alive=True) + response.body

    def refuse_if_due(self) -> None:
        """Nothing, for a read that is to be answered.

        Raises:
            Refused: it is to be turned away.
        """
        if self._guard.share and self._guard.sheds():
            self._counters.shed_reads += 1
            raise Refused("overloaded", DETAIL)
