"""One test for each claim that `core/election.py` makes; the number of the invariant, or the source, is beside it.

All machines have a lease of 3 s, a beat of 1 s, a grace of 0.5 s, and wait 3.15 s for a sign of life of a leader.
"""

import dataclasses

import pytest

from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.election_events import (
    AskLeader,
    BatchAcknowledged,
    ClaimAcknowledged,
    ClaimComposed,
    ClaimFailed,
    ClaimFailure,
    Effect,
    ElectionConfig,
    Event,
    Fit,
    Followed,
    HandOver,
    HeirsKnown,
    Lead,
    LeaderAnswered,
    LeaderSilent,
    MapLost,
    ResignAcknowledged,
    ResignFailed,
    SendBeat,
    SendResign,
    StandDown,
    StandDownReason,
    StartClaim,
    Stop,
    Tick,
    WriterLost,
)
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Claim, Enlisted, Resign, Stamp, Term, Writer, claim_batch
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.tenure import RENEWAL_SECONDS

CONFIG = ElectionConfig("me", "me:8081", jitter=0.0)
SILENCE = 3.151
OTHER = Writer(7, 4)
MINE = Writer(7, 5)
SEVEN = frozenset({7})
TERM = Term(100)


def claim_of(name: str, writer: Writer) -> Claim:
    return Claim(writer, name, f"{name}:8081", 3000)


OTHER_CLAIM = claim_of("other", OTHER)
MY_CLAIM = claim_of("me", MINE)


class Driver:
    """An election, and the time."""

    def __init__(self, config: ElectionConfig = CONFIG) -> None:
        self.election = Election(config)
        self.now = 1000.0

    def tell(self, *events: Event, after: float = 0.0) -> tuple[Effect, ...]:
        """What is to be done about events that all come `after` seconds from the last ones."""
        self.now += after
        return tuple(effect for event in events for effect in self.election.step(event, self.now))

    def wait(self, seconds: float) -> tuple[Effect, ...]:
        """What is to be done while `seconds` go by and nothing happens; each Tick comes when it is due."""
        end = self.now + seconds
        effects: list[Effect] = []
        while (due := self.election.next_wake(self.now)) is not None and due <= end:
            self.now = due
            effects += self.election.step(Tick(), due)
        self.now = end
        return tuple(effects)


def follower(config: ElectionConfig = CONFIG) -> Driver:
    """A fit replica that has just read a beat of the leader "other"."""
    driver = Driver(config)
    driver.tell(Followed(Offset(10), OTHER_CLAIM), Followed(Offset(11), Stamp(Term(10), 1, 0)), Fit(True))
    return driver


def candidate() -> Driver:
    """A replica whose claim is on its way, after a leader that has been silent for long."""
    driver = follower()
    assert driver.wait(SILENCE) == (AskLeader(Term(10), "other:8081"),)
    assert driver.tell(LeaderSilent(Term(10))) == (StartClaim(SEVEN),)
    driver.tell(ClaimComposed(MINE))
    return driver


def acknowledged(driver: Driver, *, offset: int = TERM, writer: Writer = MINE) -> ClaimAcknowledged:
    return ClaimAcknowledged(Offset(offset), writer, driver.now)


def leader() -> Driver:
    """A replica that leads in `TERM`, with a lease from now on."""
    driver = candidate()
    assert driver.tell(acknowledged(driver)) == ()
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == (Lead(TERM), SendBeat(TERM))
    driver.tell(BatchAcknowledged(driver.now))
    assert driver.election.lease_holds(driver.now)
    return driver


# ---- Following ----


def test_a_replica_that_is_not_fit_never_claims() -> None:
    driver = Driver()
    assert driver.tell(Followed(Offset(10), OTHER_CLAIM)) == ()
    assert driver.election.next_wake(driver.now) is None
    assert driver.tell(Tick(), after=3600) == ()


