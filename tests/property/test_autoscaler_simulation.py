"""The autoscaler beside others in a simulated store: what holds in every scenario, for every seed."""

import functools
from pathlib import Path

import pytest

from sharedlogkv_operator.autoscaler.decision import Rule
from tests.simulation.report import SEEDS, draw, render_table
from tests.simulation.scalers import MIN_REPLICAS, Ours
from tests.simulation.scenarios import SCALERS, SCENARIOS, Result, Scenario, play
from tests.simulation.world import RECORD_COST, REQUEST_COST

DOCS = Path(__file__).parents[2] / "docs"
OURS = "SharedLogKV"
BY_LAG = ("KEDA, sum of lag", "HPA, greatest lag")
NAMES = {scenario.name: scenario for scenario in SCENARIOS}
UNCURABLE = "write surge above the ceiling"
AS_GOOD = ("a day", "HPA, CPU 70 %")
"""Where the load is reads alone and changes slowly, CPU is as good a signal as any."""


@functools.cache
def result(scenario: str, scaler: str, seed: int) -> Result:
    return play(NAMES[scenario], SCALERS[scaler](), seed=seed)


def extra(scenario: Scenario, found: Result) -> float:
    """Pod-minutes above those of the least count that there may be."""
    return found.pod_minutes - MIN_REPLICAS * scenario.seconds / 60


every = pytest.mark.parametrize("seed", SEEDS)
everywhere = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@every
@everywhere
def test_no_other_has_fewer_late_seconds(scenario: Scenario, seed: int) -> None:
    """Except where writes exceed what a replica applies: there ours holds, on purpose, at a third of the cost."""
    ours = result(scenario.name, OURS, seed).late_seconds
    for other in SCALERS:
        allowed = 1.4 if scenario.name == UNCURABLE or (scenario.name, other) == AS_GOOD else 1.0
        assert ours <= allowed * result(scenario.name, other, seed).late_seconds, other


@every
@everywhere
def test_no_other_uses_fewer_pods(scenario: Scenario, seed: int) -> None:
    ours = result(scenario.name, OURS, seed).pod_minutes
    for other in SCALERS:
        assert ours <= 1.02 * result(scenario.name, other, seed).pod_minutes, other


@every
@everywhere
def test_whoever_is_late_no_longer_than_ours_adds_twice_the_pods(scenario: Scenario, seed: int) -> None:
    ours = result(scenario.name, OURS, seed)
    for other in SCALERS:
        found = result(scenario.name, other, seed)
        if other != OURS and (scenario.name, other) != AS_GOOD and found.late_seconds <= ours.late_seconds:
            assert extra(scenario, ours) <= extra(scenario, found) / 2, other


@every
@everywhere
def test_scaling_by_lag_adds_twice_the_pods(scenario: Scenario, seed: int) -> None:
    ours = extra(scenario, result(scenario.name, OURS, seed))
    for other in BY_LAG:
        theirs = extra(scenario, result(scenario.name, other, seed))
        # Where records leave a replica little time for reads, many replicas are needed, and theirs come too late.
        share = 0.8 if scenario.name == "steady writes, reads x 3" else 0.6 if scenario.name == "boot storm" else 0.5
        assert ours <= share * theirs, other


@every
@everywhere
def test_the_count_turns_around_twice_in_ten_minutes_at_most(scenario: Scenario, seed: int) -> None:
    assert result(scenario.name, OURS, seed).worst_turns <= 2


@every
@everywhere
def test_costs_are_known_within_a_fifth_at_the_end(scenario: Scenario, seed: int) -> None:
    scaler = result(scenario.name, OURS, seed).scaler
    assert isinstance(scaler, Ours)
    known = scaler.state.estimates
    assert known.record_cost == pytest.approx(RECORD_COST, rel=0.2)
    assert known.request_cost == pytest.approx(REQUEST_COST, rel=0.2)


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
    assert render_table(result) in (DOCS / "autoscaling.md").read_text()
    assert draw(result) == (DOCS / "autoscaling.svg").read_text()
