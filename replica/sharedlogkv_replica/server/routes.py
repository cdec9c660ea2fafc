"""The data API: `/v1/kv/{key}`, `/v1/kv`, `/v1/openapi.yaml`. docs/http-api.md explains it, openapi.yaml defines it.

The order of the checks is part of the API: path, method, conditions, key, readiness, mode, size. So whoever asks for
something that can never work here is told so, also by a replica that is not ready.
"""

import asyncio
import functools
import importlib.resources
import time
from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, RESERVED_PREFIX, Entry, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity, Token
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.server import listing, reads
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import PLAIN_TARGET, Deferred, Outcome, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.reads import Reads, refuse_unless_ready
from sharedlogkv_replica.server.targets import parse_query, percent_decode, split_target

KEY_PATH: Final = b"/v1/kv/"
LISTING_PATH: Final = b"/v1/kv"
OPENAPI_PATH: Final = b"/v1/openapi.yaml"

_PLAIN_TARGET_BYTES: Final = len(KEY_PATH) + KEY_LIMIT_BYTES
_PLAIN_VALUE_BYTES: Final = 32 * 1024
_KEY_METHODS: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE"})
_READ_METHODS: Final = frozenset({b"GET", b"HEAD"})
_READ_PARAMETERS: Final = reads.PARAMETERS
_LISTING_PARAMETERS: Final = reads.PARAMETERS | listing.PARAMETERS
_NO_PARAMETERS: Final[frozenset[str]] = frozenset()
_CONDITIONS: Final = (b"if-match", b"if-none-match", b"if-unmodified-since")

# An answer may be kept, but not used again without asking: whether it still holds is what ETag and token are for.
_FRESHNESS: Final = b"Cache-Control: no-cache\r\n"
_VALUE_TYPE: Final = b"Content-Type: application/octet-stream\r\n"