def test_where_the_log_knows_no_leader_the_claims_are_spread_by_chance_alone() -> None:
    driver = Driver(dataclasses.replace(CONFIG, jitter=0.5))
    assert driver.tell(Fit(True)) == ()
    assert driver.wait(0.09) == ()
    assert driver.wait(0.02) == (StartClaim(frozenset()),)


@pytest.mark.parametrize(
    ("heirs", "seconds"), [((), 3.15), (("me", "x"), 3.15), (("x", "me"), 3.35), (("x", "y", "z"), 3.75)]
)
def test_silence_is_suspected_after_a_lease_in_the_order_of_the_heirs(heirs: tuple[str, ...], seconds: float) -> None:
    driver = follower()
    driver.tell(Followed(Offset(12), Stamp(Term(10), 2, 0, heirs=heirs)))
    assert driver.wait(seconds - 0.01) == ()
    assert driver.wait(0.02) == (AskLeader(Term(10), "other:8081"),)


def test_every_batch_of_the_leader_is_a_sign_of_life() -> None:
    driver = follower()
    for batch in range(2, 20):
        assert driver.wait(3) == ()
        driver.tell(Followed(Offset(10 + batch), Stamp(Term(10), batch, 0)))


def test_the_lease_that_counts_is_the_one_in_the_claim() -> None:
    driver = follower()
    driver.tell(Followed(Offset(20), dataclasses.replace(OTHER_CLAIM, lease_ms=10_000)))
    assert driver.wait(10.4) == ()
    assert driver.wait(0.2) != ()


def test_a_leader_that_answers_keeps_the_candidate_waiting_for_another_lease() -> None:
    """Invariant 8; Ongaro section 9.6."""
    driver = follower()
    driver.wait(SILENCE)
    assert driver.tell(LeaderAnswered(Term(10), leads=True)) == ()
    assert driver.wait(3.1) == ()
    assert driver.wait(0.1) == (AskLeader(Term(10), "other:8081"),)


@pytest.mark.parametrize("answer", [LeaderAnswered(Term(10), leads=False), LeaderSilent(Term(10))])
def test_a_leader_that_does_not_lead_or_does_not_answer_is_succeeded(answer: Event) -> None:
    driver = follower()
    driver.wait(SILENCE)
    assert driver.tell(answer) == (StartClaim(SEVEN),)
    assert driver.election.view == LeaderView(Role.CANDIDATE)


def test_an_answer_is_not_waited_for_longer_than_a_grace() -> None:
    driver = follower()
    driver.wait(SILENCE)
    assert driver.wait(0.49) == ()
    assert driver.wait(0.02) == (StartClaim(SEVEN),)


def test_a_beat_that_comes_while_the_leader_is_asked_clears_it() -> None:
    driver = follower()
    driver.wait(SILENCE)
    driver.tell(Followed(Offset(12), Stamp(Term(10), 2, 0)))
    assert driver.tell(LeaderSilent(Term(10))) == ()
    assert driver.wait(3.1) == ()


def test_an_answer_about_another_term_says_nothing() -> None:
    driver = follower()
    driver.wait(SILENCE)
    assert driver.tell(LeaderSilent(Term(9)), LeaderAnswered(Term(11), leads=False)) == ()


def test_a_leader_without_an_address_is_not_asked() -> None:
    driver = follower()
    driver.tell(Followed(Offset(20), dataclasses.replace(OTHER_CLAIM, address="")))
    assert driver.wait(SILENCE) == (StartClaim(SEVEN),)


def test_who_was_asleep_does_not_suspect_for_what_it_did_not_hear() -> None:
    """Invariant 4."""
    driver = follower()
    assert driver.tell(Tick(), after=60) == ()
    assert driver.wait(3.1) == ()
    assert driver.wait(0.1) == (AskLeader(Term(10), "other:8081"),)


def test_who_fell_asleep_while_asking_begins_anew() -> None:
    """Invariant 4."""
    driver = follower()
    driver.wait(SILENCE)
    assert driver.tell(LeaderSilent(Term(10)), after=60) == ()


