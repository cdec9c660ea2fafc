"""May this read answer now? And if not, what must it wait for?

A pure decision: the server carries it out. `session` is read-your-writes and monotonic reads (Terry et al., "Session
Guarantees for Weakly Consistent Replicated Data", 1994), by the token; `linearizable` is a ReadIndex (Ongaro,
"Consensus: Bridging Theory and Practice", 2014, section 6.4): once the read has begun, learn an offset above which no
acknowledged write lies, and answer from a map that has applied it. Whatever else the map has applied by then does no
harm, since a map is always a prefix of the log.

| level | answers from a map that has |
|---|---|
| `eventual`, `session` | the token's offset |
| `bounded` | the token's offset, and every write acknowledged `max_lag_ms` before the read began |
| `linearizable` | the token's offset, and every write acknowledged before the read began |
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.token import LogIdentity, Token


class Level(enum.Enum):
    """What a read promises; the values are what clients write."""

    EVENTUAL = "eventual"
    BOUNDED = "bounded"
    SESSION = "session"
    LINEARIZABLE = "linearizable"


@dataclass(frozen=True, slots=True)
class Vantage:
    """What one replica can say of its map when a read arrives.

    Attributes:
        log: the log that the map follows.
        position: the map has applied everything below.
        staleness_ms: every write acknowledged longer ago is in the map; None: no such bound is known. Looked at by
            bounded reads.
        lease_index: the offset above which no write lies that anyone was told of or shown, where this replica leads
            under a valid lease and knows it; None elsewhere. Looked at by linearizable reads.
        appends: whether the replica may write to the log, be it a barrier.
    """

    log: LogIdentity
    position: Position
    staleness_ms: int | None = None
    lease_index: Offset | None = None
    appends: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Read the map now."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Read the map once it has applied `offset`."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class AskEnd:
    """Ask where the log ends; read the map once it has applied that and, where one was given, `offset`."""

    offset: Offset | None


@dataclass(frozen=True, slots=True)
class AskIndex:
    """Ask the leader, or the log by a barrier, for a read index; read the map once it has applied that and `offset`."""

    offset: Offset | None


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """The token is of another log; its promise can't be kept here, ever."""

    token: Token


@dataclass(frozen=True, slots=True)
class NoIndex:
    """A linearizable read needs an index that only a replica which appends can get, and this one may not."""


Decision: TypeAlias = Answer | WaitFor | AskEnd | AskIndex | ForeignToken | NoIndex


def decide(level: Level, token: Token | None, *, vantage: Vantage, max_lag_ms: int) -> Decision:
    """What a read at `level` with `token` must do at a replica that stands at `vantage`.

    A token is honoured at every level: it is the client's floor. Offset gaps (compaction, transaction markers) are the
    reason that the comparison is "position above offset" and never equality. `max_lag_ms` is of bounded reads alone.
    """
    if token is not None and token.log != vantage.log:
        return ForeignToken(token)
    floor = None if token is None else token.offset
    if level is Level.LINEARIZABLE:
        if not vantage.appends:
            return NoIndex()
        if vantage.lease_index is None:
            return AskIndex(floor)
        floor = higher(vantage.lease_index, floor)
    elif level is Level.BOUNDED and (vantage.staleness_ms is None or vantage.staleness_ms > max_lag_ms):
        return AskEnd(floor)
    if floor is None or vantage.position > floor:
        return Answer()
    return WaitFor(floor)


def higher(offset: Offset, floor: Offset | None) -> Offset:
    """The higher one of two offsets, the second of which may not be given."""
    return offset if floor is None else max(offset, floor)
