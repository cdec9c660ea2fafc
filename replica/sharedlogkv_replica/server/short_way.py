"""The short way: takes the request that a client repeats without a parser, if it is a plain GET or a plain PUT.

Most requests of most clients are a GET without any header field that matters but a token, or a PUT without any but a
length, and bear the same header as the one before them on their connection. Once the reader has found one of them
plain, what it has but its target (and its length and body) is remembered; whatever begins and ends in the same way is
then a request that the parser would find to be plain as well: it has found so of the same bytes. It costs no request
object, no queue and no parser.

Caller's duties: `take_get` and `take_puts` only what begins between two requests, while nothing else is to be answered,
or carried out, before it; `learn_get` only what the reader found to be one plain GET, whole and alone; `learn_put` only
what it found to begin with a plain PUT, whole.
"""

from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Future, Handler
from sharedlogkv_replica.server.http_reader import PIECE_BYTES
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.puts_in_hand import PutsInHand
from sharedlogkv_replica.server.repeated_put import RepeatedPut

_TAIL_BYTES: Final = 2048  # remembered by each connection


class ShortWay:
    """What the client of one connection repeats.

    Attributes:
        put_token: the token that the PUT bears.
    """

    __slots__ = ("_counters", "_get_tail", "_get_token", "_handler", "_limits", "_plain_get", "_put", "put_token")

    def __init__(self, handler: Handler, *, limits: Limits, counters: HttpCounters) -> None:
        self._handler = handler
        self._plain_get = handler.plain_get
        self._limits = limits
        self._counters = counters
        self._get_tail = b""  # what follows the target
        self._get_token: bytes | None = None
        self._put: RepeatedPut | None = None
        self.put_token: bytes | None = None

    def take_get(self, data: bytes) -> bytes | None:
        """The answer to `data`; None where it must be read, or handled, the long way."""
        tail = self._get_tail
        if tail and data.endswith(tail) and data[:5] == b"GET /":
            return self._plain_get(data[4 : -len(tail)], self._get_token)
        return None

    def take_puts(self, data: bytes, puts: PutsInHand, on_end: Callable[[Future], object]) -> int:
        """Begins the PUTs with which `data` begins, and takes them in hand. Returns where those end that it could take.

        `on_end` is called once for each that has ended.
        """
        repeated, start = self._put, 0
        if repeated is None or len(data) > PIECE_BYTES:
            return start
        most = min(self._handler.body_limit_bytes, self._limits.bodies_bytes - self._counters.held_body_bytes)
        while (found := repeated.match(data, start)) is not None:
            target, body, end = found
            if len(body) > most or not puts.begin(target, body, self.put_token, on_end=on_end):
                break
            start = end
        return start

    def learn_get(self, data: bytes, token: bytes | None) -> None:
        """Remembers the GET that `data` was, with that token."""
        tail = data[data.find(b" ", 5) :]
        if data[:5] == b"GET /" and tail.find(b"\r\n\r\n") == len(tail) - 4 and len(tail) <= _TAIL_BYTES:
            self._get_tail, self._get_token = tail, token

    def learn_put(self, data: bytes, token: bytes | None) -> None:
        """Remembers the PUT that `data` began with, with that token; forgets the one before it."""
        self._put, self.put_token = RepeatedPut.learn(data), token
