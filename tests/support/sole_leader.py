"""A replica that leads because it is alone, for tests of how the server tells what became of a write.

It stands behind the attributes of `Replica` that the server uses in `Leader` mode, without an election: one write after
the other is judged against a map that has everything.
"""

import asyncio
from dataclasses import dataclass

from sharedlogkv_replica.core.batch_plan import holds
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.writes import (
    UNCONDITIONAL,
    ConditionFailed,
    RequestId,
    RequestMismatch,
    Write,
    WriteResult,
    Written,
)
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import NoLeader, ReplicaError
from sharedlogkv_replica.log.base import SharedLog


@dataclass(frozen=True, slots=True)
class _Done:
    request: RequestId
    offset: Offset


class SoleLeader(Replica):
    """Leads until told otherwise.

    Attributes:
        leads: whether it takes writes, and hands over.
        handed_to: whom it was told to hand over to.
    """

    def __init__(self, log: SharedLog, *, write_timeout_seconds: float, value_limit_bytes: int) -> None:
        super().__init__(
            log,
            name="test-0",
            write_mode=WriteMode.LEADERLESS,  # for the group commit
            write_timeout_seconds=write_timeout_seconds,
            value_limit_bytes=value_limit_bytes,
        )
        self.write_mode = WriteMode.LEADER
        self.leads = True
        self.handed_to: list[str] = []
        self._turn = asyncio.Lock()
        self._done: dict[str, _Done] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def leader(self) -> LeaderView:
        """Itself, or nobody."""
        return LeaderView(Role.LEADER if self.leads else Role.FOLLOWER, Term(0), self.name, "")

    def lease_index(self) -> Offset | None:
        """None: every linearizable read asks."""
        return None

    def transfer(self, successor: str) -> "asyncio.Future[None]":
        """Stops leading at once."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.leads:
            self.leads = False
            self.handed_to.append(successor)
            done.set_result(None)
        else:
            fail(done, NoLeader("this replica does not lead"))
        return done

    def write(self, write: Write) -> "asyncio.Future[WriteResult]":
        """Judges and carries out one write after the other."""
        future: asyncio.Future[WriteResult] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(self._carry_out(write, future))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return future

    async def _carry_out(self, write: Write, future: "asyncio.Future[WriteResult]") -> None:
        async with self._turn:
            try:
                future.set_result(await self._judge(write))
            except ReplicaError as error:
                fail(future, error)

    async def _judge(self, write: Write) -> WriteResult:
        if not self.leads:
            raise NoLeader("nobody leads")
        assert self.commit is not None
        if write.request is not None and (done := self._done.get(write.request.id)) is not None:
            return Written(done.offset, repeated=True) if done.request == write.request else RequestMismatch()
        if write.condition != UNCONDITIONAL:
            index = await self.end_index(timeout_seconds=5)
            await self.wait_applied(index, timeout_seconds=5)
            found = self.store.get(write.key)
            if not holds(write.condition, None if found is None else found[0]):
                return ConditionFailed(None if found is None else found[0], Offset(self.position - 1))
        offset = await self.commit.submit(Entry(write.key, write.value))
        if write.request is not None:
            self._done[write.request.id] = _Done(write.request, offset)
        return Written(offset)
