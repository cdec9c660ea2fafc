"""The data API: `/v1/kv/{key}`, `/v1/kv`, `/v1/openapi.yaml`. docs/http-api.md explains it, openapi.yaml defines it.

The order of the checks is part of the API: path, method, conditions, key, readiness, mode, size. So whoever asks for
something that can never work here is told so, also by a replica that is not ready.
"""

import functools
import importlib.resources
from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, RESERVED_PREFIX, Position
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.server import listing, preconditions, reads
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import PLAIN_TARGET, Outcome, PlainPut, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem, refuse_fields
from sharedlogkv_replica.server.reads import ReadPolicy, Reads, refuse_unless_ready
from sharedlogkv_replica.server.shedding import Get, Shedding
from sharedlogkv_replica.server.state_lines import lag_line, problem_lines, state_lines, tag_line
from sharedlogkv_replica.server.targets import parse_query, percent_decode, split_target
from sharedlogkv_replica.server.writes import Writes

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
_OF_WRITES: Final = "it makes a write conditional, and this is a read"
_FIELDS: Final = frozenset({b"content-range", b"if-unmodified-since", *preconditions.FIELDS})

# An answer may be kept, but not used again without asking: whether it still holds is what ETag and token are for.
_FRESHNESS: Final = b"Cache-Control: no-cache\r\n"
_VALUE_TYPE: Final = b"Content-Type: application/octet-stream\r\n"