class DataHandler:
    """Serves one replica's map and log.

    Args:
        replica: what is served.
        counters: where reads and writes are counted and timed.
        clock: gives the `Date` of plain answers.
        read_timeout_seconds: the longest wait of a read.
    """

    def __init__(
        self, replica: Replica, *, counters: HttpCounters, clock: CoarseClock, read_timeout_seconds: float
    ) -> None:
        self._replica = replica
        self._follower = replica.follower  # for the plain answer, where a property is a tenth of the work
        self._get = replica.store.get
        self._counters = counters
        self._clock = clock
        self._reads = Reads(replica, counters=counters, timeout_seconds=read_timeout_seconds)
        self._openapi = importlib.resources.files("sharedlogkv_replica").joinpath("openapi.yaml").read_bytes()
        self._plain_head = b""
        self._plain_date = b""
        self._plain_position: Position | None = None
        self._plain_log = b""

    @property
    def body_limit_bytes(self) -> int:
        """The largest value, at the moment."""
        return self._replica.value_limit_bytes

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """The whole answer to a plain GET of a key that is there and needs no decoding; None for everything else.

        This is what the server does most: no object is made but the answer, and its head up to the version is the same
        for every key until the map or the second changes.
        """
        found = self._get(target[7:])
        if found is None or target[:7] != KEY_PATH or target.translate(None, PLAIN_TARGET):
            return None
        version, value = found
        follower = self._follower
        if not follower.standing.ready or len(value) > _PLAIN_VALUE_BYTES or len(target) > _PLAIN_TARGET_BYTES:
            return None
        position = follower.lag.position
        if self._plain_position != position or self._plain_date is not self._clock.date_line:
            self._build_plain_head()
        if token is not None:
            offset = token.removeprefix(self._plain_log)
            if len(offset) in (len(token), 0) or len(offset) > 18 or not offset.isdigit() or int(offset) >= position:
                return None  # another log's, malformed, or not reached yet: `core.consistency` decides
        self._counters.plain_reads += 1
        return b'%b%d"\r\nContent-Length: %d\r\n\r\n%b' % (self._plain_head, version, len(value), value)

    def _build_plain_head(self) -> None:
        replica = self._replica
        self._plain_date = self._clock.date_line
        self._plain_position = replica.position
        self._plain_log = f"{replica.identity.log_id}:{replica.identity.partition}:".encode("ascii")
        self._plain_head = b"".join(
            (b"HTTP/1.1 200 OK\r\n", self._plain_date, _FRESHNESS, _VALUE_TYPE, self._token_line(), b'ETag: "')
        )

    def admit(self, request: Request) -> Response | None:
        """The refusal that a request is bound to get whatever its body is; None if the body should come."""
        try:
            self._route(request)
        except Refused as refused:
            return refused.response
        return None

    def handle(self, request: Request) -> Outcome:
        """The answer to any request, or its promise."""
        try:
            return self._route(request)()
        except Refused as refused:
            return refused.response

    def _route(self, request: Request) -> Callable[[], Outcome]:
        """What answers `request`, after every check that needs no body."""
        path, query = split_target(request.target)
        if path.startswith(KEY_PATH):
            _refuse_method_outside(request, _KEY_METHODS)
            key = _parse_key(path[len(KEY_PATH) :])
            if request.method in _READ_METHODS:
                return self._route_read(request, query, key)
            return self._route_write(request, query, key)
        if path == LISTING_PATH:
            _refuse_method_outside(request, _READ_METHODS)
            return self._route_listing(request, query)
        if path == OPENAPI_PATH:
            _refuse_method_outside(request, _READ_METHODS)
            parse_query(query, _NO_PARAMETERS)
            return self._describe
        raise Refused("no-such-path", "there are /v1/kv/{key}, /v1/kv and /v1/openapi.yaml")

    def _describe(self) -> Response:
        return Response(200, _FRESHNESS + b"Content-Type: application/yaml\r\n", self._openapi)

    # --- reads ---

    def _route_read(self, request: Request, query: bytes, key: bytes) -> Callable[[], Outcome]:
        _refuse_conditions(request, (b"if-match",))
        parameters = parse_query(query, _READ_PARAMETERS)
        refuse_unless_ready(self._replica)
        render = functools.partial(self._render_value, request, key)
        return functools.partial(self._reads.read, request, parameters, render)

    def _render_value(self, request: Request, key: bytes) -> Response:
        found = self._replica.store.get(key)
        token_line = self._token_line()
        if found is None:
            return problem("key-not-found", "no such key up to the offset of this answer's token", headers=token_line)
        version, value = found
        tag = b'"%d"' % version
        headers = b"%bETag: %b\r\n" % (token_line, tag)
        if _matches(request.headers.get(b"if-none-match"), tag):
            return Response(304, _FRESHNESS + headers)
        return Response(200, _FRESHNESS + _VALUE_TYPE + headers, value)

    def _route_listing(self, request: Request, query: bytes) -> Callable[[], Outcome]:
        _refuse_conditions(request, (b"if-match", b"if-none-match"))
        parameters = parse_query(query, _LISTING_PARAMETERS)
        span = listing.parse_span(parameters)
        refuse_unless_ready(self._replica)
        render = functools.partial(self._render_page, span)
        return functools.partial(self._reads.read, request, parameters, render)

    def _render_page(self, span: listing.Span) -> Response:
        headers = _FRESHNESS + b"Content-Type: application/json\r\n" + self._token_line()
        return Response(200, headers, listing.render_page(self._replica.store, span))

    def _token_line(self) -> bytes:
        """The `SLKV-Token` of what the map holds now; empty while the log has not had a single record."""
        replica = self._replica
        if replica.position == 0:
            return b""
        return _token_line(replica.identity, Offset(replica.position - 1))

    # --- writes ---

    def _route_write(self, request: Request, query: bytes, key: bytes) -> Callable[[], Outcome]:
        _refuse_conditions(request, _CONDITIONS)
        if b"content-range" in request.headers:
            raise Refused("bad-request", "a value is written as a whole: Content-Range is not possible")
        parse_query(query, _NO_PARAMETERS)
        refuse_unless_ready(self._replica)
        if self._replica.write_mode is WriteMode.READ_ONLY:
            raise Refused("read-only", "this replica serves a log that others write; write there")
        return functools.partial(self._write, request, key)

    def _write(self, request: Request, key: bytes) -> Deferred:
        started = time.monotonic()
        future = self._replica.write(Entry(key, request.body if request.method == b"PUT" else None))
        finish = functools.partial(self._finish_write, self._replica.identity, started)
        return Deferred(future, finish, abandonable=False)

    def _finish_write(self, log: LogIdentity, started: float, future: "asyncio.Future[Offset]") -> Response:
        self._counters.write_seconds.observe(time.monotonic() - started)
        try:
            offset = future.result()
        except RecordTooLarge as error:
            return problem("value-too-large", str(error))
        except OutcomeUnknown as error:
            return problem("outcome-unknown", str(error))
        except (LogUnavailable, LogRefused) as error:
            return problem("log-unavailable", str(error))
        return Response(204, b'%bETag: "%d"\r\n' % (_token_line(log, offset), offset))


def _token_line(log: LogIdentity, offset: Offset) -> bytes:
    return f"SLKV-Token: {Token(log, offset)}\r\n".encode("ascii")


def _parse_key(text: bytes) -> bytes:
    """The key that the rest of a path spells.

    Raises:
        Refused: it is no key that a user may have.
    """
    key = percent_decode(text)
    if key is None:
        raise Refused("key-invalid", "the key holds a '%' without two hexadecimal digits; spell a percent sign %25")
    if not key:
        raise Refused("key-invalid", "the key is empty; to list keys, ask for /v1/kv")
    if len(key) > KEY_LIMIT_BYTES:
        raise Refused("uri-too-long", f"the key has {len(key)} bytes; at most {KEY_LIMIT_BYTES} are possible")
    if key.startswith(RESERVED_PREFIX):
        raise Refused("key-reserved", "keys that begin with byte 0x00 are the store's own")
    return key


def _refuse_method_outside(request: Request, allowed: frozenset[bytes]) -> None:
    if request.method not in allowed:
        names = b", ".join(sorted(allowed))
        detail = f"{request.method.decode('ascii')} is not possible here; {names.decode()} are"
        raise Refused("method-not-allowed", detail, headers=b"Allow: %b\r\n" % names)


def _refuse_conditions(request: Request, fields: tuple[bytes, ...]) -> None:
    for field in fields:
        if field in request.headers:
            name = field.decode().title()
            raise Refused("conditions-unsupported", f"{name} is not supported here, and must not be passed over")


def _matches(if_none_match: bytes | None, tag: bytes) -> bool:
    """Whether `If-None-Match` names `tag`, by the weak comparison that it demands (RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    names = [name.strip().removeprefix(b"W/") for name in if_none_match.split(b",")]
    return b"*" in names or tag in names
