"""The rules by which replicas are added and taken away, in their order."""

from dataclasses import replace

import pytest

from sharedlogkv_operator.autoscaler.decision import Limit, Rule
from sharedlogkv_operator.autoscaler.observation import Observation
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.rules import RULES, decide
from sharedlogkv_operator.autoscaler.state import State
from tests.support.fleet import EPOCH, Fleet, Pod

SETTLED = 100
"""Looks after which averages and the stabilisation window know nothing else."""


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


def test_read_steal_adds_what_keeps_reads_and_records_within_their_share() -> None:
    fleet = Fleet(2)
    fleet.look(4)
    fleet.set_all(served=5_000.0, shed=1_000.0)
    decision = fleet.look(10)
    # 12,000 requests a second take 2.4 CPU, and each replica has 0.75 - 0.2 for them.
    assert (decision.rule, decision.desired, decision.limit) == (Rule.READ_STEAL, 5, None)
    assert decision.message == (
        "requests take 2.40 CPU and records 0.20 CPU of each replica's 1: 5 replicas keep that below 75%"
    )


def test_a_little_more_than_there_is_must_last_for_half_a_minute() -> None:
    fleet = Fleet(4, served=2_500.0)
    fleet.look(SETTLED)
    fleet.set_all(served=3_200.0)  # which takes 2.56 CPU, and 4.7 replicas
    assert {fleet.look().desired for _ in range(6)} == {4}
    assert 5 in {fleet.look().desired for _ in range(6)}


def test_a_little_more_than_there_is_for_a_moment_adds_nothing() -> None:
    fleet = Fleet(4, served=2_500.0)
    fleet.look(SETTLED)
    for served in (3_200.0, 2_500.0) * 10:
        fleet.set_all(served=served)
        assert fleet.look(2).desired == 4


def test_records_that_leave_next_to_nothing_order_no_replicas_for_the_sake_of_what_none_can_share() -> None:
    fleet = Fleet(1, appends=690.0, limit=0.1, served=0.4)
    assert {fleet.look().desired for _ in range(20)} == {1}


def test_the_most_replicas_are_a_limit_that_is_told() -> None:
    fleet = Fleet(2, policy=Policy(min_replicas=1, max_replicas=3), served=6_000.0)
    decision = fleet.look(4)
    assert (decision.desired, decision.limit) == (3, Limit.MAXIMUM)
    fleet.obey(decision, serves=True, age=700.0, served=6_000.0)
    held = fleet.look(4)
    assert (held.rule, held.desired, held.limit) == (Rule.READ_STEAL, 3, Limit.MAXIMUM)


def test_the_brokers_egress_is_a_limit_that_is_told() -> None:
    # Each replica fetches 2,000 records of 100 bytes a second.
    policy = Policy(min_replicas=1, max_broker_egress_bytes_per_second=650_000)
    decision = Fleet(2, policy=policy, served=6_000.0).look(4)
    assert (decision.desired, decision.limit) == (3, Limit.EGRESS)


def test_a_scale_up_window_waits_for_needs_that_last() -> None:
    fleet = Fleet(2, policy=Policy(min_replicas=1, scale_up_window_seconds=30.0))
    fleet.look(SETTLED)
    fleet.set_all(served=6_000.0)
    assert {fleet.look().desired for _ in range(6)} == {2}
    assert fleet.look(3).desired > 2


def test_catch_up_adds_replicas_only_as_far_as_fewer_reads_speed_it_up() -> None:
    policy = Policy(min_replicas=1, read_utilization=0.9, catch_up_seconds=10)
    fleet = Fleet(2, policy=policy, served=2_500.0, lag=120.0)
    decision = fleet.look(4)
    # Reads take 1 CPU: with 2 replicas each gains 3,000 records a second on the log, with 9 6,900, with 10 next to none
    # more: all too slow for 10 s.
    assert (decision.rule, decision.desired) == (Rule.CATCH_UP, 9)
    assert "lag is 120.0 s, 240,000 records" in decision.message


def test_catch_up_holds_where_it_is_quick_enough() -> None:
    fleet = Fleet(2, lag=20.0, lag_slope=-0.5, served=500.0)
    decision = fleet.look(4)
    assert (decision.rule, decision.desired) == (Rule.CATCH_UP, 2)


def test_catch_up_adds_nothing_where_there_are_no_reads_to_share() -> None:
    fleet = Fleet(2, lag=600.0, lag_slope=-1.0, served=0.0, serve_cpu=0.001)
    decision = fleet.look(4)
    assert (decision.rule, decision.desired) == (Rule.CATCH_UP, 2)


def scaled_up(**newcomers: float) -> Fleet:
    """Two overloaded replicas to which more were added, that serve and do as `newcomers` says."""
    fleet = Fleet(2, served=4_000.0)
    fleet.obey(fleet.look(4), serves=True, age=1.0, **newcomers)
    return fleet


