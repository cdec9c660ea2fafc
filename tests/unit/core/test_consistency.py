"""What a read must do before it answers."""

import pytest

from sharedlogkv_replica.core.consistency import (
    Answer,
    AskEnd,
    AskIndex,
    Decision,
    ForeignToken,
    Level,
    NoIndex,
    Vantage,
    WaitFor,
    decide,
)
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.token import LogIdentity, Token

HERE = LogIdentity("here", 0)
AT_7 = Token(HERE, Offset(7))


def vantage(
    position: int, *, staleness_ms: int | None = None, lease_index: int | None = None, appends: bool = True
) -> Vantage:
    """Where a replica stands whose map has applied everything below `position`."""
    index = None if lease_index is None else Offset(lease_index)
    return Vantage(HERE, Position(position), staleness_ms=staleness_ms, lease_index=index, appends=appends)


@pytest.mark.parametrize(
    ("level", "token", "position", "expected"),
    [
        (Level.EVENTUAL, None, 0, Answer()),
        (Level.SESSION, None, 0, Answer()),
        (Level.SESSION, AT_7, 7, WaitFor(Offset(7))),
        (Level.SESSION, AT_7, 8, Answer()),
        (Level.EVENTUAL, AT_7, 7, WaitFor(Offset(7))),
        (Level.BOUNDED, None, 100, AskEnd(None)),
        (Level.BOUNDED, AT_7, 100, AskEnd(Offset(7))),
        (Level.LINEARIZABLE, None, 100, AskIndex(None)),
        (Level.LINEARIZABLE, AT_7, 100, AskIndex(Offset(7))),
    ],
)
def test_a_read_waits_for_what_its_level_and_token_ask(
    level: Level, token: Token | None, position: int, expected: Decision
) -> None:
    assert decide(level, token, vantage=vantage(position), max_lag_ms=1000) == expected


@pytest.mark.parametrize(
    ("staleness_ms", "token", "expected"),
    [
        (0, None, Answer()),
        (1000, None, Answer()),
        (1001, None, AskEnd(None)),
        (1000, AT_7, WaitFor(Offset(7))),
        (1001, AT_7, AskEnd(Offset(7))),
    ],
)
def test_a_bounded_read_asks_for_the_log_s_end_only_where_the_map_may_be_too_old(
    staleness_ms: int, token: Token | None, expected: Decision
) -> None:
    here = vantage(7, staleness_ms=staleness_ms)
    assert decide(Level.BOUNDED, token, vantage=here, max_lag_ms=1000) == expected


@pytest.mark.parametrize(
    ("lease_index", "token", "position", "expected"),
    [
        (5, None, 6, Answer()),
        (6, None, 6, WaitFor(Offset(6))),
        (5, AT_7, 6, WaitFor(Offset(7))),
        (9, AT_7, 8, WaitFor(Offset(9))),
        (5, AT_7, 8, Answer()),
    ],
)
def test_a_leader_under_its_lease_reads_linearizably_without_asking_anyone(
    lease_index: int, token: Token | None, position: int, expected: Decision
) -> None:
    here = vantage(position, lease_index=lease_index)
    assert decide(Level.LINEARIZABLE, token, vantage=here, max_lag_ms=0) == expected


@pytest.mark.parametrize("level", [Level.EVENTUAL, Level.SESSION, Level.BOUNDED])
def test_a_lease_matters_to_linearizable_reads_alone(level: Level) -> None:
    here = vantage(6, staleness_ms=0, lease_index=9)
    assert decide(level, None, vantage=here, max_lag_ms=0) == Answer()


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("other", [LogIdentity("there", 0), LogIdentity("here", 1)])
def test_a_token_of_another_log_is_refused_at_every_level(level: Level, other: LogIdentity) -> None:
    token = Token(other, Offset(0))
    assert decide(level, token, vantage=vantage(9, appends=False), max_lag_ms=0) == ForeignToken(token)


def test_a_linearizable_read_is_refused_where_nothing_can_be_appended() -> None:
    assert decide(Level.LINEARIZABLE, None, vantage=vantage(9, appends=False), max_lag_ms=0) == NoIndex()
