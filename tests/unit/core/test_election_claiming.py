"""How an election claims, and waits out whoever led before: the claims of `core/election.py`, one test each."""

import dataclasses

import pytest

from sharedlogkv_replica.core.election_events import (
    AskLeader,
    BatchAcknowledged,
    ClaimAcknowledged,
    ClaimComposed,
    ClaimFailed,
    ClaimFailure,
    Event,
    Fit,
    Followed,
    Lead,
    LeaderAnswered,
    LeaderSilent,
    SendBeat,
    StandDown,
    StandDownReason,
    StartClaim,
)
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Enlisted, Resign, Stamp, Term, Writer, claim_batch
from sharedlogkv_replica.core.records import Offset
from tests.support.election_driver import (
    CONFIG,
    MINE,
    MY_CLAIM,
    OTHER_CLAIM,
    SEVEN,
    SILENCE,
    TERM,
    Driver,
    acknowledged,
    candidate,
    claim_of,
    follower,
)


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