class DataHandler:
    """Serves one replica's map and log.

    Args:
        replica: what is served.
        counters: where reads and writes are counted and timed.
        clock: gives the `Date` of plain answers.
        policy: what a read gets that asks for nothing else.

    Attributes:
        fields: the header fields that it looks at.
    """

    def __init__(self, replica: Replica, *, counters: HttpCounters, clock: CoarseClock, policy: ReadPolicy) -> None:
        self.fields = _FIELDS
        self._replica = replica
        self._follower = replica.follower  # for the plain answer, where a property is a tenth of the work
        self._counters = counters
        self._shedding = Shedding(replica, counters=counters, clock=clock)
        self._look_up: Get = replica.store.get if policy.is_plain else _find_nothing
        self._get: Get = self._look_up
        replica.guard.on_change = self._settle_shedding
        self._clock = clock
        self._reads = Reads(replica, counters=counters, policy=policy)
        self._writes = Writes(replica, counters=counters, clock=clock)
        self._takes_writes = replica.write_mode is not WriteMode.READ_ONLY
        self._openapi = importlib.resources.files("sharedlogkv_replica").joinpath("openapi.yaml").read_bytes()
        self._plain_head = b""
        self._plain_tick = 0.0
        self._plain_position: Position | None = None
        self._plain_log = b""

    @property
    def body_limit_bytes(self) -> int:
        """The largest value, at the moment."""
        return self._replica.value_limit_bytes

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """The whole answer to a plain GET of a key that is there and needs no decoding; None for everything else.

        This is what the server does most: no object is made but the answer, and its head up to the version is the same
        for every key until the map changes or the clock ticks. So its `SLKV-Lag-Ms` may be as old as a tick.
        """
        found = self._get(target[7:])
        if found is None or target[:7] != KEY_PATH or target.translate(None, PLAIN_TARGET):
            return self._shedding.refuse_plain(target, token)
        version, value = found
        follower = self._follower
        if not follower.standing.ready or len(value) > _PLAIN_VALUE_BYTES or len(target) > _PLAIN_TARGET_BYTES:
            return None
        position = follower.lag.position
        if self._plain_position != position or self._plain_tick != self._clock.now:
            self._build_plain_head()
        if token is not None:
            offset = token.removeprefix(self._plain_log)
            if len(offset) in (len(token), 0) or len(offset) > 18 or not offset.isdigit() or int(offset) >= position:
                return None  # another log's, malformed, or not reached yet: `core.consistency` decides
        self._counters.plain_reads += 1
        return b'%b%d"\r\nContent-Length: %d\r\n\r\n%b' % (self._plain_head, version, len(value), value)

    def _build_plain_head(self) -> None:
        replica = self._replica
        self._plain_tick = self._clock.now
        self._plain_position = replica.position
        self._plain_log = f"{replica.identity.log_id}:{replica.identity.partition}:".encode("ascii")
        self._plain_head = b"".join(
            (b"HTTP/1.1 200 OK\r\n", self._clock.date_line, _FRESHNESS, _VALUE_TYPE, state_lines(replica), b'ETag: "')
        )

    def plain_put(self, target: bytes, body: bytes) -> PlainPut | None:
        """Begins a plain PUT of a key that needs no decoding; None for everything else.

        All checks of the long way are here, or can't fail: a plain target spells no reserved key, and without header
        fields there is no condition.
        """
        if (
            target[:7] != KEY_PATH
            or not 7 < len(target) <= _PLAIN_TARGET_BYTES
            or target.translate(None, PLAIN_TARGET)
            or not self._follower.standing.ready
            or not self._takes_writes
        ):
            return None
        return self._writes.put(target[7:], body)

    def _settle_shedding(self) -> None:
        """Puts the shedding in front of the map's look-up, or takes it away."""
        self._get = self._shedding.wrap(self._look_up)

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

    def describe_state(self, request: Request) -> bytes:
        """Token and lag of the map; no token where one may have been sent and was not read, as it could be further."""
        if request.head_is_whole:
            return problem_lines(self._replica, request.headers.get(b"slkv-token"))
        return lag_line(self._replica)

    def _route(self, request: Request) -> Callable[[], Outcome]:
        """What answers `request`, after every check that needs no body."""
        path, query = split_target(request.target)
        if path.startswith(KEY_PATH):
            _refuse_method_outside(request, _KEY_METHODS)
            key = _parse_key(path[len(KEY_PATH) :])
            if request.method in _READ_METHODS:
                return self._route_read(request, query, key)
            parse_query(query, _NO_PARAMETERS)
            return self._writes.route(request, key)
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
        refuse_fields(request, (b"if-match",), _OF_WRITES)
        parameters = parse_query(query, _READ_PARAMETERS)
        refuse_unless_ready(self._replica)
        self._shedding.refuse_if_due()
        render = functools.partial(self._render_value, request, key)
        return functools.partial(self._reads.read, request, parameters, render)

    def _render_value(self, request: Request, key: bytes) -> Response:
        found = self._replica.store.get(key)
        if found is None:
            return problem("key-not-found", "no such key up to the offset of this answer's token")
        version, value = found
        headers = state_lines(self._replica) + tag_line(version)
        if _matches(request.headers.get(b"if-none-match"), b'"%d"' % version):
            return Response(304, _FRESHNESS + headers)
        return Response(200, _FRESHNESS + _VALUE_TYPE + headers, value)

    def _route_listing(self, request: Request, query: bytes) -> Callable[[], Outcome]:
        refuse_fields(request, (b"if-match", b"if-none-match"), "a page has no version")
        parameters = parse_query(query, _LISTING_PARAMETERS)
        span = listing.parse_span(parameters)
        refuse_unless_ready(self._replica)
        self._shedding.refuse_if_due()
        render = functools.partial(self._render_page, span)
        return functools.partial(self._reads.read, request, parameters, render)

    def _render_page(self, span: listing.Span) -> Response:
        headers = _FRESHNESS + b"Content-Type: application/json\r\n" + state_lines(self._replica)
        return Response(200, headers, listing.render_page(self._replica.store, span))


def _find_nothing(key: bytes) -> None:
    """Stands for the map where no read may be answered from it without a further thought."""
    del key


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


def _matches(if_none_match: bytes | None, tag: bytes) -> bool:
    """Whether `If-None-Match` names `tag`, by the weak comparison that it demands (RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    names = [name.strip().removeprefix(b"W/") for name in if_none_match.split(b",")]
    return b"*" in names or tag in names
