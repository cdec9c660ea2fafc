"""What a read must do before it answers."""

import pytest

from sharedlogkv_replica.core.consistency import (
    Answer,
    Barrier,
    Decision,
    ForeignToken,
    Level,
    NoBarrier,
    WaitFor,
    decide,
)
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.token import LogIdentity, Token

HERE = LogIdentity("here", 0)
AT_7 = Token(HERE, Offset(7))


@pytest.mark.parametrize(
    ("level", "token", "position", "expected"),
    [
        (Level.EVENTUAL, None, 0, Answer()),
        (Level.SESSION, None, 0, Answer()),
        (Level.SESSION, AT_7, 7, WaitFor(Offset(7))),
        (Level.SESSION, AT_7, 8, Answer()),
        (Level.EVENTUAL, AT_7, 7, WaitFor(Offset(7))),
        (Level.LINEARIZABLE, None, 100, Barrier(None)),
        (Level.LINEARIZABLE, AT_7, 100, Barrier(Offset(7))),
    ],
)
def test_a_read_waits_for_what_its_level_and_token_ask(
    level: Level, token: Token | None, position: int, expected: Decision
) -> None:
    assert decide(level, token, log=HERE, position=Position(position), writable=True) == expected


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("other", [LogIdentity("there", 0), LogIdentity("here", 1)])
def test_a_token_of_another_log_is_refused_at_every_level(level: Level, other: LogIdentity) -> None:
    token = Token(other, Offset(0))
    assert decide(level, token, log=HERE, position=Position(9), writable=True) == ForeignToken(token)


def test_a_linearizable_read_is_refused_where_no_barrier_can_be_written() -> None:
    assert decide(Level.LINEARIZABLE, None, log=HERE, position=Position(9), writable=False) == NoBarrier()
