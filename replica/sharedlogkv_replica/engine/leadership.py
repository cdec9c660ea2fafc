"""Carries out what the election decides, and tells it what happens.

    the map applies a leadership record ─┐                       ┌─> a peer is asked whether it leads
    a claim or a batch ended             ├─> Election.step ──────┼─> a claim, a beat, a resignation (engine/lead.py)
    a timer, a person, SIGTERM           ┘                       └─> writes are taken, or no more

It listens to both the follower and the lead. Caller's duty: `run()` in one supervised task.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from sharedlogkv_replica.core import election_events as on
from sharedlogkv_replica.core.authorship import Authorship
from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.leader_view import LeaderView
from sharedlogkv_replica.core.leadership import (
    LeadershipRecord,
    Resign,
    Stamp,
    Term,
    Writer,
    claim_batch,
    decode_leadership,
    encode_leadership,
)
from sharedlogkv_replica.core.records import Batch, Entry, LogRecord, Offset, Position
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.lead import HEIRS_MOST, Lead
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import Fenced, LogUnavailable, NoLeader, OutcomeUnknown, ReplicaError
from sharedlogkv_replica.log.base import Claimed

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often it is looked whether this replica is fit to lead, and who else is."""

PEER_SECONDS: Final = 3.0
"""For how long a peer's last word of itself counts."""

HEIRS_SECONDS: Final = 1.0
"""How often the heirs are told, if they are the same."""

FIT_LAG_SECONDS: Final = 1.0
ASK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer last said of itself: its map's position, whether it may lead, and when (monotonic, seconds)."""

    position: Position
    is_fit: bool
    at: float


