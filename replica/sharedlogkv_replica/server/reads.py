"""Carries out what `core.consistency` decides on a read: answer now, wait, append a barrier first, or refuse."""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, assert_never

from sharedlogkv_replica.core.consistency import (
    Answer,
    Barrier,
    ForeignToken,
    Level,
    NoBarrier,
    WaitFor,
    decide,
)
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.token import Token, parse_token
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import (
    InvalidToken,
    LogRefused,
    LogUnavailable,
    OutcomeUnknown,
    ReplicaError,
    WaitTimeout,
)
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.targets import parse_number, printable

PARAMETERS: Final = frozenset({"consistency", "timeout_ms"})
_TIMEOUT_MOST_MS: Final = 3_600_000

Render = Callable[[], Response]


class Reads:
    """Reads of one replica at every consistency level.

    Args:
        replica: whose map is read.
        counters: counts and times the reads that wait.
        timeout_seconds: the longest wait of a read; the client may ask for a shorter one.
    """

    def __init__(self, replica: Replica, *, counters: HttpCounters, timeout_seconds: float) -> None:
        self._replica = replica
        self._counters = counters
        self._timeout_seconds = timeout_seconds

    def read(self, request: Request, parameters: Mapping[str, bytes], render: Render) -> Outcome:
        """What `render` makes of the map once it may be read: at once, or when it is far enough.

        Raises:
            Refused: level, token or timeout are malformed, or can't be served here.
        """
        token = _parse_token(request)
        level = _parse_level(parameters, default=Level.EVENTUAL if token is None else Level.SESSION)
        timeout_ms = parse_number(parameters, "timeout_ms", least=0, most=_TIMEOUT_MOST_MS)
        timeout_seconds = self._timeout_seconds
        if timeout_ms is not None:
            timeout_seconds = min(timeout_seconds, timeout_ms / 1000)

        replica = self._replica
        writable = replica.write_mode is not WriteMode.READ_ONLY
        decision = decide(level, token, log=replica.identity, position=replica.position, writable=writable)
        match decision:
            case Answer():
                return render()
            case WaitFor() | Barrier():
                return self._defer(self._wait(decision, timeout_seconds=timeout_seconds), render)
            case ForeignToken(token=foreign):
                raise Refused(
                    "token-of-another-log",
                    f"the token is of log {foreign.log.log_id}:{foreign.log.partition}, and this replica serves "
                    f"{replica.identity.log_id}:{replica.identity.partition}; forget the token, and what it stood for",
                )
            case NoBarrier():
                raise Refused(
                    "consistency-unavailable",
                    "a linearizable read appends to the log, and this replica is ReadOnly; use session or eventual",
                )
            case _:
                assert_never(decision)

    async def _wait(self, decision: WaitFor | Barrier, *, timeout_seconds: float) -> None:
        if isinstance(decision, WaitFor):
            await self._replica.wait_applied(decision.offset, timeout_seconds=timeout_seconds)
            return
        started = time.monotonic()
        barrier = await self._replica.barrier(timeout_seconds=timeout_seconds)
        offset = barrier if decision.offset is None else max(decision.offset, barrier)
        left_seconds = max(0.0, timeout_seconds - (time.monotonic() - started))
        await self._replica.wait_applied(offset, timeout_seconds=round(left_seconds, 3))

    def _defer(self, wait: Coroutine[object, object, None], render: Render) -> Deferred:
        self._counters.read_waits += 1
        task = asyncio.get_running_loop().create_task(wait)
        return Deferred(task, functools.partial(self._finish, render, time.monotonic()), abandonable=True)

    def _finish(self, render: Render, started: float, future: "asyncio.Future[None]") -> Response:
        self._counters.read_wait_seconds.observe(time.monotonic() - started)
        try:
            future.result()
            refuse_unless_ready(self._replica)  # the map may have been dropped meanwhile
        except WaitTimeout as error:
            self._counters.read_timeouts += 1
            return problem("read-timeout", str(error))
        except OutcomeUnknown as error:  # of the barrier, which changes nothing: for a read it is only time lost
            self._counters.read_timeouts += 1
            return problem("read-timeout", str(error))
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
