"""The autoscaler beside others in a simulated store: what holds in every scenario, for every seed."""

import functools
from pathlib import Path

import pytest

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.model import USUAL_SECONDS
from sharedlogkv_operator.autoscaler.rules import FIRST_SECONDS
from sharedlogkv_operator.autoscaler.scene import DOUBT_SECONDS
from tests.simulation.clairvoyant import BOOT_SECONDS, CATCH_UP_SECONDS, Bounds, find_bounds
from tests.simulation.report import OURS, SEEDS, draw, render_table, render_waste
from tests.simulation.scalers import LOOK_SECONDS, TARGET_LAG_SECONDS, Ours, Restarted
from tests.simulation.scenarios import SCALERS, SCENARIOS, Result, Scenario, play
from tests.simulation.world import RECORD_COST, REPLAY_RECORDS, REQUEST_COST

DOCS = Path(__file__).parents[2] / "docs"
OTHERS = tuple(scaler for scaler in SCALERS if scaler != OURS)
BY_LAG = ("KEDA, sum of lag", "HPA, greatest lag")
NAMES = {scenario.name: scenario for scenario in SCENARIOS}
CURABLE_BY_NOBODY = "write surge above the ceiling"


@functools.cache
def result(scenario: str, scaler: str, seed: int) -> Result:
    return play(NAMES[scenario], SCALERS[scaler](), seed=seed)


@functools.cache
def bounds(scenario: str, seed: int) -> Bounds:
    return find_bounds(NAMES[scenario], seed=seed)


every = pytest.mark.parametrize("seed", SEEDS)
everywhere = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@every
@everywhere
def test_the_lag_bound_is_kept_with_a_boot_to_spare(scenario: Scenario, seed: int) -> None:
    assert result(scenario.name, OURS, seed).late_seconds <= (
        bounds(scenario.name, seed).least_late_seconds + CATCH_UP_SECONDS
    )


@every
@everywhere
def test_no_other_is_late_for_less_unless_it_takes_over_twice_the_pods_above_the_apply_ceiling(
    scenario: Scenario, seed: int
) -> None:
    """But for what a single replica is late that has just booted: by chance one scaler takes a step more than another.

    It is behind by the 2,000 records a second of its replay, and with the usual reserve makes up for 3,000 a second.
    """
    ours = result(scenario.name, OURS, seed)
    boot_seconds = (REPLAY_RECORDS * RECORD_COST - TARGET_LAG_SECONDS) * 2_000 / 3_000
    for other in OTHERS:
        theirs = result(scenario.name, other, seed)
        if ours.late_seconds > theirs.late_seconds + boot_seconds:
            assert scenario.name == CURABLE_BY_NOBODY, other
            assert theirs.pod_minutes > 2 * ours.pod_minutes, other


@every
def test_above_the_apply_ceiling_half_of_what_others_take_can_t_be_as_quick_even_with_foresight(seed: int) -> None:
    known = bounds(CURABLE_BY_NOBODY, seed)
    for other in OTHERS:
        theirs = result(CURABLE_BY_NOBODY, other, seed)
        assert known.least_late_within(theirs.pod_minutes / 2) > theirs.late_seconds, other


@every
def test_above_the_apply_ceiling_foresight_with_as_many_pods_is_hardly_quicker(seed: int) -> None:
    """A surge orders replicas when it has become usual, after a minute, and they serve a boot later.

    For so long two replicas apply 2,000 records a second less each than six or seven do; and these gain 6,900 a second
    on the log when the surge is over.
    """
    ours = result(CURABLE_BY_NOBODY, OURS, seed)
    least = bounds(CURABLE_BY_NOBODY, seed).least_late_within(ours.pod_minutes)
    assert ours.late_seconds <= least + (USUAL_SECONDS + BOOT_SECONDS) * 2_000 / 6_900


@every
@everywhere
def test_whoever_keeps_the_lag_bound_too_wastes_at_least_twice_as_much(scenario: Scenario, seed: int) -> None:
    """Waste is what is taken beyond what foresight with the same reserve takes."""
    ours, known = result(scenario.name, OURS, seed), bounds(scenario.name, seed)
    for other in OTHERS:
        theirs = result(scenario.name, other, seed)
        if known.is_kept(theirs):
            assert known.waste(ours) <= known.waste(theirs) / 2, other


@every
@everywhere
def test_whoever_keeps_the_lag_bound_too_takes_twice_the_pods_unless_half_would_be_too_few_for_anybody(
    scenario: Scenario, seed: int
) -> None:
    ours, known = result(scenario.name, OURS, seed).pod_minutes, bounds(scenario.name, seed)
    for other in OTHERS:
        theirs = result(scenario.name, other, seed)
        if known.is_kept(theirs) and theirs.pod_minutes / 2 >= known.foreseen.pod_minutes:
            assert ours <= theirs.pod_minutes / 2, other


