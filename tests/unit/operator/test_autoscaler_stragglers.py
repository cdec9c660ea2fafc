"""How the autoscaler replaces a replica that falls behind alone."""

from dataclasses import replace

import pytest

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.policy import Policy
from tests.support.fleet import SETTLED, Fleet


def straggling() -> Fleet:
    """Three replicas, one of which has been behind for a moment."""
    fleet = Fleet(3, policy=Policy(min_replicas=1, max_replicas=3))
    fleet.look(SETTLED)
    fleet.pods["store-2"].lag, fleet.pods["store-2"].lag_slope, fleet.pods["store-2"].applied = 20.0, 0.5, 1_000.0
    return fleet


def test_a_straggler_is_watched_then_another_is_started_then_it_goes() -> None:
    fleet = straggling()
    watched = fleet.look(3)
    assert (watched.rule, watched.desired) == (Rule.STRAGGLER, 3)
    surge = fleet.look()
    assert (surge.rule, surge.desired) == (Rule.STRAGGLER, 4), "one above the maximum, as in a rollout"
    fleet.obey(surge)
    assert fleet.look().rule is Rule.BOOTING
    newcomer = next(pod for pod in fleet.pods.values() if not pod.is_ready)
    newcomer.is_ready = True
    swap = fleet.look()
    assert (swap.rule, swap.desired, swap.victims) == (Rule.STRAGGLER, 3, ("store-2",))
    fleet.obey(swap)
    fleet.look()
    assert fleet.state.replacement is None
    assert fleet.look(10).rule is Rule.STEADY


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_replica_that_is_throttled_is_a_straggler_and_no_sign_of_too_many_writes(count: int) -> None:
    # At 0.1 CPU each applies 36,000 records a second at most, and at 0.012 CPU next to none of the 20,000 that come.
    fleet = Fleet(count, policy=Policy(min_replicas=count), appends=20_000.0, limit=0.1, apply_cpu=0.055, served=0.0)
    fleet.look(SETTLED)
    slow = fleet.pods["store-2"]
    slow.limit, slow.apply_cpu, slow.applied, slow.lag_slope = 0.012, 0.008, 2_000.0, 0.9
    rules = set()
    while (surge := fleet.look()).desired == count:
        rules.add(surge.rule)
    assert rules == {Rule.STEADY, Rule.STRAGGLER}
    assert (surge.rule, surge.desired) == (Rule.STRAGGLER, count + 1)
    fleet.obey(surge, serves=True, limit=0.1, apply_cpu=0.055, served=0.0)
    assert fleet.look().victims == ("store-2",)


@pytest.mark.parametrize(("most", "rule"), [(4, Rule.READ_STEAL), (2, Rule.STRAGGLER)])
def test_the_first_of_all_that_falls_behind_under_too_many_reads_is_no_straggler(most: int, rule: Rule) -> None:
    """But where no more replicas may be, one that is behind alone is replaced whatever the reads."""
    fleet = Fleet(2, served=3_400.0, policy=Policy(min_replicas=1, max_replicas=most))
    fleet.pods["store-2"].lag, fleet.pods["store-2"].lag_slope = 6.0, 0.3
    verdicts = [fleet.look() for _ in range(12)]
    assert next(decision.rule for decision in verdicts if decision.desired != 2) is rule


def test_the_next_straggler_has_to_wait() -> None:
    fleet = straggling()
    fleet.look(3)
    fleet.obey(fleet.look(), serves=True)
    fleet.obey(fleet.look())
    fleet.look()
    fleet.pods["store-3"].lag, fleet.pods["store-3"].lag_slope = 20.0, 0.5
    assert {fleet.look().desired for _ in range(35)} == {3}
    assert 4 in {fleet.look().desired for _ in range(3)}


def test_a_straggler_that_leads_stays() -> None:
    fleet = straggling()
    fleet.pods["store-2"].is_leader = True
    decision = fleet.look(20)
    assert (decision.rule, decision.desired) == (Rule.STRAGGLER, 3)
    assert "hand the leadership over" in decision.message


def test_a_straggler_that_comes_to_lead_before_another_serves_stays() -> None:
    fleet = straggling()
    fleet.obey(fleet.look(4), serves=True)
    fleet.pods["store-2"].is_leader = True
    decision = fleet.look()
    assert (decision.rule, decision.desired, decision.state.replacement) == (Rule.STRAGGLER, 3, None)
    assert decision.victims[-1] == "store-2"
    assert "leads by now" in decision.message


def test_a_replica_that_catches_up_is_no_straggler() -> None:
    fleet = straggling()
    fleet.set_all(lag_slope=-1.0)
    fleet.pods["store-2"].lag = 60.0
    assert {fleet.look().desired for _ in range(10)} == {3}


def test_a_replacement_that_never_comes_is_given_up() -> None:
    fleet = straggling()
    fleet.obey(fleet.look(4))
    decision = fleet.look(122)
    assert decision.state.replacement is None
    assert decision.desired == 3


def test_a_straggler_that_goes_by_itself_ends_its_replacement() -> None:
    fleet = straggling()
    fleet.obey(fleet.look(4), serves=True)
    fleet.pods["successor"] = fleet.pods.pop("store-2")  # the Deployment makes another at once
    decision = fleet.look()
    assert (decision.rule, decision.desired, decision.state.replacement) == (Rule.STRAGGLER, 3, None)


def test_a_straggler_that_stays_while_another_goes_in_its_place_is_given_up_and_holds_nothing_up() -> None:
    fleet = straggling()
    fleet.obey(fleet.look(4), serves=True)
    swap = fleet.look()
    assert swap.victims == ("store-2",)
    fleet.obey(replace(swap, victims=("store-1",)))
    assert "on its way out" in fleet.look(12).message
    assert fleet.state.replacement is not None
    decision = fleet.look()
    assert (decision.rule, decision.desired, decision.state.replacement) == (Rule.STRAGGLER, 3, None)
    fleet.set_all(lag=0.0, lag_slope=0.0)
    assert fleet.look(10).rule is Rule.STEADY
