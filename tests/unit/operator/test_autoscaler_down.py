"""When the autoscaler takes a replica away, and which."""

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.state import State
from tests.support.fleet import SETTLED, Fleet


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
