"""When the autoscaler adds replicas, within which limits, and how it judges whether they helped."""

from dataclasses import replace

import pytest

from sharedlogkv_operator.autoscaler.decision import Limit, Rule
from sharedlogkv_operator.autoscaler.policy import Policy
from tests.support.fleet import SETTLED, Fleet


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


def scaled_up(*, reads: float = 4_000.0, **newcomers: float) -> Fleet:
    """Two replicas, overloaded with `reads` each, to which more were added, that serve and do as `newcomers` says."""
    fleet = Fleet(2, served=reads)
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


def test_clients_that_keep_to_the_replicas_they_know_make_no_stragglers_of_these() -> None:
    fleet = scaled_up(reads=7_000.0, served=0.0)
    assert fleet.replicas > 4, "most are new"
    for number, slope in ((1, 0.3), (2, 0.4)):
        fleet.pods[f"store-{number}"].lag, fleet.pods[f"store-{number}"].lag_slope = 20.0, slope
    verdicts = [fleet.look() for _ in range(7)]
    assert Rule.STRAGGLER not in {decision.rule for decision in verdicts}
    assert (verdicts[-1].rule, verdicts[-1].desired) == (Rule.INEFFECTIVE, 2)


def test_a_lag_that_falls_for_a_moment_is_no_proof_that_a_scale_up_helped() -> None:
    fleet = Fleet(2, served=4_000.0, lag=20.0, lag_slope=0.2)
    fleet.obey(fleet.look(4), serves=True, age=1.0, served=0.0)
    fleet.set_all(lag_slope=-0.1)
    assert fleet.look(7).rule is Rule.INEFFECTIVE


@pytest.mark.parametrize(("takes", "rule"), [(True, Rule.READ_STEAL), (False, Rule.INEFFECTIVE)])
def test_one_more_than_many_has_helped_where_it_takes_its_share(takes: bool, rule: Rule) -> None:
    """The twelfth takes a twelfth off each, which is less than a tenth."""
    fleet = Fleet(11, served=3_500.0, policy=Policy(max_replicas=12))
    fleet.obey(fleet.look(4), serves=True, age=1.0, served=0.0)
    assert fleet.replicas == 12
    if takes:
        fleet.set_all(served=3_500.0 * 11 / 12)
    assert fleet.look(7).rule is rule


def test_a_scale_up_whose_replicas_never_serve_keeps_no_straggler() -> None:
    fleet = scaled_up(served=0.0)
    for name, pod in fleet.pods.items():
        pod.is_ready = name in ("store-1", "store-2")
    count = fleet.replicas
    fleet.pods["store-2"].lag = 20.0
    assert {fleet.look().rule for _ in range(119)} == {Rule.BOOTING}
    surge = next(decision for decision in (fleet.look() for _ in range(5)) if decision.desired != count)
    assert (surge.rule, surge.desired) == (Rule.STRAGGLER, count + 1)


def test_a_scale_up_during_which_load_grew_is_not_blamed_for_it() -> None:
    fleet = scaled_up()
    fleet.set_all(served=4_400.0)
    assert fleet.look(7).rule is not Rule.INEFFECTIVE


def test_a_count_that_somebody_else_changed_ends_the_trial() -> None:
    fleet = scaled_up(served=0.0)
    fleet.replicas += 1
    assert fleet.look().state.trial is None