def test_silence_counts_from_when_a_replica_became_fit() -> None:
    driver = follower()
    driver.tell(Fit(False))
    driver.tell(Fit(True), after=60)
    assert driver.wait(3.1) == ()


def test_the_view_shows_the_leader_that_the_log_tells_of() -> None:
    assert follower().election.view == LeaderView(Role.FOLLOWER, Term(10), "other", "other:8081")


def test_a_record_of_an_earlier_term_says_nothing() -> None:
    """F5 of the fence: the readers' check."""
    driver = follower()
    driver.tell(Followed(Offset(20), claim_of("third", MINE)))
    driver.wait(3)
    driver.tell(Followed(Offset(21), Stamp(Term(10), 2, 0)), Followed(Offset(22), Resign(Term(10), OTHER_CLAIM, "me")))
    assert driver.wait(0.2) == (AskLeader(Term(20), "third:8081"),)


# ---- Claiming ----


def test_a_claim_is_acted_upon_only_once_it_is_applied() -> None:
    """Invariant 1."""
    driver = candidate()
    assert driver.tell(acknowledged(driver)) == ()
    assert not driver.election.may_append(driver.now)
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == (Lead(TERM), SendBeat(TERM))
    assert driver.election.may_append(driver.now)
    assert driver.election.view == LeaderView(Role.LEADER, TERM, "me", "me:8081")


def test_a_claim_may_be_applied_before_it_is_acknowledged() -> None:
    driver = candidate()
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == ()
    assert driver.tell(acknowledged(driver)) == (Lead(TERM), SendBeat(TERM))


def test_a_claim_alone_is_no_lease() -> None:
    """Invariant 2."""
    driver = candidate()
    driver.tell(acknowledged(driver), Followed(Offset(TERM), MY_CLAIM))
    assert not driver.election.lease_holds(driver.now)
    driver.tell(BatchAcknowledged(driver.now))
    assert driver.election.lease_holds(driver.now)


@pytest.mark.parametrize("seen_first", [True, False])
def test_the_earlier_of_two_claims_never_leads_once_it_has_seen_the_later(*, seen_first: bool) -> None:
    """Invariant 1."""
    driver = candidate()
    both = [Followed(Offset(TERM), MY_CLAIM), Followed(Offset(TERM + 1), claim_of("rival", Writer(7, 6)))]
    if seen_first:
        assert driver.tell(*both, acknowledged(driver)) == ()
    else:
        driver.tell(acknowledged(driver))
        assert StandDown(TERM, StandDownReason.SUPERSEDED) in driver.tell(*both)
    assert driver.election.view.name == "rival"
    assert not driver.election.may_append(driver.now)


def test_the_later_of_two_claims_does_not_wait_for_the_earlier_which_held_no_lease() -> None:
    """Invariant 3."""
    driver = candidate()
    driver.tell(acknowledged(driver, writer=Writer(7, 6)))
    driver.tell(Followed(Offset(TERM - 1), claim_of("rival", MINE)))
    assert Lead(TERM) in driver.tell(Followed(Offset(TERM), claim_of("me", Writer(7, 6))))


def test_a_new_leader_waits_out_the_lease_of_the_old_one_from_the_receipt_of_its_last_record() -> None:
    """Invariant 3; Burrows section 2.9."""
    driver = follower()
    driver.wait(SILENCE)
    driver.tell(LeaderAnswered(Term(10), leads=False), ClaimComposed(MINE), after=0.1)
    driver.tell(Followed(Offset(50), Stamp(Term(10), 2, 0)), acknowledged(driver))
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == ()
    effects = driver.wait(3.14)
    assert Lead(TERM) not in effects
    assert SendBeat(TERM) in effects, "the others must not suspect it meanwhile"
    assert not driver.election.lease_holds(driver.now)
    assert Lead(TERM) in driver.wait(0.02)


