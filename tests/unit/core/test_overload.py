"""How many reads are turned away, by how far the map is behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.overload import LARGEST_SHARE, is_urgent, share_to_shed


@pytest.mark.parametrize(
    ("lag", "share"), [(0.0, 0.0), (2.5, 0.0), (5.0, 0.45), (7.5, 0.9), (10.0, 0.9), (1_000.0, 0.9)]
)
def test_reads_are_turned_away_from_a_quarter_of_the_lag_on_and_most_before_the_whole(lag: float, share: float) -> None:
    assert share_to_shed(lag, 10.0, waiting_share=0.0) == pytest.approx(share)


def test_none_is_turned_away_while_the_log_is_what_is_slow() -> None:
    assert share_to_shed(100.0, 10.0, waiting_share=0.6) == 0.0
    assert share_to_shed(100.0, 10.0, waiting_share=0.4) == LARGEST_SHARE


def test_without_a_limit_nothing_is_turned_away_and_nothing_urgent() -> None:
    assert share_to_shed(1e6, 0.0, waiting_share=0.0) == 0.0
    assert not is_urgent(1e6, 0.0)


def test_records_go_before_reads_before_a_read_is_turned_away() -> None:
    assert not is_urgent(1.25, 10.0)
    assert is_urgent(1.3, 10.0)


@given(lag=st.floats(0, 1e6), more=st.floats(0, 1e6), limit=st.floats(0.1, 1e4))
def test_the_share_never_falls_with_the_lag(lag: float, more: float, limit: float) -> None:
    less = share_to_shed(lag, limit, waiting_share=0.0)
    assert 0 <= less <= share_to_shed(lag + more, limit, waiting_share=0.0) <= LARGEST_SHARE
