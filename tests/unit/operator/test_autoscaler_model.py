"""Rates from samples, costs from rates, and the formulas that rest on them."""

import math

import pytest

from sharedlogkv_operator.autoscaler import model
from sharedlogkv_operator.autoscaler.history import Load, extend_history, measure_load, measure_ready
from sharedlogkv_operator.autoscaler.model import IDLE_CPU, Estimates, Tally, typical
from sharedlogkv_operator.autoscaler.observation import Observation, PodObservation, Sample
from sharedlogkv_operator.autoscaler.record import dump_state, load_state
from sharedlogkv_operator.autoscaler.state import Replacement, State, Trial


def sample(uptime: float, **fields: float) -> Sample:
    whole: dict[str, float] = {
        "position": 1000 * uptime,
        "end": 1000 * uptime,
        "lag_seconds": 0.0,
        "apply_cpu_seconds": 0.1 * uptime,
        "applied_records": 1000 * uptime,
        "applied_bytes": 100_000 * uptime,
        "serve_cpu_seconds": (0.2 + IDLE_CPU) * uptime,
        "served_requests": 500 * uptime,
        "shed_requests": 0.0,
        "cpu_limit": 1.0,
        **fields,
    }
    return Sample(uptime_seconds=uptime, **whole)  # type: ignore[arg-type] # whole numbers as floats


def load(**fields: float) -> Load:
    return measure_load(sample(100.0), sample(105.0, **fields))


def seen(*samples: Sample | None) -> Observation:
    pods = tuple(PodObservation(f"pod-{number}", True, 100.0, False, each) for number, each in enumerate(samples))
    return Observation(len(pods), pods)


def test_a_load_is_what_happened_between_two_samples_by_the_replica_s_own_clock() -> None:
    found = measure_load(sample(100.0), sample(110.0, lag_seconds=5.0, end=110_500.0, position=110_000.0))
    assert (found.seconds, found.applied, found.served) == (10.0, 1000.0, 500.0)
    assert found.apply_cpu == pytest.approx(0.1)
    assert found.serve_cpu == pytest.approx(0.21)
    assert (found.lag_slope, found.lag_records) == (0.5, 500)
    assert found.utilization == pytest.approx(0.31)
    assert found.is_applying
    assert found.is_behind_moving_end


def test_the_history_holds_three_intervals_and_forgets_pods_that_are_gone() -> None:
    history: dict[str, tuple[Sample, ...]] = {}
    for look in range(10):
        history = dict(extend_history(history, seen(sample(look * 5.0), sample(look * 5.0))))
    assert [each.uptime_seconds for each in history["pod-0"]] == [30.0, 35.0, 40.0, 45.0]
    assert set(extend_history(history, seen(sample(50.0)))) == {"pod-0"}


def test_a_replica_that_was_restarted_begins_anew() -> None:
    history = extend_history({}, seen(sample(100.0)))
    history = extend_history(history, seen(sample(2.0)))
    assert history["pod-0"] == (sample(2.0),)
    assert measure_ready(history, seen(sample(2.0))) == {}


def test_a_replica_that_can_t_be_asked_now_has_no_load_and_keeps_its_history() -> None:
    history = extend_history(extend_history({}, seen(sample(100.0))), seen(sample(105.0)))
    history = extend_history(history, seen(None))
    assert measure_ready(history, seen(None)) == {}
    assert len(history["pod-0"]) == 2


def test_costs_are_learned_from_the_work_of_all_replicas() -> None:
    known = model.update(Estimates(), [load(), load(applied_records=106_000.0)], end=105_000, now=100.0)
    assert known.record_cost == pytest.approx(0.1 * 10 / 11_000)
    assert known.request_cost == pytest.approx(0.4e-3)
    assert known.record_bytes == pytest.approx(2 * 500_000 / 11_000)


def test_little_work_teaches_no_cost() -> None:
    known = model.update(Estimates(), [load(applied_records=100_400.0, served_requests=50_100.0)], end=1, now=100.0)
    assert (known.record_cost, known.request_cost, known.apply_ceiling) == (None, None, None)
    assert known.write_cpu == pytest.approx(0.1), "what was measured"
    assert known.read_cpu == pytest.approx(0.2)


def test_what_a_replica_spends_in_any_case_is_no_cost_of_requests() -> None:
    idle = load(served_requests=50_005.0, serve_cpu_seconds=21.0 + 5 * IDLE_CPU)
    known = model.update(Estimates(), [idle], end=1, now=100.0)
    assert known.read_cpu == pytest.approx(0.0, abs=1e-9)
    assert known.replicas_for_reads(0.75) < 0.001


def test_requests_that_were_turned_away_teach_nothing_of_what_a_request_costs() -> None:
    known = model.update(Estimates(), [load()], end=1, now=100.0)
    overload = load(served_requests=52_500.0, shed_requests=5_000.0, serve_cpu_seconds=25.0)
    assert model.update(known, [overload], end=2, now=105.0).request_cost == known.request_cost


