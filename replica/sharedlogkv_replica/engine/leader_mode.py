"""All that a replica does in `writeMode: Leader`: elects, leads when it is its turn, and brings writes to the leader.

client ─> write ─> Forwarder ─┬─> (this replica leads)  LocalService ─> Intake ─> Lead ─> log
└─> (a peer leads)        PeerLink ─> the peer's LocalService
log ─> Follower ─> Leadership ─> Election ─> Forwarder: who leads
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.election_events import ElectionConfig
from sharedlogkv_replica.core.leader_view import LeaderView
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.forward import LEADER_SHARE, Forwarder
from sharedlogkv_replica.engine.lead import APPEND_SECONDS, Lead
from sharedlogkv_replica.engine.leadership import ASK_SECONDS, Leadership
from sharedlogkv_replica.engine.local_service import LocalService
from sharedlogkv_replica.engine.peer_link import PeerDialer
from sharedlogkv_replica.engine.peers import ForwardLimits
from sharedlogkv_replica.engine.write_queue import QueueLimits
from sharedlogkv_replica.log.base import LogDescription, SharedLog

HUNG_SECONDS: Final = 3 * APPEND_SECONDS
"""Every append and claim has its own deadline; one that is under way for this long hangs."""


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """One replica's part in the election.

    Attributes:
        name: this replica's.
        address: `host:port` at which its peers reach it; empty where it has none.
        lease_seconds: for how long one sign of life vouches for a leader.
        jitter: a random number in [0, 1), drawn once.
        write_timeout_seconds: from a write's arrival to its answer, whatever it is.
    """

    name: str
    address: str
    lease_seconds: float
    jitter: float
    write_timeout_seconds: float


class LeaderMode:
    """The parts, wired.

    Attributes:
        lead: claims and appends.
        leadership: carries out the election.
        forwarder: brings writes to the leader.
        service: this replica as a leader, for the peer port.
        window: the requests carried out already.
    """

    def __init__(
        self,
        log: SharedLog,
        follower: Follower,
        settings: LeaderSettings,
        *,
        batch_limit_bytes: int,
        dialer: PeerDialer | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Claims nothing and connects to nobody before `run`.

        Args:
            log: the log.
            follower: follows it.
            settings: this replica's part.
            batch_limit_bytes: the largest batch, until the log tells its own.
            dialer: connects to peers; None where there are none.
            clock: the monotonic clock, in seconds; as that of `Lead`.
        """
        self.window = RequestWindow()
        self._writer = log.fenced_writer()
        self.lead = Lead(
            self._writer,
            follower,
            self.window,
            limits=QueueLimits(LEADER_SHARE * settings.write_timeout_seconds),
            batch_limit_bytes=batch_limit_bytes,
            clock=clock,
        )
        self.leadership = Leadership(
            Election(
                ElectionConfig(settings.name, settings.address, settings.jitter, lease_seconds=settings.lease_seconds)
            ),
            self.lead,
            follower,
            self.window,
            name=settings.name,
            lease_seconds=settings.lease_seconds,
            ask=self._ask,
            on_view=self._on_view,
            clock=clock,
        )
        self.service = LocalService(self.lead, self.leadership, follower)
        self.forwarder = Forwarder(self.service, ForwardLimits(settings.write_timeout_seconds), dialer=dialer)

    def adapt(self, description: LogDescription) -> None:
        """Takes over what the log told when it was opened."""
        self.lead.intake.batch_limit_bytes = description.batch_limit_bytes
        self.window.window_ms = description.compaction_lag_seconds * 1000

    @property
    def view(self) -> LeaderView:
        """Who leads, as this replica sees it."""
        return self.leadership.view

    async def run(self) -> None:
        """Takes part until cancelled; an exception is a bug."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.lead.run(), name="lead")
                tasks.create_task(self.leadership.run(), name="leadership")
        finally:
            await self.forwarder.close()
            await self._writer.close()

    def find_ailment(self) -> str | None:
        """Why only a restart would help; None while all is well."""
        if self.lead.busy_seconds > HUNG_SECONDS:
            return f"an append or claim has hung for {self.lead.busy_seconds:.0f} s"
        if self.leadership.silent_seconds > HUNG_SECONDS:
            return f"the election has not turned for {self.leadership.silent_seconds:.0f} s"
        return None

    def _on_view(self, view: LeaderView) -> None:
        self.forwarder.lead_by(view)

    async def _ask(self, _address: str, term: Term) -> bool:
        # The forwarder's link leads to that address.
        leads = await self.forwarder.ask_leads(term, timeout_seconds=ASK_SECONDS)
        if leads is None:
            raise TimeoutError(f"no answer within {ASK_SECONDS:g} s")
        return leads


def describe_leader(view: LeaderView, *, lease_holds: bool) -> dict[str, object]:
    """The part of `/status` that tells of the leader; its fields are a contract with the operator."""
    return {
        "role": view.role.value,
        "term": view.term,
        "name": view.name,
        "address": view.address,
        "leaseHolds": lease_holds,
        "refusal": view.refusal,
    }
