"""What an outage is made of: the times at which clients were answered."""

from typing import Any

import pytest

from tests.bench.silence import Observation, longest_silence


def observation(*, acknowledged: dict[str, float], answered: dict[str, tuple[float, ...]]) -> Observation:
    return Observation(acknowledged, answered, not_written=0, unknown=0, failed_reads=0, first_failure="")


def test_an_outage_begins_with_the_last_answer_before_something_broke() -> None:
    assert longest_silence([1.0, 1.9, 5.0, 5.1], since=2.0, until=6.0) == pytest.approx(3.1)


def test_a_pause_that_was_over_before_does_not_count() -> None:
    assert longest_silence([0.0, 9.0, 9.1, 9.2], since=9.0, until=9.3) == pytest.approx(0.1)


def test_answers_need_not_be_in_order() -> None:
    assert longest_silence([3.0, 1.0, 2.0], since=1.0, until=3.5) == pytest.approx(1.0)


def test_an_outage_that_goes_on_counts_up_to_the_end() -> None:
    assert longest_silence([1.0], since=2.0, until=8.0) == pytest.approx(7.0)
    assert longest_silence([], since=2.0, until=8.0) == pytest.approx(6.0)


def test_what_came_after_the_end_ends_no_outage() -> None:
    assert longest_silence([1.0, 9.0], since=2.0, until=8.0) == pytest.approx(7.0)


def test_reads_are_silent_where_any_one_replica_is() -> None:
    seen = observation(acknowledged={}, answered={"a": (1.0, 2.0, 3.0), "b": (1.0, 3.0)})
    assert seen.read_silence(since=1.0, until=3.5) == pytest.approx(2.0)


def test_writes_are_silent_only_where_no_one_is_answered() -> None:
    seen = observation(acknowledged={"a-1": 1.0, "b-1": 2.0, "a-2": 3.0}, answered={})
    assert seen.write_silence(since=1.0, until=3.5) == pytest.approx(1.0)


def test_the_report_of_the_load_generator_is_read_in_seconds() -> None:
    seen = Observation.parse(
        {
            "acknowledged": [{"key": "k-0-0", "at": 1_500_000_000}],
            "answered": {"http://127.0.0.1:1": [2_000_000_000, 2_250_000_000]},
            "notWritten": 1,
            "unknown": 2,
            "failedReads": 3,
            "firstFailure": "503",
        }
    )
    assert seen == Observation(
        {"k-0-0": 1.5},
        {"http://127.0.0.1:1": (2.0, 2.25)},
        not_written=1,
        unknown=2,
        failed_reads=3,
        first_failure="503",
    )


def test_a_report_in_which_nothing_was_acknowledged_is_read_too() -> None:
    report: dict[str, Any] = {"acknowledged": None, "answered": {}, "notWritten": 0, "unknown": 0, "failedReads": 0}
    assert Observation.parse(report).acknowledged == {}