@pytest.mark.parametrize("healthy", [1, 2, 3])
def test_a_throttled_replica_neither_sets_what_a_replica_can_do_nor_teaches_what_work_costs(healthy: int) -> None:
    # It gets a tenth of the CPU, and each record and request costs it three times as much as the others.
    throttled = load(
        cpu_limit=0.1,
        applied_records=100_000.0 + 5 * 100,
        apply_cpu_seconds=10.0 + 5 * 0.03,
        served_requests=50_000.0 + 5 * 50,
        serve_cpu_seconds=21.0 + 5 * (0.06 + IDLE_CPU),
    )
    for loads in ([throttled] + [load()] * healthy, [load()] * healthy + [throttled]):
        known = model.update(Estimates(), loads, end=1, now=100.0)
        assert known.cpu_limit == 1.0
        assert known.apply_cpu == pytest.approx(0.1)
        assert known.record_cost == pytest.approx(100e-6)
        assert known.request_cost == pytest.approx(400e-6)
        assert known.read_cpu == pytest.approx(healthy * 0.2 + 0.02), "its requests count, as a healthy one's"


def test_replicas_that_are_all_throttled_are_what_replicas_are() -> None:
    known = model.update(Estimates(), [load(cpu_limit=0.5), load(cpu_limit=0.5)], end=1, now=100.0)
    assert known.apply_ceiling == pytest.approx(5_000)


def test_the_append_rate_is_over_the_time_since_the_end_was_last_seen() -> None:
    known = model.update(Estimates(), [load()], end=1_000, now=100.0)
    known = model.update(known, [], end=None, now=500.0)
    known = model.update(known, [load()], end=411_000, now=510.0)
    assert known.append_rate == pytest.approx(1_000.0)


def test_another_log_begins_the_append_rate_anew() -> None:
    known = model.update(Estimates(), [load()], end=1_000, now=100.0)
    known = model.update(known, [load()], end=500, now=105.0)
    assert known.append_rate is None
    assert model.update(known, [load()], end=1_000, now=110.0).append_rate == pytest.approx(100.0)


def test_averages_begin_with_what_was_seen_and_not_with_the_first_look() -> None:
    known = Estimates()
    for look in range(1, 9):
        offered = load(served_requests=50_000.0 + 5 * (1_000 if look == 1 else 100))
        known = model.update(known, [offered], end=look * 5_000, now=100.0 + 5 * look)
    assert known.usual_request_rate is not None
    assert known.usual_request_rate < (1_000 + 7 * 100) / 8


def test_a_jump_of_requests_counts_at_once_and_less_than_that_with_time() -> None:
    known = model.update(Estimates(), [load()], end=1, now=100.0)
    known = model.update(known, [load(served_requests=53_000.0)], end=2, now=105.0)
    assert known.request_rate is not None
    assert 500 < known.request_rate < 600
    jump = model.update(known, [load(served_requests=55_000.0)], end=3, now=110.0)
    assert jump.request_rate == pytest.approx(1_000)


KNOWN = Estimates(
    at=100.0,
    records=Tally(0.1, 1_000.0),
    requests=Tally(0.2, 1_000.0),
    append_rate=2_000.0,
    usual_append_rate=2_000.0,
    request_rate=5_500.0,
    usual_request_rate=5_500.0,
)
"""A record takes 100 µs and a request 200 µs."""


def test_the_formulas_are_those_of_the_model() -> None:
    assert KNOWN.apply_ceiling == pytest.approx(10_000)
    assert KNOWN.headroom(0.75) == pytest.approx(0.55)
    assert KNOWN.replicas_for_reads(0.75) == pytest.approx(2.0)
    assert KNOWN.replicas_for_reads(0.75, reserve=0.15) == pytest.approx(2.3)
    assert math.isinf(KNOWN.replicas_for_reads(0.2))
    assert Estimates().replicas_for_reads(0.75) == 0.0
    assert KNOWN.apply_rate(2) == pytest.approx(4_500)
    assert Estimates().apply_rate(2) == 0.0
    # With two replicas each spends 0.55 CPU on reads: the rest applies 4,500 records a second, 2,500 more than come.
    assert KNOWN.drain_rate(2) == pytest.approx(2_500)
    assert KNOWN.drain_rate(1) == pytest.approx(-1_500), "reads leave 5 % to records"


@pytest.mark.parametrize(("values", "expected"), [([3.0], 3.0), ([9.0, 1.0], 1.0), ([5.0, 1.0, 9.0], 5.0)])
def test_the_typical_value_is_not_spoilt_by_one_sick_replica(values: list[float], expected: float) -> None:
    assert typical(values) == expected


TRIAL = Trial(2, target=4, served_since=None, pods=("a", "b"), offered_share=0.5, serve_cpu=0.9)


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(scaled_at=100.5),
        State(trial=TRIAL, scaled_at=1.0),
        State(blocked_until=700.0, backoff_seconds=600.0, replaced_at=3.0),
        State(replacement=Replacement("a", base=3, started=4.5)),
    ],
    ids=lambda state: ",".join(dump_state(state)) or "nothing",
)
def test_what_was_begun_outlives_the_operator(state: State) -> None:
    assert load_state(dump_state(state)) == state


@pytest.mark.parametrize(
    "memory", [None, [], "x", {"scaledAt": "soon"}, {"trial": {}}, {"trial": None}, {"replacement": {"victim": "a"}}]
)
def test_a_memory_that_can_t_be_read_is_forgotten(memory: object) -> None:
    assert load_state(memory) == State()