def test_a_claim_in_between_that_never_led_does_not_shorten_the_wait() -> None:
    """Invariant 3."""
    driver = candidate()
    driver.tell(Followed(Offset(50), Stamp(Term(10), 2, 0)), Followed(Offset(51), claim_of("rival", MINE)))
    driver.tell(ClaimComposed(Writer(7, 6)), acknowledged(driver, writer=Writer(7, 6)))
    assert driver.tell(Followed(Offset(TERM), claim_of("me", Writer(7, 6)))) == ()
    assert Lead(TERM) not in driver.wait(3.14)
    assert Lead(TERM) in driver.wait(0.02)


def resigned_after(*records: int) -> Driver:
    """A replica that reads at once of a leader that vanished, and of the next, with such batches and a resignation."""
    driver, rival = follower(), claim_of("rival", MINE)
    driver.tell(Followed(Offset(50), rival))
    for batch, count in enumerate(records, 1):
        driver.tell(Followed(Offset(50 + batch), Stamp(Term(50), batch, count)))
    driver.tell(Followed(Offset(80), Resign(Term(50), rival, "me")), ClaimComposed(Writer(7, 6)))
    driver.tell(acknowledged(driver, writer=Writer(7, 6)))
    return driver


def test_a_leader_in_between_that_wrote_has_waited_for_us() -> None:
    """Invariant 3. Else whoever has just replayed the log would wait for a leader that crashed long ago."""
    assert Lead(TERM) in resigned_after(0, 1).tell(Followed(Offset(TERM), claim_of("me", Writer(7, 6))))


def test_a_leader_in_between_that_sent_beats_alone_may_have_been_waiting_itself() -> None:
    """Invariant 3."""
    driver = resigned_after(0, 0)
    assert Lead(TERM) not in driver.tell(Followed(Offset(TERM), claim_of("me", Writer(7, 6))))
    assert Lead(TERM) not in driver.wait(3.14)
    assert Lead(TERM) in driver.wait(0.02)


def test_nothing_is_waited_for_after_a_resignation() -> None:
    """Invariant 3; Ongaro section 3.10."""
    driver = follower()
    assert driver.tell(Followed(Offset(12), Resign(Term(10), OTHER_CLAIM, "me"))) == (StartClaim(SEVEN),)
    driver.tell(ClaimComposed(MINE), acknowledged(driver))
    assert Lead(TERM) in driver.tell(Followed(Offset(TERM), MY_CLAIM))


@pytest.mark.parametrize(("successor", "seconds"), [("third", 0.7), ("", 0.2)])
def test_others_than_the_named_successor_claim_by_rank_and_give_it_a_start(successor: str, seconds: float) -> None:
    driver = follower()
    driver.tell(Followed(Offset(12), Stamp(Term(10), 2, 0, heirs=("third", "me"))))
    assert driver.tell(Followed(Offset(13), Resign(Term(10), OTHER_CLAIM, successor))) == ()
    assert driver.wait(seconds - 0.01) == ()
    assert driver.wait(0.02) == (StartClaim(SEVEN),)


def test_a_resignation_is_understood_without_the_claim_that_compaction_dropped() -> None:
    driver = Driver()
    assert driver.tell(Followed(Offset(13), Resign(Term(10), OTHER_CLAIM, "me")), Fit(True)) == (StartClaim(SEVEN),)


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [(ClaimFailure.NOT_WRITTEN, 1.0), (ClaimFailure.UNKNOWN, 0.5), (ClaimFailure.FENCED, 3.15)],
)
def test_a_claim_that_failed_is_followed_by_a_pause_and_a_new_question(failure: ClaimFailure, seconds: float) -> None:
    driver = candidate()
    assert driver.tell(ClaimFailed(failure)) == ()
    assert driver.wait(seconds - 0.01) == ()
    assert driver.wait(0.02) == (AskLeader(Term(10), "other:8081"),)


