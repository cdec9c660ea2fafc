"""How long a connection waits for its client."""

from sharedlogkv_replica.server.http_reader import BODY, HEAD
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.patience import Patience

LIMITS = Limits()
SWEEP = LIMITS.sweep_seconds


def test_a_client_that_takes_nothing_for_the_timeout_is_stalled() -> None:
    patience = Patience(LIMITS)
    assert not patience.is_stalled(5, 0.0)
    assert not patience.is_stalled(5, LIMITS.stall_timeout_seconds)
    assert patience.is_stalled(5, LIMITS.stall_timeout_seconds + 0.1)


def test_a_client_that_takes_a_little_is_not_stalled() -> None:
    patience = Patience(LIMITS)
    assert not patience.is_stalled(5, 0.0)
    assert not patience.is_stalled(4, LIMITS.stall_timeout_seconds * 2)
    assert not patience.is_stalled(0, LIMITS.stall_timeout_seconds * 4)


def test_no_span_is_cut_short_by_when_the_sweeps_came() -> None:
    patience = Patience(LIMITS)
    assert not patience.was_idle(LIMITS.idle_timeout_seconds + SWEEP)
    assert patience.was_idle(LIMITS.idle_timeout_seconds + SWEEP + 0.1)
    assert not patience.has_lingered(LIMITS.linger_seconds + SWEEP)
    assert patience.has_lingered(LIMITS.linger_seconds + SWEEP + 0.1)


def test_a_slow_request_is_refused_by_the_time_of_the_part_that_is_missing() -> None:
    patience = Patience(LIMITS)
    for phase, part, seconds in (
        (HEAD, b"header", LIMITS.head_timeout_seconds),
        (BODY, b"body", LIMITS.body_timeout_seconds),
    ):
        assert patience.find_refusal(phase, seconds + SWEEP) is None
        refusal = patience.find_refusal(phase, seconds + SWEEP + 0.1)
        assert refusal is not None
        assert refusal.status == 408
        assert part in refusal.body
