"""Who leads: the election, as a machine without IO that is told what happens and says what to do.

The log decides, not the replicas: the newest claim in it leads, and the log refuses what an earlier leader still sends
(`log.base.FencedWriter`). This machine decides when to claim, when a claim may be acted upon, and when a leader may
answer reads from its own map. Its events and effects, and the caller's duties, are in `core/election_events.py`.

**States.** A tenure is an acknowledged claim of ours that we have not given up: CLAIMED and LEADING.

| state | means |
|---|---|
| FOLLOWING | somebody else leads, or nobody; silence for too long makes us suspect |
| ASKING | we suspect, and have asked the leader whether it still leads (as Raft's pre-vote, Ongaro section 9.6) |
| CLAIMING | our claim is on its way |
| CLAIMED | our claim is in the log; but we have not applied it yet, or an earlier lease may still run |
| LEADING | we take writes |
| RESIGNING | our resignation is on its way |

**Transitions.** Whatever is not here changes nothing. "Unfit" is `Fit(False)` or `Stop`; "patience" grows with our rank
among the heirs (`Succession.patience_seconds`).

| from | on | to | effects |
|---|---|---|---|
| FOLLOWING | fit, and silence until patience ends | ASKING | AskLeader |
| FOLLOWING | the same, and there is nobody to ask | CLAIMING | StartClaim |
| ASKING | LeaderAnswered(leads), a record of a leader, unfit, MapLost | FOLLOWING | |
| ASKING | LeaderAnswered(not leads), LeaderSilent, no answer for a grace | CLAIMING | StartClaim |
| CLAIMING | ClaimAcknowledged | CLAIMED | |
| CLAIMING | ClaimAcknowledged, and a later claim was followed, or the map was lost meanwhile | FOLLOWING | |
| CLAIMING | ClaimFailed | FOLLOWING | |
| CLAIMED | own claim followed, every earlier lease over | LEADING | Lead, SendBeat |
| CLAIMED | own claim followed, and another producer id is not shut out | CLAIMING | StandDown, StartClaim |
| CLAIMED, LEADING | no batch begun for a beat | the same | SendBeat |
| CLAIMED, LEADING | a later claim followed, WriterLost, MapLost, two leases without an answer | FOLLOWING | StandDown |
| CLAIMED, LEADING | unfit | RESIGNING | StandDown, SendResign |
| LEADING | HandOver | RESIGNING | StandDown, SendResign |
| LEADING | half a day since the claim | CLAIMING | StandDown, StartClaim |
| RESIGNING | ResignAcknowledged, ResignFailed, WriterLost, a later claim followed, MapLost | FOLLOWING | |

**Invariants**, for a log that fences, and clocks whose rates differ by no more than `drift`:

1. A replica leads only by its own newest claim, once it has applied it, and until it has followed a later one; and
   only where every other producer id that was ever claimed under is shut out, by the log's own book
   (`core/leadership.py`). With the fence: no record of an earlier term follows a claim that is led with.
2. A lease counts from before the production of a batch that was acknowledged, and is served only while LEADING. A
   claim alone is no lease. It is given up before a resignation is sent.
3. A leader takes no write and answers no read before every lease of an earlier term is over, counted from when the
   last record of that term was *received* here. Claims in between that never led do not shorten this; a leader in
   between that wrote ends it, since it has waited. After a resignation nothing is waited for, nor for a term of this
   process. So when a write is acknowledged, no other replica answers reads from a map that lacks it.
4. Who was asleep (suspended, or starved) suspects nobody for what it did not hear meanwhile; and a leader that was
   asleep for long stands down before it writes: a log keeps a fence for days, not for ever (KIP-360).
5. A claim of unknown outcome is never led with. Where it appears nonetheless, its term has no leader.
6. One claim or resignation at most is on its way.
7. FOLLOWING always has a deadline while fit: where fit replicas reach the log, one of them leads in the end.
8. A healthy leader stays: whoever misses it asks before it claims.

What no clock can see: a machine that was frozen together with its clock (a paused virtual machine) may answer reads
under a lease that is over. Its writes are refused all the same.

Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), sections 6.4.1 (leases for reads, and clock drift)
and 3.10 (hand-over); Burrows, "The Chubby lock service" (2006), sections 2.8 and 2.9 (a lease is extended from before
the request; a new master waits out the old one's); KIP-98 and KIP-360 (epochs that fence).
"""