def test_a_refusal_is_shown_and_tried_again_after_ten_seconds() -> None:
    driver = candidate()
    driver.tell(ClaimFailed(ClaimFailure.REFUSED, "allow Write on the transactional id"))
    assert driver.election.view.refusal == "allow Write on the transactional id"
    assert driver.wait(9.9) == ()
    driver.wait(0.2)
    assert driver.tell(LeaderSilent(Term(10))) == (StartClaim(SEVEN),)
    driver.tell(acknowledged(driver))
    assert driver.election.view.refusal is None


def test_a_claim_of_unknown_outcome_that_appears_is_ours_and_nobody_leads_with_it() -> None:
    """Invariant 5."""
    driver = candidate()
    driver.tell(ClaimFailed(ClaimFailure.UNKNOWN))
    assert driver.tell(Followed(Offset(50), MY_CLAIM), after=0.3) == ()
    assert driver.election.view == LeaderView(Role.FOLLOWER)
    assert not driver.election.answers_for(Term(50), driver.now)
    assert driver.wait(0.49) == ()
    assert driver.wait(0.02) == (StartClaim(SEVEN),)
    driver.tell(ClaimComposed(Writer(7, 6)), acknowledged(driver, writer=Writer(7, 6)))
    assert Lead(TERM) in driver.tell(Followed(Offset(TERM), claim_of("me", Writer(7, 6))))


def test_a_claim_that_was_never_written_is_not_ours_where_another_replica_got_its_name_in_the_log() -> None:
    driver = Driver(dataclasses.replace(CONFIG, address=""))
    driver.tell(Fit(True), ClaimComposed(MINE), ClaimFailed(ClaimFailure.NOT_WRITTEN))
    driver.tell(Followed(Offset(50), driver.election.claim(MINE)))
    assert driver.election.view.term == 50


def test_an_acknowledgement_without_a_claim_on_its_way_changes_nothing() -> None:
    driver = follower()
    assert driver.tell(acknowledged(driver), ClaimComposed(MINE), ClaimFailed(ClaimFailure.UNKNOWN)) == ()
    assert driver.election.view.name == "other"


def test_one_claim_at_most_is_on_its_way() -> None:
    """Invariant 6."""
    driver = candidate()
    assert driver.wait(3600) == ()
    assert driver.tell(Followed(Offset(50), Resign(Term(10), OTHER_CLAIM, "me"))) == ()


def test_a_candidate_that_slept_over_its_acknowledgement_does_not_lead() -> None:
    """Invariant 4."""
    driver = candidate()
    started = driver.now
    driver.tell(Followed(Offset(TERM), MY_CLAIM), after=60)
    effects = driver.tell(ClaimAcknowledged(Offset(TERM), MINE, started))
    assert effects == (StandDown(TERM, StandDownReason.SUSPENDED),)


def alone(writer: Writer, *others: int) -> list[Event]:
    """What is read of a claim of "me" at `TERM`, which has shut out the other producer ids."""
    records = claim_batch(claim_of("me", writer), enlisted=others)
    return [Followed(Offset(TERM - len(records) + 1 + index), record) for index, record in enumerate(records)]


def test_a_claim_of_a_new_producer_id_shuts_out_the_old_one_whatever_its_epoch() -> None:
    """F1 of the fence."""
    driver = candidate()
    driver.tell(ClaimComposed(Writer(9, 0)), acknowledged(driver, writer=Writer(9, 0)))
    driver.tell(Followed(Offset(TERM - 5), claim_of("rival", MINE)))
    assert Lead(TERM) in driver.tell(*alone(Writer(9, 0), 7))


