"""Why the autoscaler leaves the count alone: nothing to do, nothing known, or nothing that more replicas would cure."""

import pytest

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.observation import Observation
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.rules import RULES, decide
from sharedlogkv_operator.autoscaler.state import State
from tests.support.fleet import EPOCH, SETTLED, Fleet, Pod


def test_the_rules_are_tried_in_the_order_in_which_they_are_listed() -> None:
    names = [rule.__name__.strip("_") for rule in RULES]
    listed = [rule.name.lower() for rule in Rule if rule is not Rule.STEADY]
    aliases = {"straggler": "judge", "ineffective": "judge"}
    assert names == [aliases.get(name, name) for name in listed]


def test_a_store_that_keeps_up_is_left_alone() -> None:
    decision = Fleet(2).look(SETTLED)
    assert (decision.rule, decision.desired, decision.limit) == (Rule.STEADY, 2, None)


@pytest.mark.parametrize(("replicas", "desired"), [(1, 2), (2, 2), (10, 10), (12, 10)])
def test_out_of_bounds_goes_to_the_bound_at_once_with_or_without_metrics(replicas: int, desired: int) -> None:
    fleet = Fleet(replicas, policy=Policy(min_replicas=2, max_replicas=10))
    fleet.set_all(is_told=False)
    assert fleet.look().desired == desired


def test_nothing_is_decided_in_the_first_seconds() -> None:
    fleet = Fleet(2, served=6_000.0)
    assert [fleet.look().rule for _ in range(3)] == [Rule.METRICS_UNAVAILABLE] * 3
    assert fleet.look().rule is Rule.READ_STEAL


def test_metrics_unavailable_of_more_than_a_third_holds_whatever_the_others_tell() -> None:
    fleet = Fleet(6, served=6_000.0)
    fleet.look(4)
    fleet.pods["store-1"].is_told = fleet.pods["store-2"].is_told = False
    assert fleet.look().rule is Rule.READ_STEAL, "a third is not more than a third"
    fleet.pods["store-3"].is_told = False
    decision = fleet.look()
    assert (decision.rule, decision.desired) == (Rule.METRICS_UNAVAILABLE, 6)
    assert "3 of 6 serving replicas can't be asked: store-1" in decision.message


def test_missing_metrics_never_take_a_replica_away() -> None:
    fleet = Fleet(5, served=10.0)
    fleet.set_all(is_told=False)
    assert all(fleet.look().desired == 5 for _ in range(SETTLED))


def test_booting_waits_for_replicas_that_are_enough_for_the_reads_and_counts_no_lag_of_theirs() -> None:
    fleet = Fleet(3)
    fleet.pods["store-3"] = Pod(is_ready=False, age=0.0, uptime=1.0, lag=300.0)
    decision = fleet.look(6)
    assert (decision.rule, decision.desired) == (Rule.BOOTING, 3)
    assert decision.message.startswith("2 of 3 replicas serve")


def test_booting_does_not_keep_reads_from_more_replicas_than_are_on_their_way() -> None:
    fleet = Fleet(3, served=6_000.0)
    fleet.pods["store-3"] = Pod(is_ready=False, age=0.0, uptime=1.0)
    decision = fleet.look(6)
    assert decision.rule is Rule.READ_STEAL
    assert decision.desired > 3


def test_a_replica_that_never_serves_is_waited_for_ten_minutes_and_no_longer() -> None:
    fleet = Fleet(3)
    fleet.pods["store-3"] = Pod(is_ready=False, age=0.0, uptime=1.0)
    assert fleet.look(119).rule is Rule.BOOTING
    assert fleet.look(2).rule is not Rule.BOOTING


def test_nobody_serves_is_booting() -> None:
    fleet = Fleet(3)
    fleet.set_all(is_ready=False)
    assert fleet.look(SETTLED).rule is Rule.BOOTING
    assert decide(Observation(2, ()), Policy(), State(), now=EPOCH).rule is Rule.BOOTING


def test_apply_stalled_is_no_reason_for_more_replicas() -> None:
    fleet = Fleet(3)
    fleet.look(6)
    fleet.set_all(applied=0.0, lag=20.0, lag_slope=1.0)
    decision = fleet.look(6)
    assert (decision.rule, decision.desired) == (Rule.APPLY_STALLED, 3)
    assert "look at the brokers" in decision.message


def test_fetch_bound_blames_the_brokers() -> None:
    fleet = Fleet(3)
    fleet.look(6)
    fleet.set_all(applied=500.0, lag=6.0, lag_slope=0.5)
    decision = fleet.look(3)
    assert (decision.rule, decision.desired) == (Rule.FETCH_BOUND, 3)
    assert "lag is 13.5 s and grows while replicas use 26% of their CPU" in decision.message


def test_write_bound_says_what_more_replicas_can_t_do_and_what_would() -> None:
    fleet = Fleet(3, appends=9_500.0, lag=20.0, lag_slope=0.3, served=40.0)
    decision = fleet.look(10)
    assert (decision.rule, decision.desired) == (Rule.WRITE_BOUND, 3)
    assert decision.message.startswith(
        "append rate 9,500/s is close to what one replica applies, 10,000/s at 1 CPU: more replicas can't help; "
        "1.3 CPU for each would"
    )


def test_write_bound_holds_where_records_leave_no_room_for_reads() -> None:
    fleet = Fleet(3, appends=7_200.0, served=3_000.0)
    decision = fleet.look(10)
    assert (decision.rule, decision.desired) == (Rule.WRITE_BOUND, 3)
    assert "takes 72% of every replica's 1 CPU" in decision.message


def surging(*, served: float) -> Fleet:
    """Two replicas whose log has just begun to grow by twice as many records as one applies."""
    fleet = Fleet(2, served=served)
    fleet.look(SETTLED)
    fleet.appends = 20_000.0
    fleet.set_all(applied=7_000.0, lag_slope=0.6)
    return fleet


def test_a_short_surge_of_writes_orders_no_replicas_while_it_rises_nor_while_it_falls() -> None:
    fleet = surging(served=1_500.0)
    assert {fleet.look().rule for _ in range(5)} <= {Rule.STEADY, Rule.WRITE_BOUND}
    fleet.appends = 2_000.0
    fleet.set_all(applied=2_000.0, lag=0.0, lag_slope=0.0)
    assert all(fleet.look().desired == 2 for _ in range(40))


def test_a_long_surge_of_writes_spreads_the_reads_as_far_as_that_helps_and_then_holds() -> None:
    fleet = surging(served=1_500.0)
    while (spread := fleet.look()).desired == 2:
        assert spread.rule in (Rule.STEADY, Rule.WRITE_BOUND)
    # Reads take 0.6 CPU: two replicas apply 7,000 records a second each, six 9,000, and one more gains next to nothing.
    assert (spread.rule, spread.desired) == (Rule.CATCH_UP, 6)
    assert "6 replicas apply 9,0" in spread.message
    fleet.obey(spread, serves=True, served=500.0)
    fleet.set_all(served=500.0, applied=9_000.0)
    held = [fleet.look() for _ in range(20)]
    assert {(decision.rule, decision.desired) for decision in held} == {(Rule.WRITE_BOUND, 6)}


def test_a_long_surge_of_writes_without_reads_to_spread_orders_no_replicas() -> None:
    fleet = surging(served=0.0)
    assert {fleet.look().desired for _ in range(60)} == {2}
