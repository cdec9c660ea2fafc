"""The replica as its servers see it: a map to read, a log to write to, and the waits in between."""

import asyncio
import time
from importlib.metadata import version
from typing import Any, Final

from sharedlogkv_replica.core import records
from sharedlogkv_replica.core.leader_view import NOBODY, LeaderView
from sharedlogkv_replica.core.modes import Reason, Standing, WriteMode
from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, Entry, Offset, Position
from sharedlogkv_replica.core.store import Store
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.core.writes import Write, WriteResult, Written
from sharedlogkv_replica.engine.commit import CommitLimits, GroupCommit
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.intake import LEADER_FRAME_BYTES
from sharedlogkv_replica.engine.leader_mode import LeaderMode, LeaderSettings, describe_leader
from sharedlogkv_replica.engine.peer_link import PeerDialer
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.read_guard import ReadGuard
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import LogRefused, NoLeader, ReplicaError, WaitTimeout
from sharedlogkv_replica.log.base import BATCH_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES, LogDescription, SharedLog

VERSION: Final = version("sharedlogkv")
COMPILED: Final = not records.__file__.endswith(".py")
"""Whether the data path is compiled; what is not runs from its source, more slowly."""

_LARGEST_FRAME_BYTES: Final = BATCH_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES + KEY_LIMIT_BYTES
"""What a batch of one record takes beside its value, at most."""


LEADER_ANSWER_SECONDS: Final = 0.5
"""After this time a barrier is the quicker way to a linearizable read than a leader that does not answer."""

_HUNG_SECONDS: Final = 60.0
"""Far above every deadline inside one turn of the follower, so that only a hang reaches it."""


_STOPPING: Final = Standing(True, Reason.STOPPING, "the replica was told to stop, and finishes what is in flight")


