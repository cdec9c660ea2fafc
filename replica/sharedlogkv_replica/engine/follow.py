"""Following: the log's batches into the store, from the beginning, for ever.

One life of the follower, again and again:

    open the log -> replay to the end seen at start -> Ready -> follow, while a watch asks where the log ends and
    whether it is still the same log.

What ends a life, and what becomes of the map:

| event | map | then |
|---|---|---|
| the log can't be reached | kept; reads are served | the reader waits, and goes on where it was |
| another log id under the name (`LogReplaced`) | dropped | NotReady until the pinned log is back |
| a position that the log no longer has (`LogTruncated`) | dropped | replay from the beginning |
| refused by the log (`LogRefused`) | kept, if it was served | NotReady before the end of a replay; asked again |
| cut off, or replaying, for longer than tombstones stay | dropped | replay from the beginning |

The last rule: compaction drops a deletion once it is older than `delete.retention.ms`, so a reader that was away for
longer may never see it, and would serve the deleted key for ever (Kafka, "Log Compaction").
"""

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Sequence
from operator import itemgetter
from typing import Final

from sharedlogkv_replica.core.lag import Freshness, LagMeter
from sharedlogkv_replica.core.modes import Reason, Standing
from sharedlogkv_replica.core.records import Batch, Entry, LogRecord, Offset, Position, records_from
from sharedlogkv_replica.core.store import Store
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.engine.load import LoadMeter
from sharedlogkv_replica.engine.replay import Replay, no_garbage_collection
from sharedlogkv_replica.engine.waiters import Waiters
from sharedlogkv_replica.errors import (
    LogRefused,
    LogReplaced,
    LogTruncated,
    LogUnavailable,
    ReplicaError,
)
from sharedlogkv_replica.log.base import LogDescription, SharedLog

logger = logging.getLogger(__name__)

WATCH_SECONDS: Final = 1.0
"""How often the log is asked for its end and its id. A replaced log goes unnoticed for this long, and the time of the
answer; a new log that is shorter than the map is noticed by the first write as well (engine/commit.py)."""

LOG_ERRORS_REASONS: Final[dict[type[ReplicaError], Reason]] = {
    LogUnavailable: Reason.LOG_UNAVAILABLE,
    LogReplaced: Reason.LOG_REPLACED,
    LogTruncated: Reason.LOG_TRUNCATED,
    LogRefused: Reason.LOG_REFUSED,
}
LOG_ERRORS: Final = tuple(LOG_ERRORS_REASONS)
"""What ends a life; any other exception is a bug, and ends the process."""

PROGRESS_SECONDS: Final = 5.0
URGENT_BATCHES: Final = 8
"""So many batches go before reads when the map is behind; one does when it is not."""
FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 10.0


