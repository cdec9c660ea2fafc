"""How an election leads, and under which lease: the claims of `core/election.py`, one test each."""

from sharedlogkv_replica.core.election_events import (
    BatchAcknowledged,
    ClaimComposed,
    Followed,
    Lead,
    SendBeat,
    StandDown,
    StandDownReason,
    StartClaim,
    WriterLost,
)
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Resign, Term, Writer
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.tenure import RENEWAL_SECONDS
from tests.support.election_driver import MY_CLAIM, OTHER_CLAIM, SEVEN, TERM, acknowledged, candidate, claim_of, leader


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
