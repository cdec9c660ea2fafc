"""May this read answer now? And if not, what must it wait for?

A pure decision: the routes carry it out. Levels as in DESIGN section 6; `session` is read-your-writes and monotonic
reads (Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994), by the token.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.token import LogIdentity, Token


class Level(enum.Enum):
    """What a read promises; the values are what clients write."""

    EVENTUAL = "eventual"
    SESSION = "session"
    LINEARIZABLE = "linearizable"


@dataclass(frozen=True, slots=True)
class Answer:
    """Read the map now."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Read the map once it has applied `offset`."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class Barrier:
    """Append a barrier, then read the map once it has applied the barrier and, where one was given, `offset`."""

    offset: Offset | None


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """The token is of another log; its promise can't be kept here, ever."""

    token: Token


@dataclass(frozen=True, slots=True)
class NoBarrier:
    """A linearizable read needs a barrier, and this replica may not append."""


Decision: TypeAlias = Answer | WaitFor | Barrier | ForeignToken | NoBarrier


def decide(level: Level, token: Token | None, *, log: LogIdentity, position: Position, writable: bool) -> Decision:
    """What a read at `level` with `token` must do on a map that has applied everything below `position` of `log`.

    A token is honoured at every level: it is the client's floor. Offset gaps (compaction, transaction markers) are the
    reason that the comparison is "position above offset" and never equality.
    """
    if token is not None and token.log != log:
        return ForeignToken(token)
    floor = None if token is None else token.offset
    if level is Level.LINEARIZABLE:
        return Barrier(floor) if writable else NoBarrier()
    if floor is None or position > floor:
        return Answer()
    return WaitFor(floor)