def test_a_candidate_that_read_late_claims_again_to_shut_out_the_writer_it_did_not_know_of() -> None:
    """Invariant 1; F1 of the fence: the epoch is one of a producer id, and that had changed twice."""
    driver = candidate()
    driver.tell(ClaimComposed(Writer(9, 0)), acknowledged(driver, writer=Writer(9, 0)))
    driver.tell(Followed(Offset(TERM - 5), claim_of("rival", Writer(8, 0))))
    assert driver.tell(*alone(Writer(9, 0), 7)) == (
        StandDown(TERM, StandDownReason.RENEWAL),
        StartClaim(frozenset({8, 9})),
    )


@pytest.mark.parametrize("compacted", [True, False])
def test_whom_a_candidate_that_died_did_not_shut_out_the_next_one_does(*, compacted: bool) -> None:
    """Invariant 1: the book is in the log, so that it outlives the candidate, and compaction too."""
    driver = Driver()
    old = Enlisted(7) if compacted else OTHER_CLAIM
    driver.tell(Followed(Offset(10), old), Followed(Offset(20), claim_of("died", Writer(8, 0))), Fit(True))
    assert driver.wait(SILENCE) == (AskLeader(Term(20), "died:8081"),)
    assert driver.tell(LeaderSilent(Term(20))) == (StartClaim(frozenset({7, 8})),)
    driver.tell(ClaimComposed(Writer(8, 1)), acknowledged(driver, writer=Writer(8, 1)))
    assert Lead(TERM) in driver.tell(*alone(Writer(8, 1), 7, 8))


def test_a_leader_whom_a_later_claim_has_not_shut_out_holds_its_lease_by_what_it_still_writes() -> None:
    """Invariant 3."""
    driver = follower()
    driver.tell(Followed(Offset(20), claim_of("died", Writer(8, 0))))
    driver.wait(3)
    driver.tell(Followed(Offset(21), Stamp(Term(10), 2, 0)))
    driver.wait(0.5)
    driver.tell(LeaderSilent(Term(20)), ClaimComposed(Writer(8, 1)), acknowledged(driver, writer=Writer(8, 1)))
    assert driver.tell(*alone(Writer(8, 1), 7, 8)) == ()
    assert Lead(TERM) not in driver.wait(2.6)
    assert Lead(TERM) in driver.wait(0.1)


# ---- Leading ----


def test_a_lease_counts_from_before_the_production_of_what_was_acknowledged() -> None:
    """Invariant 2; Ongaro section 6.4.1."""
    driver = leader()
    started = driver.now
    driver.tell(BatchAcknowledged(started), after=0.9)
    assert driver.election.lease_holds(started + 2.99)
    assert not driver.election.lease_holds(started + 3)


def test_acknowledgements_out_of_order_do_not_shorten_a_lease() -> None:
    driver = leader()
    driver.tell(BatchAcknowledged(driver.now), BatchAcknowledged(driver.now - 1))
    assert driver.election.lease_holds(driver.now + 2.99)


def test_an_idle_leader_beats() -> None:
    driver = leader()
    assert driver.wait(0.99) == ()
    assert driver.wait(0.02) == (SendBeat(TERM),)


def test_a_batch_is_a_beat() -> None:
    driver = leader()
    for _ in range(20):
        assert driver.wait(0.9) == ()
        driver.tell(BatchAcknowledged(driver.now))


def test_a_leader_without_acknowledgements_answers_no_reads_and_then_stands_down() -> None:
    """Invariants 2 and 4."""
    driver = leader()
    assert driver.wait(3) == (SendBeat(TERM),) * 3
    assert not driver.election.lease_holds(driver.now)
    assert driver.election.may_append(driver.now)
    assert driver.wait(2.99) == (SendBeat(TERM),) * 2
    assert driver.wait(0.02) == (StandDown(TERM, StandDownReason.SUSPENDED),)
    assert driver.wait(0.5) == (StartClaim(SEVEN),), "it was awake, so a later claim would have been read"


