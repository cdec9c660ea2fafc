"""What `make bench` measures: names that stay apart, and the targets that are promised."""

from tests.bench import failover, puts


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in (*puts.LED, *puts.LEADERLESS)] + [change.name for change in failover.CHANGES]
    assert len(set(names)) == len(names)


def test_a_led_store_is_held_to_its_targets_alone_and_with_three_of_each() -> None:
    targets = {(one.size, one.connections, one.depth): str(one.target) for one in puts.LED if one.target is not None}
    bounds = {(64, 1): "≥ 1.5", (1000, 1): "≥ 3", (100, 10): "≥ 3"}
    assert targets == {(size, *clients): bound for size in (1, 3) for clients, bound in bounds.items()}


def test_twenty_crashes_and_twenty_hand_overs_are_seen() -> None:
    times = {change.name: change.times for change in failover.CHANGES}
    assert (times["failover-crash"], times["failover-transfer"]) == (20, 20)
