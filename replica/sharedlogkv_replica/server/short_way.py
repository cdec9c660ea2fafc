"""The short way: takes the request that a client repeats without a parser, if it is a plain GET or a plain PUT.

Most requests of most clients are a GET without any header field that matters but a token, or a PUT without any but a
length, and bear the same header as the one before them on their connection. Once the reader has found one of them
plain, what it has but its target (and its length and body) is remembered; whatever begins and ends in the same way is
then a request that the parser would find to be plain as well: it has found so of the same bytes. It costs no request
object, no queue and no parser.

Caller's duties: `take` only what comes between two requests, while nothing else is to be answered before it;
`learn_get` and `learn_put` only what the reader found to be one plain request, whole and alone.
"""

from typing import Final

from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Handler, PlainPut
from sharedlogkv_replica.server.http_reader import PIECE_BYTES
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.repeated_put import RepeatedPut

_TAIL_BYTES: Final = 2048  # remembered by each connection


class ShortWay:
    """What the client of one connection repeats.

    Attributes:
        put_token: the token that the PUT bears.
    """

    __slots__ = (
        "_counters", "_get_tail", "_get_token", "_handler", "_limits", "_plain_get", "_plain_put", "_put", "put_token",
    )  # fmt: skip

    def __init__(self, handler: Handler, *, limits: Limits, counters: HttpCounters) -> None:
        self._handler = handler
        self._plain_get = handler.plain_get
        self._plain_put = handler.plain_put
        self._limits = limits
        self._counters = counters
        self._get_tail = b""  # what follows the target
        self._get_token: bytes | None = None
        self._put: RepeatedPut | None = None
        self.put_token: bytes | None = None

    def take(self, data: bytes) -> bytes | PlainPut | None:
        """The answer to `data`, or the PUT that it began; None where it must be read, or handled, the long way."""
        tail = self._get_tail
        if tail and data.endswith(tail) and data[:5] == b"GET /":
            return self._plain_get(data[4 : -len(tail)], self._get_token)
        found = self._put.match(data) if self._put is not None and len(data) <= PIECE_BYTES else None
        if found is None:
            return None
        target, body = found
        if (
            len(body) > self._handler.body_limit_bytes
            or self._counters.held_body_bytes + len(body) > self._limits.bodies_bytes
        ):
            return None
        return self._plain_put(target, body)

    def learn_get(self, data: bytes, token: bytes | None) -> None:
        """Remembers the GET that `data` was, with that token."""
        tail = data[data.find(b" ", 5) :]
        if data[:5] == b"GET /" and tail.find(b"\r\n\r\n") == len(tail) - 4 and len(tail) <= _TAIL_BYTES:
            self._get_tail, self._get_token = tail, token

    def learn_put(self, data: bytes, token: bytes | None) -> None:
        """Remembers the PUT that `data` was, with that token; forgets the one before it."""
        self._put, self.put_token = RepeatedPut.learn(data), token