class Leadership:
    """One replica's part in the election.

    Attributes:
        view: who leads, as this replica sees it.
        changes: how often another term was seen.
        authorship: counts records that no leader wrote.
        is_fit: whether this replica may lead next.
    """

    def __init__(
        self,
        machine: Election,
        lead: Lead,
        follower: Follower,
        window: RequestWindow,
        *,
        name: str,
        lease_seconds: float,
        ask: Callable[[str, Term], Awaitable[bool]],
        on_view: Callable[[LeaderView], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Decides nothing before `run`.

        Args:
            machine: decides.
            lead: claims, appends, resigns.
            follower: its standing says whether this replica is fit to lead.
            window: learns the requests of the log's stamps.
            name: this replica's.
            lease_seconds: for how long a leader bears that it hears nothing of the log.
            ask: asks the replica at an address whether it leads the term under a valid lease; errors mean silence.
            on_view: is told when `view` has changed.
            clock: as that of `lead`.
        """
        self._machine = machine
        self._lead = lead
        self._follower = follower
        self._window = window
        self._name = name
        self._lease_seconds = lease_seconds
        self._ask = ask
        self._clock = clock
        self._on_view = on_view
        self.view = machine.view
        self.changes = 0
        self.authorship = Authorship()
        self.is_fit = False
        self._retiring = False
        self._peers: dict[str, Peer] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self._resigned: list[asyncio.Future[None]] = []
        self._resignations = 0  # ordered so far
        self._told_heirs: tuple[str, ...] = ()
        self._told_at = 0.0
        self._log_time_ms = 0
        self._looked_at = clock()
        lead.bind(self)
        follower.watch_leadership(on_applied=self.on_applied, on_lost=self.on_lost)

    @property
    def silent_seconds(self) -> float:
        """How long `run` has not turned; for liveness."""
        return self._clock() - self._looked_at

    # --- what others ask for ---

    def ask_leads(self, term: Term) -> bool:
        """Whether this replica leads `term` under a valid lease: what a peer that hears nothing of it asks."""
        return self._machine.answers_for(term, self._clock())

    def lease_holds(self) -> bool:
        """Whether this replica leads, takes writes, and nobody else can."""
        return self._lead.term is not None and self._machine.lease_holds(self._clock())

    def may_append(self) -> bool:
        """See `lead_listener.Listener`."""
        if self._machine.may_append(self._clock()):
            return True
        self._dispatch(on.Tick())  # stands down
        return False

    def note_peer(self, name: str, position: Position, *, fit: bool) -> None:
        """Takes in what a peer says of itself."""
        self._peers[name] = Peer(position, fit, self._clock())

    def transfer(self, successor: str) -> "asyncio.Future[None]":
        """Hands over to `successor`, or where that is empty to the best placed peer; ends once resigned.

        The future's errors:
            NoLeader: this replica does not lead, or ceased to before it resigned.
            LogUnavailable, OutcomeUnknown, LogRefused: the resignation could not be written.
        """
        resigned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._learn_heirs()
        if self._lead.term is None:
            fail(resigned, NoLeader("this replica does not lead, so it has nothing to hand over"))
        elif successor == self._name:
            resigned.set_result(None)  # it leads already
        else:
            ordered = self._resignations
            self._dispatch(on.HandOver(successor))
            if self._resignations > ordered:
                self._resigned.append(resigned)
            else:
                fail(resigned, NoLeader("this replica has just ceased to lead, or is about to lead anew; try again"))
        return resigned

    def retire(self) -> None:
        """Leads no more and never again: hands over if it leads."""
        if not self._retiring:
            self._retiring = True
            self._learn_heirs()
            self._dispatch(on.Stop())

    # --- what the map tells ---

    def on_applied(self, batch: Batch, reserved: Sequence[LogRecord]) -> None:
        """Takes in a batch that the map has applied, before anybody who waits for it is woken."""
        self._log_time_ms = max(self._log_time_ms, batch.timestamp_ms)
        found = [
            (offset, record)
            for offset, key, value in reserved
            if (record := decode_leadership(key or b"", value)) is not None
        ]
        stamps = [(offset, record) for offset, record in found if isinstance(record, Stamp)]
        for offset, stamp in stamps:
            self._window.note(offset, stamp, timestamp_ms=self._log_time_ms)
        self.authorship.observe(batch, reserved, stamps, counts=self._follower.standing.ready)
        for offset, record in found:
            self._lead.observe(offset, record)
        for offset, record in _last_of_each_run(found):
            self._dispatch(on.Followed(offset, record))

    def on_lost(self) -> None:
        """Forgets all that the log said: the map was given up."""
        self._window.clear()
        self._lead.lose_map()
        self.is_fit = False
        self._dispatch(on.MapLost())

    # --- what the leader's work tells ---

    def on_claimed(self, claimed: Claimed, *, started: float) -> None:
        """See `lead_listener.Listener`."""
        self._dispatch(on.ClaimAcknowledged(claimed.offset, claimed.writer, started))

    def on_claim_failed(self, error: ReplicaError) -> None:
        """See `lead_listener.Listener`."""
        logger.warning("a claim failed", extra={"kind": type(error).__name__, "detail": str(error)})
        self._dispatch(on.ClaimFailed(_kind_of(error), str(error)))

    def on_committed(self, *, started: float) -> None:
        """See `lead_listener.Listener`."""
        self._dispatch(on.BatchAcknowledged(started))

    def on_writer_lost(self, *, fenced: bool) -> None:
        """See `lead_listener.Listener`."""
        self._dispatch(on.WriterLost(fenced))

    def on_resigned(self, error: ReplicaError | None) -> None:
        """See `lead_listener.Listener`."""
        self._dispatch(on.ResignAcknowledged() if error is None else on.ResignFailed())
        if isinstance(error, Fenced):
            error = NoLeader(f"another replica has claimed the log meanwhile: {error}")
        for resigned in self._resigned:
            if error is not None:
                fail(resigned, error)
            elif not resigned.done():
                resigned.set_result(None)
        self._resigned.clear()

    # --- carrying out ---

    async def run(self) -> None:
        """Looks, over and over, who is fit to lead; until cancelled."""
        try:
            while True:
                self._looked_at = self._clock()
                self._look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for question in self._questions:
                question.cancel()

    def _look(self) -> None:
        # While the log acknowledges a leader's batches, it does not matter whether it answers questions.
        hears = self.lease_holds() or self._unheard_seconds() <= self._patience()
        is_fit = hears and self._follower.standing.ready and not self._retiring
        if is_fit != self.is_fit:
            self.is_fit = is_fit
            self._dispatch(on.Fit(is_fit))
        if self._lead.term is not None:
            self._learn_heirs()
        self._dispatch(on.Tick())

    def _unheard_seconds(self) -> float:
        """For how long the map may have missed what the log says."""
        follower = self._follower
        return max(follower.out_of_reach_seconds, follower.lag_seconds(time.time_ns() // 1_000_000))

    def _patience(self) -> float:
        """How much of that is borne: more by a leader, which a short trouble of the log must not cost its lead."""
        return self._lease_seconds if self._lead.term is not None else FIT_LAG_SECONDS

    def _learn_heirs(self) -> None:
        """Ranks the peers that may lead: the one whose map is furthest first, then by name."""
        oldest = self._clock() - PEER_SECONDS
        self._peers = {name: peer for name, peer in self._peers.items() if peer.at > oldest}
        fit = [(-peer.position, name) for name, peer in self._peers.items() if peer.is_fit and name != self._name]
        heirs = tuple(name for _, name in sorted(fit))[:HEIRS_MOST]
        if heirs != self._told_heirs or self._clock() > self._told_at + HEIRS_SECONDS:
            self._lead.heirs = self._told_heirs = heirs  # the next stamp tells the peers
            self._told_at = self._clock()
        self._dispatch(on.HeirsKnown(heirs))

    def _dispatch(self, event: on.Event) -> None:
        now = self._clock()
        for effect in self._machine.step(event, now):
            self._carry_out(effect)
        view = self._machine.view
        if view != self.view:
            self._note_view(view)
        if self._timer is not None:
            self._timer.cancel()
        wake = self._machine.next_wake(now)
        loop = asyncio.get_running_loop()
        self._timer = None if wake is None else loop.call_later(max(0.0, wake - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch(on.Tick())

    def _carry_out(self, effect: on.Effect) -> None:
        match effect:
            case on.AskLeader(term, address):
                question = asyncio.get_running_loop().create_task(self._put_question(term, address))
                self._questions.add(question)
                question.add_done_callback(self._questions.discard)
            case on.StartClaim(enlisted):
                logger.info("claiming the log", extra={"replica": self._name})
                self._lead.claim(lambda writer: self._compose_claim(writer, enlisted), enlisted=enlisted)
            case on.Lead(term):
                logger.info("leading", extra={"term": term, "replica": self._name})
                self._lead.begin(term)
            case on.StandDown(term, reason):
                logger.info("leading no more", extra={"term": term, "replica": self._name, "reason": reason.value})
                self._lead.end(f"this replica leads no more ({reason.value})")
            case on.SendBeat(term):
                self._lead.beat(term)
            case on.SendResign(term, claim, successor):
                self._resignations += 1
                self._lead.resign(Resign(term, claim, successor))
            case _:
                assert_never(effect)

    def _compose_claim(self, writer: Writer, enlisted: frozenset[int]) -> list[Entry]:
        self._dispatch(on.ClaimComposed(writer))
        return [encode_leadership(record) for record in claim_batch(self._machine.claim(writer), enlisted=enlisted)]

    async def _put_question(self, term: Term, address: str) -> None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                leads = await self._ask(address, term)
        except (ReplicaError, OSError, TimeoutError):
            self._dispatch(on.LeaderSilent(term))
        else:
            self._dispatch(on.LeaderAnswered(term, leads))

    def _note_view(self, view: LeaderView) -> None:
        if view.term != self.view.term and view.term is not None:
            self.changes += 1
        self.view = view
        self._on_view(view)


def _kind_of(error: ReplicaError) -> on.ClaimFailure:
    match error:
        case LogUnavailable():
            return on.ClaimFailure.NOT_WRITTEN
        case OutcomeUnknown():
            return on.ClaimFailure.UNKNOWN
        case Fenced():
            return on.ClaimFailure.FENCED
        case _:
            return on.ClaimFailure.REFUSED


def _last_of_each_run(
    found: Sequence[tuple[Offset, LeadershipRecord]],
) -> list[tuple[Offset, LeadershipRecord]]:
    """The records without stamps that another stamp follows: all signs of life in one batch arrive at one time."""
    return [
        (offset, record)
        for index, (offset, record) in enumerate(found)
        if not isinstance(record, Stamp) or index + 1 == len(found) or not isinstance(found[index + 1][1], Stamp)
    ]