def test_a_scale_up_that_took_nothing_off_the_others_is_undone_and_not_tried_for_a_while() -> None:
    fleet = scaled_up(served=0.0)
    count = fleet.replicas
    verdicts = [fleet.look() for _ in range(7)]
    assert {decision.desired for decision in verdicts[:-1]} == {count}
    undone = verdicts[-1]
    assert (undone.rule, undone.desired) == (Rule.INEFFECTIVE, 2)
    assert not {"store-1", "store-2"} & set(undone.victims), "those that serve stay"
    fleet.obey(undone)
    blocked = fleet.look(100)
    assert (blocked.rule, blocked.desired) == (Rule.INEFFECTIVE, 2)
    assert fleet.look(25).rule is Rule.READ_STEAL


def test_the_time_until_the_next_try_doubles_and_ends_with_one_that_helps() -> None:
    fleet = scaled_up(served=0.0)
    fleet.obey(fleet.look(7))
    assert fleet.state.backoff_seconds == 600
    fleet.obey(fleet.look(121), serves=True, age=1.0, served=0.0)
    fleet.obey(fleet.look(7))
    assert fleet.state.backoff_seconds == 1200
    fleet.state = replace(fleet.state, blocked_until=0.0)
    fleet.obey(fleet.look(), serves=True, age=1.0)
    fleet.set_all(served=8_000.0 / fleet.replicas)
    fleet.look(8)
    assert (fleet.state.trial, fleet.state.backoff_seconds) == (None, 0.0)


def test_a_scale_up_that_helped_stays() -> None:
    fleet = scaled_up(served=2_000.0)
    count = fleet.replicas
    fleet.set_all(served=8_000.0 / count)
    assert {fleet.look().desired for _ in range(20)} == {count}


def test_a_scale_up_during_which_load_grew_is_not_blamed_for_it() -> None:
    fleet = scaled_up()
    fleet.set_all(served=4_400.0)
    assert fleet.look(7).rule is not Rule.INEFFECTIVE


def test_a_count_that_somebody_else_changed_ends_the_trial() -> None:
    fleet = scaled_up(served=0.0)
    fleet.replicas += 1
    assert fleet.look().state.trial is None


def test_down_takes_one_at_a_time_after_the_window() -> None:
    fleet = Fleet(5, served=1_000.0)
    falls = []
    for look in range(200):
        decision = fleet.look()
        if decision.desired != fleet.replicas:
            falls.append((look, fleet.replicas, decision.desired, decision.rule))
            fleet.obey(decision)
            fleet.set_all(served=5_000.0 / fleet.replicas)
    # 5,000 requests take 1 CPU: with the reserve 2 replicas are enough.
    assert [(before, after) for _, before, after, _ in falls] == [(5, 4), (4, 3), (3, 2)]
    assert {rule for *_, rule in falls} == {Rule.DOWN}
    assert falls[0][0] >= 59, "the window"
    assert falls[1][0] - falls[0][0] >= 6, "the period"


def test_down_keeps_a_reserve() -> None:
    # 5,400 requests take 1.08 CPU, which 2 replicas would just take.
    fleet = Fleet(3, served=5_400.0 / 3)
    assert {fleet.look().desired for _ in range(SETTLED)} == {3}


def test_down_waits_while_anybody_is_behind() -> None:
    fleet = Fleet(5, served=10.0)
    fleet.set_all(lag=3.0)
    fleet.pods["store-1"].lag = 6.0
    assert {fleet.look().desired for _ in range(SETTLED)} == {5}


def test_down_ends_at_the_minimum() -> None:
    fleet = Fleet(2, policy=Policy(min_replicas=2), served=1.0)
    assert {fleet.look().desired for _ in range(SETTLED)} == {2}


def test_an_operator_that_was_restarted_takes_a_whole_window_before_it_goes_down() -> None:
    fleet = Fleet(5, served=10.0)
    fleet.look(58)
    fleet.state = State()
    assert {fleet.look().desired for _ in range(59)} == {5}
    assert fleet.look(2).desired == 4


def test_the_leader_goes_last_and_whoever_is_missed_least_first() -> None:
    fleet = Fleet(4, served=10.0)
    fleet.pods["store-1"].is_leader = True
    fleet.pods["store-3"].age = 5_000.0
    fleet.pods["store-4"].age = 100.0
    victims = next(decision.victims for decision in iter(fleet.look, None) if decision.victims)
    assert victims == ("store-4", "store-2", "store-3", "store-1")


def test_the_rules_are_tried_in_the_order_in_which_they_are_listed() -> None:
    names = [rule.__name__.strip("_") for rule in RULES]
    listed = [rule.name.lower() for rule in Rule if rule is not Rule.STEADY]
    aliases = {"straggler": "judge", "ineffective": "judge"}
    assert names == [aliases.get(name, name) for name in listed]