class Follower:
    """Keeps a store at the log's end.

    Attributes:
        store: the map.
        lag: how far it is behind.
        freshness: as of when it was complete.
        replay: the progress of the last replay; None before the first.
        identity: the log followed; None before it is known.
        standing: whether the map may be read.
        waiters: reads that wait for an offset.
        records: records applied since the start.
        lives: how often following began.
        load: what the work costs.
        is_urgent: the map is so far behind that records at hand go before reads; set by `engine.read_guard`.
        ticked_at: the monotonic clock when the follower last showed that it turns, in seconds; for liveness.
    """

    def __init__(self, log: SharedLog, *, on_open: Callable[[LogDescription], None] = lambda _: None) -> None:
        """A follower of `log`: of the one with the id first seen, and no other that may take its name later."""
        self._log = log
        self._on_open = on_open
        self._on_applied: Callable[[Batch, Sequence[LogRecord]], None] = lambda _batch, _reserved: None
        self._on_lost: Callable[[], None] = lambda: None
        self._pinned_id: str | None = None
        self.store = Store()
        self.waiters = Waiters()
        self.lag = LagMeter()
        self.freshness = Freshness()
        self.replay: Replay | None = None
        self.identity: LogIdentity | None = None
        self.standing = Standing(False, Reason.STARTING, "the log is not open yet")
        self.records = 0
        self.lives = 0
        self.load = LoadMeter()
        self.is_urgent = False
        self.ticked_at = time.monotonic()
        self._out_of_reach_since: float | None = None
        self._indexing: asyncio.Task[None] | None = None  # kept: the loop itself keeps no task alive

    def watch_leadership(
        self, *, on_applied: Callable[[Batch, Sequence[LogRecord]], None], on_lost: Callable[[], None]
    ) -> None:
        """Tells somebody more, from now on; before `run`.

        Args:
            on_applied: is told of each batch once it is in the map, and which of its records have keys of our own.
            on_lost: is told that the map was given up.
        """
        self._on_applied = on_applied
        self._on_lost = on_lost

    @property
    def position(self) -> Position:
        """The next offset to read; everything below it is in the map."""
        return self.lag.position

    @property
    def out_of_reach_seconds(self) -> float:
        """How long the log has not answered; 0 while it does."""
        return 0.0 if self._out_of_reach_since is None else time.monotonic() - self._out_of_reach_since

    def lag_seconds(self, now_ms: int) -> float:
        """The lag in seconds at `now_ms` (since the epoch); while the log does not answer, what it may have become."""
        silent = self._out_of_reach_since is not None and self.standing.ready
        return self.lag.silence_seconds(now_ms) if silent else self.lag.lag_seconds(now_ms)

    async def run(self) -> None:
        """Lives again and again, until cancelled. Ends by itself only with a bug's exception."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            self.ticked_at = time.monotonic()
            await self._live()
            if self.replay is not None and self.replay.seconds is not None:
                backoff = FIRST_BACKOFF_SECONDS  # it had been serving
            self.replay = None
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    async def _live(self) -> None:
        """One life: ends when the log can't be followed any further, after standing back from the map."""
        try:
            description = await self._log.open()
            self._check_id(description.identity.log_id)
        except LOG_ERRORS as error:
            self._stand_back(error)
            return
        self.identity = description.identity
        self._on_open(description)
        self.lives += 1
        watch = asyncio.create_task(self._watch(description), name="log-watch")
        follow = asyncio.create_task(self._follow(description), name="log-follow")
        try:
            done, _ = await asyncio.wait({watch, follow}, return_when=asyncio.FIRST_COMPLETED)
            failures = [task.exception() for task in done]
            for failure in failures:
                if isinstance(failure, LOG_ERRORS):  # at once: to close a reader may take a while
                    self._stand_back(failure)
        finally:
            for task in (watch, follow):
                task.cancel()
            await asyncio.gather(watch, follow, return_exceptions=True)
        for failure in failures:
            if failure is not None and not isinstance(failure, LOG_ERRORS):
                raise failure

    def _stand_back(self, error: ReplicaError) -> None:
        """Serves nothing from now on: what the map holds may no longer be what the log says."""
        reason = LOG_ERRORS_REASONS[type(error)]
        logger.warning("following ended", extra={"reason": reason.value, "detail": str(error)})
        self.standing = Standing(False, reason, str(error))
        self.store.clear()
        self.lag = LagMeter()
        self.freshness = Freshness()
        self._on_lost()
        self.waiters.fail_all(type(error)(*error.args))

    def _check_id(self, log_id: str | None) -> None:
        """Pins the first id seen.

        Raises:
            LogReplaced: the log that bears the name is not the pinned one.
        """
        if log_id is None:
            raise LogReplaced(f"the log {self._pinned_id} is gone; nothing is served until it is back")
        if self._pinned_id is None:
            self._pinned_id = log_id
        elif self._pinned_id != log_id:
            raise LogReplaced(
                f"the log has the id {log_id}, and {self._pinned_id} is the one to follow: it was deleted and created "
                "anew; nothing is served from it"
            )

    async def _follow(self, description: LogDescription) -> None:
        self.lag = LagMeter()
        target = await self._log.end()
        self.lag.observe_end(target, asked_at_ms=0)
        self.replay = Replay(target, time.monotonic())
        self.standing = Standing(False, Reason.REPLAYING, f"the log is replayed up to offset {target}")
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                async with contextlib.aclosing(self._log.read(self.position)) as batches:
                    if self.replay.seconds is None:
                        await self._replay(batches, self.replay, description)
                    self.load.wait_for_batch()
                    in_a_row = 0
                    async for batch in batches:
                        self.load.end_wait()
                        self._apply_unless_known(batch)
                        backoff = FIRST_BACKOFF_SECONDS
                        in_a_row += 1
                        if not self.is_urgent or in_a_row >= URGENT_BATCHES:
                            in_a_row = 0
                            await asyncio.sleep(0)  # reads get their turn between two batches
                        self.load.wait_for_batch()
                raise LogUnavailable("the log ended the reading")
            except (LogRefused, LogUnavailable) as error:
                if self.replay.seconds is None:
                    raise
                # A revoked right or a broken reader must not cost the reads: the map is still a prefix of the log, its
                # lag shows, and the watch ends this life if the log is replaced.
                self._note_out_of_reach(error)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    async def _replay(self, batches: AsyncGenerator[Batch, None], replay: Replay, description: LogDescription) -> None:
        told = replay.started
        logger.info("replay begins", extra={"log": description.identity.log_id, "target": replay.target})
        with no_garbage_collection():
            while self.position < replay.target:
                batch = await anext(batches, None)
                if batch is None:
                    raise LogUnavailable("the log ended the reading")
                self._apply(batch)
                replay.records += len(batch.records)
                replay.position = self.position
                now = time.monotonic()
                if now - replay.started > description.tombstone_seconds:
                    raise LogTruncated(
                        f"the replay took longer than deletions stay in the log ({description.tombstone_seconds:g} s), "
                        "so a deleted key could come back; it begins anew. Raise delete.retention.ms of the topic"
                    )
                if now - told >= PROGRESS_SECONDS:
                    told = now
                    logger.info("replaying", extra=self._progress(replay, now))
                await asyncio.sleep(0)  # probes and metrics are answered during a replay
        now = time.monotonic()
        replay.seconds = now - replay.started
        self.standing = Standing(True, Reason.SERVING, "serving")
        logger.info("replay done", extra=self._progress(replay, now))
        self._indexing = asyncio.create_task(self._index(), name="index")

    async def _index(self) -> None:
        """Sorts the keys beside what else is to do; ends soon, also when the map is cleared."""
        for _ in self.store.index_in_slices():
            await asyncio.sleep(0)

    def _progress(self, replay: Replay, now: float) -> dict[str, object]:
        return {
            "records": replay.records,
            "position": replay.position,
            "target": replay.target,
            "seconds": round(replay.elapsed(now), 3),
            "records_per_second": round(replay.records_per_second(now)),
            "remaining_seconds": replay.remaining_seconds(now),
            "keys": len(self.store),
        }

    def apply_acknowledged(self, first: Offset, entries: Sequence[Entry]) -> bool:
        """Applies a batch of our own, acknowledged at `first`, before the reader brings it, if the map is just there.

        Returns False where records of others lie between, or the map was given up: then the reader will bring it, after
        those, or never.
        """
        if not self.standing.ready or self.position != Position(first):
            return False
        records = records_from(first, entries)
        self._apply(Batch(records, Position(first + len(records)), 0))
        return True

    def _apply_unless_known(self, batch: Batch) -> None:
        """Applies what the map does not have yet: a late older record must not bring back what a newer one replaced."""
        if batch.position <= self.position:
            self.lag.observe_applied(self.position, batch.timestamp_ms)
            self._on_applied(Batch((), self.position, batch.timestamp_ms), ())  # what time it is in the log
            return
        if batch.records and batch.records[0][0] < self.position:
            known = bisect_left(batch.records, self.position, key=itemgetter(0))
            batch = Batch(batch.records[known:], batch.position, batch.timestamp_ms)
        self._apply(batch)

    def _apply(self, batch: Batch) -> None:
        self.load.begin_batch()
        reserved = self.store.apply(batch.records)
        self.records += len(batch.records)
        self.lag.observe_applied(batch.position, batch.timestamp_ms)
        self.freshness.observe_applied(batch.position)
        self._on_applied(batch, reserved)
        self.waiters.release(batch.position)
        self.load.end_batch(batch)

    async def ask_end(self) -> Position:
        """Where the log ends, as `SharedLog.end` tells it and with its errors; lag and freshness take note of it."""
        lag, freshness = self.lag, self.freshness  # of this life: a later one must not wait for an end that may be lost
        asked_at, asked_at_ms = time.monotonic(), time.time_ns() // 1_000_000
        end = await self._log.end()
        lag.observe_end(end, asked_at_ms=asked_at_ms)
        freshness.observe_end(end, position=lag.position, asked_at=asked_at)
        return end

    async def _watch(self, description: LogDescription) -> None:
        """Asks for the log's end and id, over and over.

        Raises:
            LogReplaced: another log bears the name now.
            LogTruncated: the map was behind for longer than deletions stay in the log.
        """
        caught_up = time.monotonic()
        awaited: tuple[Position, float] | None = None  # an end to reach, and the monotonic clock when it was asked for
        while True:
            self.ticked_at = asked_at = time.monotonic()
            # Judged before anything is asked: a process that was frozen finds itself caught up the moment it wakes.
            if self.standing.ready and asked_at - caught_up > description.tombstone_seconds:
                raise LogTruncated(
                    f"the map was behind for longer than deletions stay in the log ({description.tombstone_seconds:g} "
                    "s), so a deleted key could stay for ever; the log is replayed"
                )
            try:
                self._check_id(await self._log.identify())
                end = await self.ask_end()
            except (LogRefused, LogUnavailable) as error:
                self._note_out_of_reach(error)
            else:
                self._note_within_reach()
                awaited = awaited or (end, asked_at)
            if awaited is not None and self.position >= awaited[0]:
                caught_up, awaited = awaited[1], None
            await asyncio.sleep(WATCH_SECONDS)

    def _note_out_of_reach(self, error: ReplicaError) -> None:
        if self._out_of_reach_since is None:
            self._out_of_reach_since = time.monotonic()
            logger.warning("the log is out of reach", extra={"detail": str(error)})
        if self.standing.ready:
            self.standing = Standing(
                True, Reason.SERVING, f"serving what the map has; the log is out of reach: {error}"
            )

    def _note_within_reach(self) -> None:
        if self._out_of_reach_since is not None:
            logger.info("the log is back", extra={"seconds": round(self.out_of_reach_seconds, 1)})
            self._out_of_reach_since = None
        if self.standing.ready:
            self.standing = Standing(True, Reason.SERVING, "serving")
