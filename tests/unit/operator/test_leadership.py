"""Who leads, by what the replicas tell, and which pods are to go last."""

from sharedlogkv_operator.leadership import (
    LEADER_COST,
    Leader,
    LeaderReport,
    find_deletion_costs,
    find_leader,
)
from sharedlogkv_operator.pods import PodView


def leads(name: str, term: int) -> LeaderReport:
    return LeaderReport(True, name, term, "")


def follows(name: str | None, term: int | None, *, refusal: str = "") -> LeaderReport:
    return LeaderReport(False, name, term, refusal)


def pod(name: str, cost: str | None = None) -> PodView:
    return PodView(name, "10.0.0.1", is_ready=True, trouble="", deletion_cost=cost)


def test_the_one_that_says_so_leads() -> None:
    found = find_leader({"a": follows("b", 7), "b": leads("b", 7), "c": follows("b", 7)})
    assert (found.leader, found.is_told, found.refusal) == (Leader("b", 7), True, "")


def test_of_two_that_say_so_the_later_one_leads() -> None:
    assert find_leader({"a": leads("a", 9), "b": leads("b", 7)}).leader == Leader("a", 9)


def test_a_leader_that_can_t_be_asked_is_believed_of_its_followers() -> None:
    assert find_leader({"a": follows("b", 7), "c": follows(None, None)}).leader == Leader("b", 7)


def test_a_leader_that_says_it_does_not_lead_is_none_whatever_others_still_think() -> None:
    assert find_leader({"a": follows("b", 7), "b": follows("b", 7)}).leader is None


def test_nobody_asked_and_nobody_leading_are_told_apart() -> None:
    assert not find_leader({}).is_told
    assert find_leader({"a": follows(None, None)}).is_told


def test_a_refusal_of_the_log_is_passed_on() -> None:
    found = find_leader({"a": follows(None, None), "b": follows(None, None, refusal="not fenced")})
    assert found.refusal == "not fenced"


def test_the_leader_s_pod_gets_a_cost_and_the_former_leader_s_loses_it() -> None:
    pods = [pod("a", LEADER_COST), pod("b"), pod("c")]
    assert find_deletion_costs(pods, Leader("b", 7)) == {"a": None, "b": LEADER_COST}


def test_costs_that_are_right_or_somebody_else_s_are_left_alone() -> None:
    assert find_deletion_costs([pod("a", LEADER_COST), pod("b", "-5")], Leader("a", 7)) == {}


def test_no_cost_changes_while_no_leader_is_known() -> None:
    assert find_deletion_costs([pod("a", LEADER_COST)], None) == {}
