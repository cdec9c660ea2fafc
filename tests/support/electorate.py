"""Replicas that elect a leader over one log in memory, in one process and in virtual time (`virtual_time.run`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.election_events import ElectionConfig
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.lead import Lead
from sharedlogkv_replica.engine.leadership import Leadership
from sharedlogkv_replica.engine.write_queue import QueueLimits
from sharedlogkv_replica.log.base import LogDescription
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog


class Member:
    """One replica without servers: follower, lead and leadership.

    Attributes:
        views: every view of who leads that it had, in order.
    """

    def __init__(self, electorate: "Electorate", name: str, *, jitter: float) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.views: list[LeaderView] = []
        self.log = MemoryLog(electorate.broker)
        self.window = RequestWindow()
        self.follower = Follower(self.log, on_open=self._on_open)
        self.lead = Lead(
            self.log.fenced_writer(),
            self.follower,
            self.window,
            limits=QueueLimits(5.0),
            batch_limit_bytes=100_000,
            clock=loop.time,
        )
        self.leadership = Leadership(
            Election(ElectionConfig(name, f"{name}:8081", jitter)),
            self.lead,
            self.follower,
            self.window,
            name=name,
            lease_seconds=3.0,
            ask=electorate.ask,
            on_view=self.views.append,
            clock=loop.time,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def _on_open(self, description: LogDescription) -> None:
        self.window.window_ms = description.compaction_lag_seconds * 1000

    @property
    def leads(self) -> bool:
        """Whether it takes writes."""
        return self.lead.term is not None

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not killed since."""
        return bool(self._tasks)

    def start(self) -> None:
        """Starts its three tasks."""
        runs = (self.follower.run(), self.lead.run(), self.leadership.run())
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def kill(self) -> None:
        """Ends it without a word to anybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


class Electorate:
    """Some replicas on one log; each tells the others of itself once a second, as the link between peers does."""

    def __init__(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        self.broker = MemoryBroker(compaction_lag_seconds=600, now_ms=lambda: int(loop.time() * 1000) + 1)
        self.members = [Member(self, f"replica-{n}", jitter=(n + 0.5) / size) for n in range(size)]

    async def ask(self, address: str, term: Term) -> bool:
        """What the member at `address` says when asked whether it leads `term`; as the network does, it may not be."""
        name = address.partition(":")[0]
        (asked,) = [member for member in self.members if member.name == name]
        if not asked.is_running:
            raise ConnectionRefusedError
        return asked.leadership.ask_leads(term)

    async def report(self) -> None:
        """Tells the leaders, over and over, how far everybody is; until cancelled."""
        while True:
            for member in self.members:
                for other in self.members:
                    if other.is_running and member.leads and other is not member:
                        position, fit = other.follower.position, other.follower.standing.ready
                        member.leadership.note_peer(other.name, position, fit=fit)
            await asyncio.sleep(1)

    @property
    def leaders(self) -> list[Member]:
        """Those that run and take writes."""
        return [member for member in self.members if member.is_running and member.leads]

    async def leader(self) -> Member:
        """The one member that leads, once everybody who runs agrees on it."""
        async with asyncio.timeout(60):
            while True:
                (*leaders,) = self.leaders
                running = [member for member in self.members if member.is_running]
                if len(leaders) == 1 and {m.leadership.view.name for m in running} == {leaders[0].name}:
                    assert leaders[0].leadership.view.role is Role.LEADER
                    return leaders[0]
                await asyncio.sleep(0.01)


@asynccontextmanager
async def electorate(size: int) -> AsyncIterator[Electorate]:
    """So many replicas, started; killed in the end."""
    made = Electorate(size)
    for member in made.members:
        member.start()
    reports = asyncio.create_task(made.report())
    try:
        yield made
    finally:
        reports.cancel()
        for member in made.members:
            await member.kill()
