"""Keeps reads from starving the map: looks a few times a second, and says how many reads to turn away.

It begins once the map has been near the log's end: a replica that has just replayed is behind by as long as that took,
and turning its first readers away would help nobody.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.core.overload import BEGINS_AT, is_urgent, share_to_shed
from sharedlogkv_replica.engine.follow import Follower

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25


class ReadGuard:
    """Decides on each read while the map is behind.

    Attributes:
        share: the share of reads to turn away now; 0 almost always.
        on_change: called when it becomes 0 or is no longer 0; set by whoever serves.
    """

    def __init__(self, follower: Follower, *, limit_seconds: float) -> None:
        """Guards `follower`'s map, which shall be behind by no more than `limit_seconds`; 0: it guards nothing."""
        self._follower = follower
        self._limit_seconds = limit_seconds
        self._debt = 0.0
        self._is_armed = False
        self.share = 0.0
        self.on_change: Callable[[], None] = lambda: None

    def sheds(self) -> bool:
        """Whether this read is to be turned away: spread evenly, not by chance."""
        self._debt += self.share
        if self._debt < 1:
            return False
        self._debt -= 1
        return True

    async def run(self) -> None:
        """Looks, until cancelled."""
        load, looked, waited = self._follower.load, time.monotonic(), 0.0
        while self._limit_seconds > 0:
            await asyncio.sleep(LOOK_SECONDS)
            now, waited_before, waited = time.monotonic(), waited, load.fetch_wait_seconds
            self.look(waiting_share=(waited - waited_before) / (now - looked))
            looked = now

    def look(self, *, waiting_share: float) -> None:
        """Looks at the lag; for `waiting_share` of the time since the last look no record was at hand."""
        follower, limit = self._follower, self._limit_seconds
        lag_seconds = follower.lag_seconds(time.time_ns() // 1_000_000)
        if not follower.standing.ready:
            self._is_armed = False
        elif lag_seconds < limit * BEGINS_AT:
            self._is_armed = True
        follower.is_urgent = is_urgent(lag_seconds, limit)
        share = share_to_shed(lag_seconds, limit, waiting_share=waiting_share) if self._is_armed else 0.0
        before, self.share = self.share, share
        if bool(before) != bool(share):
            extra = {"lag_seconds": round(lag_seconds, 1), "limit_seconds": limit}
            logger.warning("reads are turned away" if share else "all reads are taken again", extra=extra)
            self.on_change()
