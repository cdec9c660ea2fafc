"""Carries out what `core.consistency` decides on a read: answer now, wait, ask how far to wait first, or refuse.

A read that waits is one future, without a task of its own (engine/waiters.py), and those that must ask first ask
together (engine/rounds.py).
"""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from sharedlogkv_replica.core.consistency import (
    Answer,
    AskEnd,
    AskIndex,
    ForeignToken,
    Level,
    NoIndex,
    Vantage,
    WaitFor,
    decide,
)
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.token import Token, parse_token
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.engine.rounds import Rounds
from sharedlogkv_replica.errors import (
    InvalidToken,
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    ReplicaError,
    WaitTimeout,
)
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.targets import parse_number, printable

PARAMETERS: Final = frozenset({"consistency", "max_lag_ms", "timeout_ms"})
LAG_MOST_MS: Final = 3_600_000
_TIMEOUT_MOST_MS: Final = 3_600_000

Render = Callable[[], Response]


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """What a read gets that does not ask for anything else.

    Attributes:
        timeout_seconds: the longest wait of a read; the client may ask for a shorter one.
        level: the consistency.
        max_lag_ms: the bound of a bounded read.
    """

    timeout_seconds: float
    level: Level = Level.EVENTUAL
    max_lag_ms: int = 1000

    @property
    def is_plain(self) -> bool:
        """Whether a read that asks for nothing is answered from the map as it is, or as its token demands."""
        return self.level in (Level.EVENTUAL, Level.SESSION)


class Reads:
    """Reads of one replica at every consistency level.

    Args:
        replica: whose map is read.
        counters: counts and times the reads that wait.
        policy: for what a request does not say.
    """

    def __init__(self, replica: Replica, *, counters: HttpCounters, policy: ReadPolicy) -> None:
        self._replica = replica
        self._counters = counters
        self._policy = policy
        timeout_seconds, waiters = policy.timeout_seconds, replica.follower.waiters
        self._index_rounds = Rounds(lambda: replica.read_index(timeout_seconds=timeout_seconds), waiters)
        self._end_rounds = Rounds(lambda: replica.end_index(timeout_seconds=timeout_seconds), waiters)

    def read(self, request: Request, parameters: Mapping[str, bytes], render: Render) -> Outcome:
        """What `render` makes of the map once it may be read: at once, or when it is far enough.

        Raises:
            Refused: level, bound, token or timeout are malformed, or can't be served here.
        """
        token = _parse_token(request)
        level = _parse_level(parameters, default=self._policy.level)
        max_lag_ms = self._parse_max_lag(parameters, level)
        timeout_seconds = self._parse_timeout(parameters)
        decision = decide(level, token, vantage=self._survey(level), max_lag_ms=max_lag_ms)
        match decision:
            case Answer():
                return render()
            case WaitFor(offset):
                return self._defer(self._replica.wait_applied(offset, timeout_seconds=timeout_seconds), render)
            case AskEnd(floor):
                return self._defer(self._end_rounds.join(floor, timeout_seconds=timeout_seconds), render)
            case AskIndex(floor):
                return self._defer(self._index_rounds.join(floor, timeout_seconds=timeout_seconds), render)
            case ForeignToken(token=foreign):
                here = self._replica.identity
                raise Refused(
                    "token-of-another-log",
                    f"the token is of log {foreign.log.log_id}:{foreign.log.partition}, and this replica serves "
                    f"{here.log_id}:{here.partition}; forget the token, and what it stood for",
                )
            case NoIndex():
                raise Refused(
                    "consistency-unavailable",
                    "a linearizable read may have to append to the log, and this replica is ReadOnly; use bounded, "
                    "session or eventual",
                )
            case _:
                assert_never(decision)

    def _survey(self, level: Level) -> Vantage:
        """What a read at `level` must know of this replica."""
        replica = self._replica
        return Vantage(
            replica.identity,
            replica.position,
            staleness_ms=replica.staleness_ms() if level is Level.BOUNDED else None,
            lease_index=replica.lease_index() if level is Level.LINEARIZABLE else None,
            appends=replica.write_mode is not WriteMode.READ_ONLY,
        )

    def _parse_max_lag(self, parameters: Mapping[str, bytes], level: Level) -> int:
        given = parse_number(parameters, "max_lag_ms", least=0, most=LAG_MOST_MS)
        if given is None:
            return self._policy.max_lag_ms
        if level is not Level.BOUNDED:
            raise Refused("bad-request", f"max_lag_ms is of consistency=bounded alone, and this read is {level.value}")
        return given

    def _parse_timeout(self, parameters: Mapping[str, bytes]) -> float:
        given = parse_number(parameters, "timeout_ms", least=0, most=_TIMEOUT_MOST_MS)
        most = self._policy.timeout_seconds
        return most if given is None else min(most, given / 1000)

    def _defer(self, wait: "asyncio.Future[None]", render: Render) -> Deferred:
        self._counters.read_waits += 1
        return Deferred(wait, functools.partial(self._finish, render, time.monotonic()), abandonable=True)

    def _finish(self, render: Render, started: float, wait: "asyncio.Future[None]") -> Response:
        self._counters.read_wait_seconds.observe(time.monotonic() - started)
        try:
            wait.result()
            refuse_unless_ready(self._replica)  # the map may have been dropped meanwhile
        except WaitTimeout as error:
            self._counters.read_timeouts += 1
            return problem("read-timeout", str(error))
        except OutcomeUnknown as error:  # of the barrier, which changes nothing: for a read it is only time lost
            self._counters.read_timeouts += 1
            return problem("read-timeout", str(error))
        except NoLeader as error:
            return problem("no-leader", str(error))
        except (LogUnavailable, LogRefused) as error:
            return problem("log-unavailable", str(error))
        except Refused as refused:
            return refused.response
        except ReplicaError as error:
            return problem("not-ready", str(error))
        return render()


def refuse_unless_ready(replica: Replica) -> None:
    """Nothing, as long as the map may be read.

    Raises:
        Refused: the replica is not ready.
    """
    standing = replica.standing
    if not standing.ready:
        raise Refused("not-ready", f"{standing.reason.value}: {standing.message}")


def _parse_token(request: Request) -> Token | None:
    raw = request.headers.get(b"slkv-token")
    if raw is None:
        return None
    try:
        return parse_token(raw.decode("latin-1"))
    except InvalidToken as error:
        raise Refused("token-invalid", str(error)) from error


def _parse_level(parameters: Mapping[str, bytes], *, default: Level) -> Level:
    raw = parameters.get("consistency")
    if raw is None:
        return default
    try:
        return Level(raw.decode("latin-1"))
    except ValueError:
        levels = ", ".join(level.value for level in Level)
        raise Refused("bad-request", f"consistency is {printable(raw)!r}; it must be one of {levels}") from None
