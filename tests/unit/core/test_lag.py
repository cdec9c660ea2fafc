"""Lag in records and in seconds, and freshness."""

from sharedlogkv_replica.core.lag import Freshness, LagMeter
from sharedlogkv_replica.core.records import Position


def test_a_map_at_the_end_has_no_lag_however_old_its_last_record_is() -> None:
    meter = LagMeter()
    meter.observe_applied(Position(10), timestamp_ms=1_000)
    meter.observe_end(Position(10), asked_at_ms=900_000)
    assert meter.lag_records == 0
    assert meter.lag_seconds(now_ms=1_000_000) == 0


def test_a_record_written_after_a_long_silence_is_as_old_as_the_last_look_at_the_end() -> None:
    meter = LagMeter()
    meter.observe_applied(Position(10), timestamp_ms=1_000)
    meter.observe_end(Position(10), asked_at_ms=900_000)
    meter.observe_end(Position(11), asked_at_ms=901_000)
    assert meter.lag_records == 1
    assert meter.lag_seconds(now_ms=901_500) == 1.5


def test_during_a_replay_the_lag_is_the_age_of_the_last_applied_record() -> None:
    meter = LagMeter()
    meter.observe_end(Position(100), asked_at_ms=1_000_000)
    meter.observe_applied(Position(50), timestamp_ms=400_000)
    assert meter.lag_seconds(now_ms=1_000_000) == 600


def test_reaching_an_end_later_counts_from_when_that_end_was_asked_for() -> None:
    meter = LagMeter()
    meter.observe_end(Position(10), asked_at_ms=5_000)
    meter.observe_end(Position(20), asked_at_ms=6_000)
    meter.observe_applied(Position(10), timestamp_ms=4_000)
    assert meter.caught_up_ms == 5_000
    assert meter.lag_seconds(now_ms=7_000) == 2


def test_a_clock_behind_the_log_s_does_not_make_the_lag_negative() -> None:
    meter = LagMeter()
    meter.observe_applied(Position(5), timestamp_ms=10_000)
    meter.observe_end(Position(6), asked_at_ms=1_000)
    assert meter.lag_seconds(now_ms=2_000) == 0


def test_silence_grows_while_the_log_s_end_is_not_known() -> None:
    meter = LagMeter()
    meter.observe_end(Position(0), asked_at_ms=1_000)
    assert meter.silence_seconds(now_ms=61_000) == 60


def test_a_map_is_complete_as_of_the_question_whose_answer_it_has_reached() -> None:
    freshness = Freshness()
    assert freshness.staleness_ms(now=5.0) is None
    freshness.observe_end(Position(10), position=Position(10), asked_at=5.0)
    assert freshness.staleness_ms(now=5.0) == 0
    assert freshness.staleness_ms(now=5.2501) == 251


def test_a_map_behind_the_log_grows_stale_until_it_has_reached_the_end_that_was_told() -> None:
    freshness = Freshness()
    freshness.observe_end(Position(10), position=Position(10), asked_at=5.0)
    freshness.observe_end(Position(20), position=Position(12), asked_at=6.0)
    freshness.observe_end(Position(30), position=Position(14), asked_at=7.0)
    freshness.observe_applied(Position(19))
    assert freshness.staleness_ms(now=8.0) == 3000
    freshness.observe_applied(Position(20))
    assert freshness.staleness_ms(now=8.0) == 2000


def test_an_answer_that_comes_late_does_not_make_the_map_older() -> None:
    freshness = Freshness()
    freshness.observe_end(Position(10), position=Position(5), asked_at=5.0)
    freshness.observe_end(Position(4), position=Position(5), asked_at=6.0)
    freshness.observe_applied(Position(10))
    assert freshness.staleness_ms(now=6.0) == 0