def test_a_leader_that_was_asleep_stands_down_before_it_writes() -> None:
    """Invariant 4; F5 of the fence."""
    driver = leader()
    driver.now += 60
    assert not driver.election.may_append(driver.now)
    assert driver.tell(BatchAcknowledged(driver.now - 60)) == (StandDown(TERM, StandDownReason.SUSPENDED),)
    assert driver.wait(3.1) == ()


def test_a_leader_that_sees_a_later_claim_follows_it() -> None:
    """Invariant 1."""
    driver = leader()
    assert driver.tell(Followed(Offset(200), claim_of("rival", Writer(7, 6)))) == (
        StandDown(TERM, StandDownReason.SUPERSEDED),
    )
    assert not driver.election.lease_holds(driver.now)
    assert driver.election.view == LeaderView(Role.FOLLOWER, Term(200), "rival", "rival:8081")


def test_a_resignation_of_the_leader_before_that_is_read_late_does_not_end_our_own_term() -> None:
    driver = candidate()
    driver.tell(acknowledged(driver))
    assert driver.tell(Followed(Offset(90), Resign(Term(10), OTHER_CLAIM, ""))) == ()
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == (Lead(TERM), SendBeat(TERM))


def test_a_fenced_leader_waits_for_the_claim_that_fenced_it() -> None:
    driver = leader()
    assert driver.tell(WriterLost(fenced=True)) == (StandDown(TERM, StandDownReason.WRITER_LOST),)
    assert driver.wait(3.1) == ()
    assert driver.wait(0.1) == (StartClaim(SEVEN),)


def test_a_leader_that_does_not_know_what_became_of_its_batch_claims_anew_and_waits_for_nobody() -> None:
    """F6 of the fence; invariant 3."""
    driver = leader()
    driver.tell(WriterLost(fenced=False))
    assert driver.election.view == LeaderView(Role.FOLLOWER)
    assert driver.wait(0.6) == (StartClaim(SEVEN),)
    driver.tell(ClaimComposed(Writer(7, 6)), acknowledged(driver, offset=200, writer=Writer(7, 6)))
    assert Lead(Term(200)) in driver.tell(Followed(Offset(200), claim_of("me", Writer(7, 6))))


def test_a_claim_is_renewed_twice_a_day() -> None:
    """F2 of the fence."""
    driver = leader()
    end = driver.now + RENEWAL_SECONDS
    while driver.now + 1 < end:
        assert driver.wait(1) == (SendBeat(TERM),)
        driver.tell(BatchAcknowledged(driver.now))
    assert driver.wait(1)[-2:] == (StandDown(TERM, StandDownReason.RENEWAL), StartClaim(SEVEN))


def test_peers_are_told_the_truth() -> None:
    driver = leader()
    assert driver.election.answers_for(TERM, driver.now)
    assert not driver.election.answers_for(Term(10), driver.now)
    assert not driver.election.answers_for(TERM, driver.now + 3)


# ---- Ending ----


def test_a_leader_hands_over_to_whom_a_person_names() -> None:
    driver = leader()
    assert driver.tell(HandOver("third")) == (
        StandDown(TERM, StandDownReason.HANDED_OVER),
        SendResign(TERM, MY_CLAIM, "third"),
    )
    assert not driver.election.lease_holds(driver.now), "it is given up before the resignation is sent"
    assert driver.tell(ResignAcknowledged()) == ()
    assert driver.wait(3.1) == (), "the successor has the first word"


def test_a_leader_hands_over_to_the_best_heir_where_nobody_is_named() -> None:
    driver = leader()
    driver.tell(HeirsKnown(["me", "third", "fourth"]))
    assert driver.tell(HandOver(""))[1] == SendResign(TERM, MY_CLAIM, "third")


def test_a_follower_has_nothing_to_hand_over_and_a_leader_not_to_itself() -> None:
    assert follower().tell(HandOver("third"), HeirsKnown(["x"])) == ()
    assert leader().tell(HandOver("me")) == ()


