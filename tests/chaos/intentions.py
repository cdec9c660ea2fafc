"""What the clients want: drawn from a seed, so that a run can be repeated with the same wishes.

Only the wishes are repeatable; what comes of them depends on the machine's timing. Pure: no IO, no clock.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.chaos.history import ConditionKind, Kind, Level

KEYS_AT_A_TIME: Final = 4
"""Few, so that clients get in each other's way."""

_CONDITIONAL: Final = 0.45  # of the writes
_IDEMPOTENT: Final = 0.4
_LINEARIZABLE: Final[Mapping[Level, float]] = {"linearizable": 5, "session": 3, "eventual": 1, "bounded": 1}
_MAX_LAG_MS: Final = (20, 200, 2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What the replicas can do.

    Attributes:
        conditions: Conditional writes and `Idempotency-Key`.
        bounded: Reads of bounded staleness.
    """

    conditions: bool
    bounded: bool


LEADERLESS: Final = Abilities(conditions=False, bounded=False)
LEADER: Final = Abilities(conditions=True, bounded=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intention:
    """One wish.

    Attributes:
        kind: What to do.
        key: Which of the present keys, from 0.
        replica: A number that chooses whom to ask.
        condition: Of a write; `version` means the one that this client saw last.
        idempotent: Send an `Idempotency-Key`, and ask again where the outcome is unknown.
        level: Of a read.
        max_lag_ms: Of a bounded read.
        pause_seconds: How long to think before.
    """

    kind: Kind
    key: int
    replica: int
    condition: ConditionKind | None = None
    idempotent: bool = False
    level: Level | None = None
    max_lag_ms: int | None = None
    pause_seconds: float = 0.0


def intend(seed: int, process: int, abilities: Abilities) -> Iterator[Intention]:
    """The wishes of one client, without end."""
    chance = random.Random(f"{seed}/{process}")
    levels = {level: weight for level, weight in _LINEARIZABLE.items() if abilities.bounded or level != "bounded"}
    kinds: dict[Kind, float] = {"put": 5, "delete": 1, "get": 6}
    while True:
        kind = chance.choices(list(kinds), weights=list(kinds.values()))[0]
        key, replica = chance.randrange(KEYS_AT_A_TIME), chance.randrange(1 << 16)
        pause_seconds = chance.expovariate(1 / 0.03)
        if kind == "get":
            level = chance.choices(list(levels), weights=list(levels.values()))[0]
            lag = chance.choice(_MAX_LAG_MS) if level == "bounded" else None
            yield Intention(
                kind=kind, key=key, replica=replica, level=level, max_lag_ms=lag, pause_seconds=pause_seconds
            )
            continue
        condition: ConditionKind | None = None
        if abilities.conditions and chance.random() < _CONDITIONAL:
            condition = "version" if kind == "delete" or chance.random() < 0.6 else "absent"
        yield Intention(
            kind=kind,
            key=key,
            replica=replica,
            condition=condition,
            idempotent=abilities.conditions and chance.random() < _IDEMPOTENT,
            pause_seconds=pause_seconds,
        )