import enum
import math
from collections.abc import Iterator
from typing import assert_never

from sharedlogkv_replica.core import election_events as on
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Term, Writer, term_of
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.succession import Succession
from sharedlogkv_replica.core.tenure import Candidacy, Tenure, pause_seconds
from sharedlogkv_replica.core.vigil import Vigil


class _State(enum.Enum):
    FOLLOWING = enum.auto()
    ASKING = enum.auto()
    CLAIMING = enum.auto()
    CLAIMED = enum.auto()
    LEADING = enum.auto()
    RESIGNING = enum.auto()


class Election:
    """One replica's part in the election. See the module for the caller's duties."""

    def __init__(self, config: on.ElectionConfig) -> None:
        self._config = config
        self._log = Succession(config)
        self._state = _State.FOLLOWING
        self._fit = False
        self._stopping = False
        self._vigil = Vigil()
        self._answer_due = math.inf  # while ASKING
        self._candidacy: Candidacy | None = None  # while CLAIMING
        self._tenure: Tenure | None = None  # while CLAIMED or LEADING
        self._resignation: on.SendResign | None = None  # while RESIGNING
        self._refusal: str | None = None

    # ---- Questions ----

    @property
    def view(self) -> LeaderView:
        """Who leads, as far as is known here."""
        head, config, refusal = self._log.head, self._config, self._refusal
        match self._state:
            case _State.LEADING:
                assert self._tenure is not None
                return LeaderView(Role.LEADER, self._tenure.term, config.name, config.address, refusal)
            case _State.CLAIMING | _State.CLAIMED:
                return LeaderView(Role.CANDIDATE, refusal=refusal)
            case _ if head is None or head.ended or head.ours:
                return LeaderView(Role.FOLLOWER, refusal=refusal)
            case _:
                return LeaderView(Role.FOLLOWER, head.term, head.claim.replica, head.claim.address, refusal)

    def claim(self, writer: Writer) -> Claim:
        """What to claim under the name `writer`."""
        return Claim(writer, self._config.name, self._config.address, self._config.lease_ms)

    def lease_holds(self, now: float) -> bool:
        """Whether this replica's map has every write that anybody has acknowledged: it leads, under a valid lease."""
        return self._state is _State.LEADING and self._tenure is not None and now < self._tenure.lease_end

    def may_append(self, now: float) -> bool:
        """Whether a batch of a leader may be sent; false where it slept too long, and the next step stands it down."""
        return self._state is _State.LEADING and self._tenure is not None and now < self._tenure.patience_end

    def answers_for(self, term: Term, now: float) -> bool:
        """What to answer a peer that asks whether this replica leads in `term`; true also while it waits to lead."""
        return self._tenure is not None and self._tenure.term == term and now < self._tenure.alive_until

    def next_wake(self, now: float) -> float | None:
        """When the next `Tick` is due, `now` at the earliest; None: nothing is, before another event."""
        due = self._due()
        return None if due is None else max(due, now)

    # ---- Steps ----

    def step(self, event: on.Event, now: float) -> tuple[on.Effect, ...]:
        """Takes `event` in at `now` (monotonic seconds); returns what is to be done, in this order."""
        effects = (*self._notice_sleep(now), *self._take(event, now), *self._proceed(now))
        self._vigil.expect_wake(self._due())
        return effects

    def _notice_sleep(self, now: float) -> Iterator[on.Effect]:
        """Invariant 4, before anything else."""
        overslept = self._vigil.overslept(now, tolerance_seconds=self._config.beat_seconds)
        if self._tenure is not None and now >= self._tenure.patience_end:
            pause = self._config.silence_seconds if overslept else 0.0
            yield self._stand_down(on.StandDownReason.SUSPENDED, now, pause=pause)
        if overslept:
            self._hear(now)
            self._vigil.hold_back(now + self._config.grace_seconds)

    def _take(self, event: on.Event, now: float) -> Iterator[on.Effect]:
        match event:
            case on.Tick():
                pass
            case on.Followed(offset=offset, record=record):
                yield from self._follow(offset, record, now)
            case on.Fit(fit=fit):
                if fit and not self._fit:
                    self._vigil.hear(now)
                self._fit = fit
                if not fit:
                    yield from self._withdraw(on.StandDownReason.UNFIT)
            case on.LeaderAnswered(term=term, leads=leads):
                yield from self._weigh(term, now, leads=leads)
            case on.LeaderSilent(term=term):
                yield from self._weigh(term, now, leads=False)
            case on.ClaimComposed(writer=writer):
                self._compose(writer)
            case on.ClaimAcknowledged():
                yield from self._own(event, now)
            case on.ClaimFailed():
                self._fail(event, now)
            case on.BatchAcknowledged(started=started):
                if self._tenure is not None:
                    self._tenure.acknowledge(started)
            case on.WriterLost(fenced=fenced):
                if self._tenure is not None:
                    pause = self._config.silence_seconds if fenced else 0.0
                    yield self._stand_down(on.StandDownReason.WRITER_LOST, now, pause=pause)
                self._end_resignation(now)
            case on.HandOver(successor=successor):
                if self._state is _State.LEADING and successor != self._config.name:
                    yield from self._resign(on.StandDownReason.HANDED_OVER, successor=successor)
            case on.Stop():
                self._stopping = True
                yield from self._withdraw(on.StandDownReason.STOPPING)
            case on.ResignAcknowledged():
                if self._resignation is not None:
                    self._log.end(self._resignation.term, successor=self._resignation.successor)
                    self._vigil.hold_back_anew(now + self._config.silence_seconds)
                self._end_resignation(now)
            case on.ResignFailed():
                self._end_resignation(now)
            case on.HeirsKnown(heirs=heirs):
                if self._tenure is not None:
                    self._log.heirs = tuple(heirs)
            case on.MapLost():
                yield from self._forget(now)
            case _:
                assert_never(event)

    def _proceed(self, now: float) -> Iterator[on.Effect]:
        """What the time, or the state alone, brings about."""
        due = self._due()
        if due is None or now < due:
            return
        match self._state:
            case _State.FOLLOWING:
                yield self._suspect(now)
            case _State.ASKING:
                yield self._start_claim()
            case _State.CLAIMED | _State.LEADING:
                yield from self._reign(now)
            case _State.CLAIMING | _State.RESIGNING:
                pass
            case _:
                assert_never(self._state)

    def _due(self) -> float | None:
        match self._state:
            case _State.FOLLOWING:
                if not self._fit or self._stopping:
                    return None
                return self._vigil.end(self._log.patience_seconds())
            case _State.ASKING:
                return self._answer_due
            case _State.CLAIMED | _State.LEADING:
                assert self._tenure is not None
                leads = self._state is _State.LEADING
                return self._tenure.due(self._log, leads=leads, beat_seconds=self._config.beat_seconds)
            case _State.CLAIMING | _State.RESIGNING:
                return None

    # ---- Following ----

    def _hear(self, now: float) -> None:
        """There was a sign of life, or we could not have heard one."""
        self._vigil.hear(now)
        if self._state is _State.ASKING:
            self._state = _State.FOLLOWING

    def _follow(self, offset: Offset, record: LeadershipRecord, now: float) -> Iterator[on.Effect]:
        if not self._log.follow(offset, record, now):
            return
        head = self._log.head
        assert head is not None
        self._hear(now)
        if isinstance(record, Claim) and not head.ours:
            self._vigil.hold_back_anew()
        if self._tenure is not None and self._tenure.is_over(self._log):
            yield self._stand_down(on.StandDownReason.SUPERSEDED, now)
        if self._resignation is not None and head.term > self._resignation.term:
            self._end_resignation(now)

    def _suspect(self, now: float) -> on.Effect:
        head = self._log.head
        askable = head is not None and not head.ended and not head.ours
        if head is None or not askable or head.claim.address in ("", self._config.address):
            return self._start_claim()
        self._state = _State.ASKING
        self._answer_due = now + self._config.grace_seconds
        return on.AskLeader(head.term, head.claim.address)

    def _weigh(self, term: Term, now: float, *, leads: bool) -> Iterator[on.Effect]:
        head = self._log.head
        if self._state is _State.ASKING and head is not None and head.term == term:
            if leads:
                self._hear(now)
            else:
                yield self._start_claim()

    # ---- Claiming ----

    def _start_claim(self) -> on.Effect:
        self._state = _State.CLAIMING
        self._candidacy = Candidacy()
        return on.StartClaim(self._log.enlisted)

    def _end_candidacy(self) -> Candidacy | None:
        """The claim that was on its way; None where there was none."""
        candidacy, self._candidacy = self._candidacy, None
        if candidacy is not None:
            self._state = _State.FOLLOWING
        return candidacy

    def _compose(self, writer: Writer) -> None:
        if self._candidacy is not None and not self._candidacy.void:
            claim = self.claim(writer)
            self._candidacy.claims.add(claim)
            self._log.expect(claim)

    def _own(self, event: on.ClaimAcknowledged, now: float) -> Iterator[on.Effect]:
        candidacy = self._end_candidacy()
        if candidacy is None:
            return
        self._vigil.hear(now)
        head, term = self._log.head, term_of(event.offset)
        if candidacy.void or (head is not None and head.term > term):
            return
        claim = self.claim(event.writer)
        self._log.expect(claim)
        self._refusal = None
        self._state = _State.CLAIMED
        self._tenure = Tenure(term, claim, since=event.started, active=event.started)
        yield from self._notice_sleep(now)
        if not self._fit or self._stopping:
            yield from self._withdraw(on.StandDownReason.STOPPING if self._stopping else on.StandDownReason.UNFIT)

    def _fail(self, failure: on.ClaimFailed, now: float) -> None:
        candidacy = self._end_candidacy()
        if candidacy is None:
            return
        if candidacy.void:
            self._vigil.hear(now)
            return
        # A claim that failed is no sign of life.
        self._vigil.hold_back_anew(now + pause_seconds(failure.kind, self._config))
        if failure.kind is on.ClaimFailure.REFUSED:
            self._refusal = failure.message
        if failure.kind in (on.ClaimFailure.NOT_WRITTEN, on.ClaimFailure.FENCED):
            for claim in candidacy.claims:
                self._log.dismiss(claim)

    # ---- A tenure ----

    def _reign(self, now: float) -> Iterator[on.Effect]:
        tenure = self._tenure
        assert tenure is not None
        leads = self._state is _State.LEADING
        is_spent = now >= tenure.renewal if leads else not tenure.is_alone(self._log)
        if is_spent:
            yield self._stand_down(on.StandDownReason.RENEWAL, now)
            yield self._start_claim()
            return
        if not leads and now >= self._log.earlier_leases_end:
            self._state = _State.LEADING
            tenure.active = -math.inf  # a lease begins with the first batch
            yield on.Lead(tenure.term)
        if now >= tenure.active + self._config.beat_seconds:
            tenure.active = now
            yield on.SendBeat(tenure.term)

    def _stand_down(self, reason: on.StandDownReason, now: float, *, pause: float = 0.0) -> on.Effect:
        tenure = self._tenure
        assert tenure is not None
        self._tenure = None
        self._state = _State.FOLLOWING
        self._vigil.hear(now)
        self._vigil.hold_back(now + pause)
        return on.StandDown(tenure.term, reason)

    def _withdraw(self, reason: on.StandDownReason) -> Iterator[on.Effect]:
        """What becoming unfit brings about; a claim under way is resigned once it is acknowledged."""
        if self._tenure is not None:
            yield from self._resign(reason, successor="")
        elif self._state is _State.ASKING:
            self._state = _State.FOLLOWING

    def _resign(self, reason: on.StandDownReason, *, successor: str) -> Iterator[on.Effect]:
        tenure = self._tenure
        assert tenure is not None
        heirs = (heir for heir in self._log.heirs if heir != self._config.name)
        self._tenure = None
        self._state = _State.RESIGNING
        self._resignation = on.SendResign(tenure.term, tenure.claim, successor or next(heirs, ""))
        yield on.StandDown(tenure.term, reason)
        yield self._resignation

    def _end_resignation(self, now: float) -> None:
        if self._state is _State.RESIGNING:
            self._state = _State.FOLLOWING
            self._resignation = None
            self._vigil.hear(now)

    def _forget(self, now: float) -> Iterator[on.Effect]:
        self._log.forget()
        self._fit = False
        self._refusal = None
        self._vigil.hold_back_anew()
        if self._tenure is not None:
            yield self._stand_down(on.StandDownReason.MAP_LOST, now)
        if self._candidacy is not None:
            self._candidacy.void = True
        else:
            self._hear(now)
            self._end_resignation(now)
