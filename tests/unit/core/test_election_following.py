"""How an election follows a leader, and suspects it: the claims of `core/election.py`, one test each.

The number of the invariant, or the source, is beside it; so in the other tests of the election.
"""

import dataclasses

import pytest

from sharedlogkv_replica.core.election_events import (
    AskLeader,
    Event,
    Fit,
    Followed,
    LeaderAnswered,
    LeaderSilent,
    StartClaim,
    Tick,
)
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Resign, Stamp, Term
from sharedlogkv_replica.core.records import Offset
from tests.support.election_driver import (
    CONFIG,
    MINE,
    OTHER_CLAIM,
    SEVEN,
    SILENCE,
    Driver,
    claim_of,
    follower,
)


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