@pytest.mark.parametrize(("event", "reason"), [(Stop(), StandDownReason.STOPPING), (Fit(False), StandDownReason.UNFIT)])
def test_a_leader_that_stops_or_is_no_longer_fit_resigns(event: Event, reason: StandDownReason) -> None:
    driver = leader()
    driver.tell(HeirsKnown(["third"]))
    assert driver.tell(event) == (StandDown(TERM, reason), SendResign(TERM, MY_CLAIM, "third"))
    assert driver.tell(ResignAcknowledged()) == ()
    assert driver.wait(3600) == ()


@pytest.mark.parametrize("event", [Stop(), Fit(False)])
def test_a_claim_that_is_acknowledged_too_late_is_resigned_at_once(event: Event) -> None:
    driver = candidate()
    assert driver.tell(event) == ()
    effects = driver.tell(acknowledged(driver))
    assert SendResign(TERM, MY_CLAIM, "") in effects
    assert not any(isinstance(effect, Lead) for effect in effects)


def test_who_stops_never_claims_again() -> None:
    driver = follower()
    driver.tell(Stop())
    assert driver.tell(Fit(True), Followed(Offset(12), Resign(Term(10), OTHER_CLAIM, "me"))) == ()
    assert driver.wait(3600) == ()


@pytest.mark.parametrize("event", [ResignFailed(), WriterLost(fenced=False)])
def test_where_a_resignation_failed_somebody_leads_again_soon(event: Event) -> None:
    driver = leader()
    driver.tell(HandOver("third"), event)
    assert driver.wait(0.6) == (StartClaim(SEVEN),)


def test_a_lost_map_ends_everything() -> None:
    driver = leader()
    assert driver.tell(MapLost()) == (StandDown(TERM, StandDownReason.MAP_LOST),)
    assert driver.election.view == LeaderView(Role.FOLLOWER)
    assert driver.wait(3600) == ()
    assert driver.tell(Fit(True)) == (StartClaim(frozenset()),)


def test_a_claim_of_a_log_that_is_gone_is_not_led_with() -> None:
    driver = candidate()
    driver.tell(MapLost(), Fit(True))
    assert driver.wait(3600) == (), "one claim at most is on its way"
    assert driver.tell(acknowledged(driver)) == (StartClaim(frozenset()),)


def test_a_lease_of_a_leader_outlives_the_log_that_told_of_it() -> None:
    """Invariant 3."""
    driver = follower()
    assert driver.tell(MapLost(), Fit(True)) == (StartClaim(frozenset()),)
    driver.tell(ClaimComposed(MINE), acknowledged(driver, offset=5))
    assert Lead(Term(5)) not in driver.tell(Followed(Offset(5), MY_CLAIM))
    assert Lead(Term(5)) in driver.wait(SILENCE)


def test_a_leader_of_the_next_log_has_not_waited_for_that_of_the_last_one() -> None:
    """Invariant 3."""
    driver, rival = follower(), claim_of("rival", MINE)
    driver.tell(MapLost(), Fit(False), Followed(Offset(0), rival), Followed(Offset(1), Stamp(Term(0), 1, 1)), Fit(True))
    assert StartClaim(SEVEN) in driver.tell(Followed(Offset(3), Resign(Term(0), rival, "me")))
    driver.tell(ClaimComposed(Writer(7, 6)), acknowledged(driver, offset=5, writer=Writer(7, 6)))
    assert Lead(Term(5)) not in driver.tell(Followed(Offset(5), claim_of("me", Writer(7, 6))))
    assert Lead(Term(5)) in driver.wait(SILENCE)


@pytest.mark.parametrize("event", [BatchAcknowledged(1000.0), WriterLost(), ResignAcknowledged(), ResignFailed()])
def test_what_does_not_fit_the_state_changes_nothing(event: Event) -> None:
    driver = follower()
    assert driver.tell(event) == ()
    assert driver.wait(3.1) == ()
    assert driver.wait(0.1) == (AskLeader(Term(10), "other:8081"),)