class Replica:
    """One replica: follower and group commit over one log.

    Attributes:
        name: in `/status` and the logs.
        store: the map; only to be read while `standing.ready`.
        write_mode: whether writes are taken.
        value_limit_bytes: the largest value taken; what was configured, or less where the log takes less.
        follower: keeps the store at the log's end.
        guard: turns reads away that the map has no time for.
        commit: appends writes, and barriers; None where this replica may not append.
        led: what it does in the write mode `Leader`; None in the others.
    """

    def __init__(
        self,
        log: SharedLog,
        *,
        name: str,
        write_mode: WriteMode,
        write_timeout_seconds: float,
        value_limit_bytes: int,
        leader: LeaderSettings | None = None,
        dialer: PeerDialer | None = None,
        max_lag_seconds: float = 0.0,
    ) -> None:
        """Does nothing before `run`.

        Args:
            log: what it follows.
            name: in `/status` and the logs.
            write_mode: whether writes are taken.
            write_timeout_seconds: the longest wait of a write.
            value_limit_bytes: the largest value taken.
            leader: its part in the election; with the write mode `Leader`, and no other.
            dialer: connects to peers; None where there are none.
            max_lag_seconds: reads are turned away before the map is behind by more; 0: never.
        """
        assert (leader is not None) == (write_mode is WriteMode.LEADER), "an election is for the write mode Leader"
        self.name = name
        self.write_mode = write_mode
        self.value_limit_bytes = value_limit_bytes
        self._retiring = False
        self._turn = Turn()
        self._configured_value_limit_bytes = value_limit_bytes
        self.follower = Follower(log, on_open=self._adapt)
        self.guard = ReadGuard(self.follower, limit_seconds=max_lag_seconds)
        self.store: Store = self.follower.store
        self.commit: GroupCommit | None = None
        self.led: LeaderMode | None = None
        if leader is not None:
            batch_limit_bytes = value_limit_bytes + _LARGEST_FRAME_BYTES + LEADER_FRAME_BYTES
            self.led = LeaderMode(log, self.follower, leader, batch_limit_bytes=batch_limit_bytes, dialer=dialer)
        if write_mode is not WriteMode.READ_ONLY:
            largest = CommitLimits(write_timeout_seconds, batch_bytes=value_limit_bytes + _LARGEST_FRAME_BYTES)
            self.commit = GroupCommit(log, largest, witness=self._vouch)

    def _adapt(self, description: LogDescription) -> None:
        """Takes over the log's own limit, so that a value is refused here and not by the broker."""
        frame = _LARGEST_FRAME_BYTES + (LEADER_FRAME_BYTES if self.led is not None else 0)
        room = max(0, description.batch_limit_bytes - frame)
        self.value_limit_bytes = min(self._configured_value_limit_bytes, room)
        if self.commit is not None:
            self.commit.batch_limit_bytes = description.batch_limit_bytes
        if self.led is not None:
            self.led.adapt(description)

    def _vouch(self) -> Position | None:
        """The map's position while it is that of the log we follow; None when it was given up, or is not filled yet."""
        return self.position if self.follower.standing.ready else None

    @property
    def standing(self) -> Standing:
        """Whether data requests are answered, and why (not)."""
        if self._retiring and self.follower.standing.ready:
            return _STOPPING
        return self.follower.standing

    def retire(self) -> None:
        """From now on not Ready for new clients, and no leader; requests are still answered until the servers end."""
        self._retiring = True
        if self.led is not None:
            self.led.leadership.retire()

    @property
    def position(self) -> Position:
        """The next offset to read; everything below it is in the map."""
        return self.follower.lag.position

    @property
    def identity(self) -> LogIdentity:
        """The log that is followed; known while the replica is Ready."""
        assert self.follower.identity is not None, "asked for before the log was open"
        return self.follower.identity

    async def run(self) -> None:
        """Follows and commits until cancelled; an exception is a bug, and the process must end with it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.follower.run(), name="follower")
            tasks.create_task(self.guard.run(), name="read-guard")
            if self.commit is not None:
                tasks.create_task(self.commit.run(), name="group-commit")
            if self.led is not None:
                tasks.create_task(self.led.run(), name="leader-mode")

    async def drain(self) -> None:
        """Returns once nothing is queued for the log or on its way to it; the caller bounds the time."""
        if self.led is not None:
            await self.led.lead.drain()
        if self.commit is not None:
            await self.commit.drain()

    def ailment(self) -> str | None:
        """Why only a restart would help; None while all is well. An outage of the log is no reason to restart."""
        silent = time.monotonic() - self.follower.ticked_at
        if silent > _HUNG_SECONDS:
            return f"the follower has not turned for {silent:.0f} s"
        return None if self.led is None else self.led.find_ailment()

    @property
    def leader(self) -> LeaderView:
        """Who leads, as far as this replica knows."""
        return NOBODY if self.led is None else self.led.view

    def transfer(self, successor: str) -> "asyncio.Future[None]":
        """Hands the lead over to `successor` (empty: to the best placed replica); ends once this one has resigned.

        The future's errors:
            NoLeader: this replica does not lead.
        """
        if self.led is None:
            return _failed(NoLeader(f"nobody leads with the write mode {self.write_mode.value}"))
        return self.led.leadership.transfer(successor)

    def write(self, write: Write) -> Promise[WriteResult]:
        """Carries out one write; ends with what became of it. Only `Leader` mode knows conditions and request ids.

        The promise's errors:
            RecordTooLarge: the log does not take so much; nothing was written.
            NoLeader: nobody leads; nothing was written.
            LogUnavailable: nothing was written, as the log is out of reach or too much waits for it.
            OutcomeUnknown: sent, and no answer in time.
            LogRefused: the log does not let us write.
        """
        if self.led is not None:
            return self.led.forwarder.write(write)
        written: Promise[WriteResult] = Promise(self._turn)
        if self.commit is None:
            fail(written, LogRefused("this replica is read-only"))
            return written
        self.commit.submit(Entry(write.key, write.value)).add_done_callback(
            lambda appended: _pass_on(appended, written)
        )
        return written

    def wait_applied(self, offset: Offset, *, timeout_seconds: float) -> "asyncio.Future[None]":
        """Ends once the map has applied everything up to `offset`; its errors are those of `Waiters.begin`."""
        return self.follower.waiters.wait(offset, timeout_seconds=timeout_seconds)

    def lease_index(self) -> Offset | None:
        """The highest offset that anyone may have been shown, where this replica leads under a valid lease.

        None elsewhere, and while a batch is on its way: `read_index` waits for it.
        """
        return None if self.led is None else self.led.service.index_now()

    async def read_index(self, *, timeout_seconds: float) -> Offset:
        """An offset at or above that of every record acknowledged or shown, to anyone, before the call.

        The leader knows it (ReadIndex: Ongaro, "Consensus", section 6.4); where nobody leads, or the leader does not
        answer soon or doubts its lease, a barrier in the log tells as well.

        Raises:
            WaitTimeout: the log did not acknowledge a barrier within `timeout_seconds`.
            LogUnavailable: it could not be appended.
            OutcomeUnknown: it may have been appended; ask again.
            LogRefused: this replica may not append.
        """
        if self.led is not None:
            index = await self.led.forwarder.read_index(timeout_seconds=min(timeout_seconds / 2, LEADER_ANSWER_SECONDS))
            if index is not None:
                return index
        if self.commit is None:
            raise LogRefused("this replica is read-only, and a linearizable read needs a barrier in the log")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(self.commit.barrier())
        except TimeoutError:
            raise WaitTimeout(f"the log did not acknowledge a barrier within {timeout_seconds:g} s; retry") from None

    async def end_index(self, *, timeout_seconds: float) -> Offset:
        """As `read_index`, without an append, and only as good as what the log tells of its end.

        A broker that was deposed and does not know it yet tells an end that has been passed.

        Raises:
            WaitTimeout: the log did not answer within `timeout_seconds`.
            LogUnavailable: it is out of reach.
            LogRefused: the topic is gone, or we lack the rights.
            LogTruncated: acknowledged records are known to be gone.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return Offset(await self.follower.ask_end() - 1)
        except TimeoutError:
            raise WaitTimeout(f"the log did not tell where it ends within {timeout_seconds:g} s; retry") from None

    def staleness_ms(self) -> int | None:
        """Every write acknowledged longer ago is in the map; None: no such bound is known."""
        return self.follower.freshness.staleness_ms(time.monotonic())

    def lag_ms(self) -> int:
        """The upper bound of the age of the oldest record not yet applied; 0 where none is known."""
        return round(self.follower.lag_seconds(time.time_ns() // 1_000_000) * 1000)

    def status(self) -> dict[str, object]:
        """The `/status` document; its fields are a contract with the operator."""
        now, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        follower, replay = self.follower, self.follower.replay
        standing = self.standing
        return {
            "name": self.name,
            "version": VERSION,
            "writeMode": self.write_mode.value,
            "ready": standing.ready,
            "reason": standing.reason.value,
            "message": standing.message,
            "log": {
                "id": None if follower.identity is None else follower.identity.log_id,
                "partition": 0 if follower.identity is None else follower.identity.partition,
                "position": follower.lag.position,
                "end": follower.lag.end,
                "lagRecords": follower.lag.lag_records,
                "lagSeconds": follower.lag_seconds(now_ms),
            },
            "replay": None
            if replay is None
            else {
                "records": replay.records,
                "target": replay.target,
                "seconds": replay.elapsed(now),
                "recordsPerSecond": replay.records_per_second(now),
                "remainingSeconds": replay.remaining_seconds(now),
            },
            "leader": describe_leader(self.leader, lease_holds=self.led is not None and self.led.service.lease_holds()),
            "foreignRecords": 0 if self.led is None else self.led.leadership.authorship.foreign_records,
            "load": follower.load.status(applied_records=follower.records),
            "store": {"keys": len(self.store), "dataBytes": self.store.data_bytes},
        }


def _failed(error: ReplicaError) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    fail(future, error)
    return future


def _pass_on(appended: "asyncio.Future[Offset]", written: Promise[WriteResult]) -> None:
    """Ends `written` as `appended` has ended."""
    error = appended.exception()
    if error is None:
        if not written.done():
            written.set_result(Written(appended.result()))
    else:
        fail(written, error)
