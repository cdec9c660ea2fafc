"""Carries out puts and deletes: what a request asks for, and how what became of it is told."""

import functools
import time
from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.core.writes import Condition, ConditionFailed, RequestMismatch, Write, WriteResult, Written
from sharedlogkv_replica.engine.promise import Promise
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, NoLeader, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.server import preconditions
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem, refuse_fields
from sharedlogkv_replica.server.reads import refuse_unless_ready
from sharedlogkv_replica.server.state_lines import lag_line, later, tag_line, token_line

_PLAIN_SECONDS: Final = 0.01  # for so long the same head serves, if the map stands still; then the lag is asked anew


class PutInHand:
    """A put that went the short way; implements `PlainPut`."""

    __slots__ = ("_log", "_started", "_writes", "future")

    def __init__(self, writes: "Writes", log: LogIdentity, started: float, written: Promise[WriteResult]) -> None:
        self._writes = writes
        self._log = log
        self._started = started
        self.future = written

    def finish_plain(self) -> bytes | None:
        """See `PlainPut`."""
        result = self.future.value
        if isinstance(result, Written) and not result.repeated:
            return self._writes.finish_plain(self._log, self._started, result.offset)
        return None

    def finish(self, written: Promise[WriteResult], /) -> Response:
        """See `PlainPut`."""
        return self._writes.finish(self._log, self._started, written)


class Writes:
    """Writes through one replica.

    Args:
        replica: which takes them.
        counters: where they are timed.
        clock: gives the `Date` of plain answers.
    """

    def __init__(self, replica: Replica, *, counters: HttpCounters, clock: CoarseClock) -> None:
        self._replica = replica
        self._follower = replica.follower
        self._counters = counters
        self._clock = clock
        self._plain_log: LogIdentity | None = None
        self._plain_position: Position | None = None
        self._plain_until = 0.0
        self._plain_answer = b""

    def put(self, key: bytes, value: bytes) -> "PutInHand":
        """Begins an unconditional put of a client that gave it no id, after every check."""
        started = time.monotonic()
        return PutInHand(self, self._replica.identity, started, self._replica.write(Write(key, value)))

    def route(self, request: Request, key: bytes) -> Callable[[], Outcome]:
        """What carries `request` out, after every check that needs no body.

        Raises:
            Refused: it asks for what can't be had here.
        """
        mode = self._replica.write_mode
        refuse_fields(request, (b"if-unmodified-since",), "versions are numbers here, and have no date")
        if mode is not WriteMode.LEADER:
            reason = f"only a store with writeMode Leader has it, and this one is {mode.value}"
            refuse_fields(request, preconditions.FIELDS, reason)
        if b"content-range" in request.headers:
            raise Refused("bad-request", "a value is written as a whole: Content-Range is not possible")
        condition = preconditions.parse_condition(request.headers)
        name = preconditions.parse_request_id(request.headers)
        refuse_unless_ready(self._replica)
        if mode is WriteMode.READ_ONLY:
            raise Refused("read-only", "this replica serves a log that others write; write there")
        return functools.partial(self._send, request, key, condition, name)

    def _send(self, request: Request, key: bytes, condition: Condition, name: str | None) -> Deferred:
        started = time.monotonic()
        value = request.body if request.method == b"PUT" else None
        identified = None
        if name is not None:
            identified = preconditions.identify_request(name, key=key, value=value, condition=condition)
        written = self._replica.write(Write(key, value, condition, identified))
        sent = request.headers.get(b"slkv-token")
        finish = functools.partial(self.finish, self._replica.identity, started, sent=sent)
        return Deferred(written, finish, abandonable=False)

    def finish(
        self, log: LogIdentity, started: float, written: Promise[WriteResult], *, sent: bytes | None = None
    ) -> Response:
        """The answer to a write, begun at `started` (monotonic) while `log` was followed, that has ended.

        `sent` is the token that it bore; those that went the short way need none, as theirs is a new offset.
        """
        self._counters.write_seconds.observe(time.monotonic() - started)
        try:
            result = written.result()
        except RecordTooLarge as error:
            return problem("value-too-large", str(error))
        except OutcomeUnknown as error:
            return problem("outcome-unknown", str(error))
        except NoLeader as error:
            return problem("no-leader", str(error))
        except (LogUnavailable, LogRefused) as error:
            return problem("log-unavailable", str(error))
        match result:
            case Written(offset, repeated):
                replayed = b"Idempotency-Replayed: true\r\n" if repeated else b""
                token = token_line(log, later(offset, sent, log) if repeated else offset)
                return Response(204, token + lag_line(self._replica) + tag_line(offset) + replayed)
            case ConditionFailed():
                return self._report_failed_condition(log, result, sent=sent)
            case RequestMismatch():
                return problem(
                    "idempotency-key-reused",
                    "an earlier write had this Idempotency-Key, and asked for something else; take a new one per write",
                )

    def finish_plain(self, log: LogIdentity, started: float, offset: Offset) -> bytes:
        """The whole answer to a put that is in the log at `offset`, on a connection that stays; as `finish` makes it.

        All but the offset is the same for all puts of one batch. `SLKV-Lag-Ms`, which grows while the map stands still,
        is `_PLAIN_SECONDS` old at most.
        """
        now = time.monotonic()
        self._counters.write_seconds.observe(now - started)
        self._counters.plain_puts += 1
        position = self._follower.lag.position
        if self._plain_position != position or now >= self._plain_until or self._plain_log is not log:
            self._build_plain_answer(log, until=now + _PLAIN_SECONDS)
        return self._plain_answer % (offset, offset)

    def _build_plain_answer(self, log: LogIdentity, *, until: float) -> None:
        self._plain_log, self._plain_until, self._plain_position = log, until, self._replica.position
        token = f"SLKV-Token: {log.log_id}:{log.partition}:".encode("ascii")
        lag = lag_line(self._replica)
        status = b"HTTP/1.1 204 No Content\r\n"
        self._plain_answer = b"".join((status, self._clock.date_line, token, b"%d\r\n", lag, b'ETag: "%d"\r\n\r\n'))

    def _report_failed_condition(self, log: LogIdentity, failed: ConditionFailed, *, sent: bytes | None) -> Response:
        """The answer to a write that did not happen; a read of the key's version, so with the token of that read."""
        state = token_line(log, later(failed.applied, sent, log)) + lag_line(self._replica)
        if failed.version is None:
            return problem("precondition-failed", "there is no such key; nothing was written", state=state)
        detail = f"the key has version {failed.version}; nothing was written"
        return problem("precondition-failed", detail, headers=tag_line(failed.version), state=state)