@every
@everywhere
def test_foresight_with_the_same_reserve_saves_a_seventh_at_most_but_where_records_leave_little(
    scenario: Scenario, seed: int
) -> None:
    """Whoever does not know that a load is over keeps each replica for the stabilisation window, and goes down slowly.

    Where records take four fifths of what may be used, an error of 2 % in their rate is one of 8 % in the replicas that
    reads need, and the first look at the reads, over 5 s, is wrong by as much: ten are ordered where eight are enough.
    """
    saved = 0.3 if scenario.name == "steady writes, reads x 3" else 0.14
    ours = result(scenario.name, OURS, seed).pod_minutes
    assert bounds(scenario.name, seed).reserved.pod_minutes >= (1 - saved) * ours


@every
@everywhere
def test_scaling_by_lag_uses_twice_the_pods_unless_half_is_less_than_the_reserve_takes(
    scenario: Scenario, seed: int
) -> None:
    ours, least = result(scenario.name, OURS, seed), bounds(scenario.name, seed).reserved
    for other in BY_LAG:
        half = result(scenario.name, other, seed).pod_minutes / 2
        assert ours.pod_minutes <= half or half < least.pod_minutes, other


@everywhere
def test_foresight_keeps_the_lag_bound_with_no_more_pods_than_anybody_who_does(scenario: Scenario) -> None:
    """A bound that somebody undercuts would be none."""
    for seed in SEEDS:
        known = bounds(scenario.name, seed)
        assert known.is_kept(known.foreseen)
        assert known.foreseen.pod_minutes <= known.reserved.pod_minutes
        for scaler in SCALERS:
            found = result(scenario.name, scaler, seed)
            assert found.pod_minutes >= known.foreseen.pod_minutes or not known.is_kept(found), scaler


@every
@everywhere
def test_the_count_turns_around_twice_in_ten_minutes_at_most(scenario: Scenario, seed: int) -> None:
    assert result(scenario.name, OURS, seed).worst_turns <= 2


@every
@everywhere
def test_costs_are_known_within_a_fifth_from_the_first_minute_on(scenario: Scenario, seed: int) -> None:
    """Each second they differ by 30 %, and the simulated replicas spend more beside than the model believes."""
    scaler = result(scenario.name, OURS, seed).scaler
    assert isinstance(scaler, Ours)
    begin = scaler.estimates[0].at
    known = [estimates for estimates in scaler.estimates if estimates.at >= begin + 60]
    assert [estimates.record_cost for estimates in known] == pytest.approx([RECORD_COST] * len(known), rel=0.2)
    assert [estimates.request_cost for estimates in known] == pytest.approx([REQUEST_COST] * len(known), rel=0.2)


@every
@everywhere
def test_an_operator_that_is_restarted_now_and_then_scales_hardly_worse_and_does_not_flap(
    scenario: Scenario, seed: int
) -> None:
    """A replica may stay for two windows more, or be one more than was needed; one that is needed may come later.

    For all is learned anew: it is late at worst by what comes before the first decision, by what a need must last
    then, by a look, and by its boot.
    """
    found, whole = play(scenario, Restarted(), seed=seed), result(scenario.name, OURS, seed)
    assert found.worst_turns <= 2
    assert found.pod_minutes <= 1.1 * whole.pod_minutes
    assert found.late_seconds <= whole.late_seconds + FIRST_SECONDS + DOUBT_SECONDS + LOOK_SECONDS + BOOT_SECONDS


@pytest.mark.parametrize(
    ("scenario", "rule"),
    [
        ("read spike", Rule.READ_STEAL),
        ("write surge above the ceiling", Rule.WRITE_BOUND),
        ("write surge above the ceiling", Rule.CATCH_UP),
        ("one slow replica", Rule.STRAGGLER),
        ("boot storm", Rule.BOOTING),
        ("broker stall", Rule.APPLY_STALLED),
        ("slow brokers", Rule.FETCH_BOUND),
        ("metrics outage", Rule.METRICS_UNAVAILABLE),
        ("clients that stay", Rule.INEFFECTIVE),
        ("a day", Rule.DOWN),
    ],
)
def test_the_cause_is_found(scenario: str, rule: Rule) -> None:
    scaler = result(scenario, OURS, 1).scaler
    assert isinstance(scaler, Ours)
    assert rule in scaler.rules


def test_the_documentation_shows_what_is_simulated() -> None:
    """`make simulate` brings it up to date."""
    page = (DOCS / "autoscaling.md").read_text()
    assert render_table(result, bounds) in page
    assert render_waste(result, bounds) in page
    assert draw(result, bounds) == (DOCS / "autoscaling.svg").read_text()
