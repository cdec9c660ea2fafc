"""How an election hands over, stops or loses its map: the claims of `core/election.py`, one test each."""

import pytest

from sharedlogkv_replica.core.election_events import (
    AskLeader,
    BatchAcknowledged,
    ClaimComposed,
    Event,
    Fit,
    Followed,
    HandOver,
    HeirsKnown,
    Lead,
    MapLost,
    ResignAcknowledged,
    ResignFailed,
    SendResign,
    StandDown,
    StandDownReason,
    StartClaim,
    Stop,
    WriterLost,
)
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Resign, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset
from tests.support.election_driver import (
    MINE,
    MY_CLAIM,
    OTHER_CLAIM,
    SEVEN,
    SILENCE,
    TERM,
    acknowledged,
    candidate,
    claim_of,
    follower,
    leader,
)


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
