"""What the measurement of a fail-over makes of what its clients saw, and when it refuses to give a figure."""

import pytest

from tests.bench.errors import BenchError
from tests.bench.failover import CHANGES, Change, Seen, figures, require_unharmed
from tests.bench.silence import Observation


def change(name: str) -> Change:
    return next(one for one in CHANGES if one.name == name)


def observation(*acknowledged: str, failed_reads: int = 0) -> Observation:
    times = {key: float(number) for number, key in enumerate(acknowledged)}
    return Observation(times, {}, not_written=0, unknown=0, failed_reads=failed_reads, first_failure="503 no")


def test_a_replica_may_hold_more_than_was_acknowledged() -> None:
    require_unharmed(observation("a"), [("one", {"a", "unknown"})])


def test_a_lost_write_is_an_error_and_no_figure() -> None:
    with pytest.raises(BenchError, match="two lost 1 acknowledged writes, b among them"):
        require_unharmed(observation("a", "b"), [("one", {"a", "b"}), ("two", {"a"})])


def test_a_refused_read_is_an_error_and_no_figure() -> None:
    with pytest.raises(BenchError, match="2 reads failed, the first with: 503 no"):
        require_unharmed(observation(failed_reads=2), [])


def test_a_crash_is_judged_by_its_worst_case_in_seconds() -> None:
    seen = [Seen(3.0, 0.010, unknown=1), Seen(5.5, 0.020, unknown=2), Seen(4.0, 0.015, unknown=0)]
    writes, reads = figures(change("failover-crash"), seen)
    assert (writes.ours, writes.unit, writes.is_met) == (5.5, "s", False)
    assert (writes.details["p50"], writes.details["unknown_writes"]) == (4.0, 3)
    assert reads.ours == pytest.approx(20.0)
    assert (reads.unit, reads.is_met) == ("ms", None)


@pytest.mark.parametrize("name", ["failover-transfer", "failover-stop"])
def test_a_planned_change_is_judged_by_its_worst_case_in_milliseconds(name: str) -> None:
    writes, _ = figures(change(name), [Seen(0.1, 0.01, unknown=0), Seen(0.5, 0.01, unknown=0)])
    assert (writes.ours, writes.unit, writes.is_met) == (500.0, "ms", True)
