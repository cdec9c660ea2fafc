"""The plain PUTs of one connection that are being carried out, in order.

A client that pipelines has several under way, and they join the same batch: else each would wait for the one before it
to be committed. RFC 9112 section 9.3.2 asks that what is not safe be not reordered, so a key has one PUT in hand at a
time, and everything else waits until none is. The answers leave in order, whatever ends first.
"""

from collections.abc import Callable
from typing import Final

from sharedlogkv_replica.server.http_messages import Future, PlainPut, Request, Response
from sharedlogkv_replica.server.problems import report_bug

_PUTS_MOST: Final = 64
_BODY_BYTES: Final = 16 * 1024
"""Of a PUT that joins others: so one connection has no more in hand than a megabyte, or one large body."""


class PutsInHand:
    """Those of one connection.

    Args:
        begin: as `Handler.plain_put`.
    """

    __slots__ = ("_begin", "_puts")

    def __init__(self, begin: Callable[[bytes, bytes], PlainPut | None]) -> None:
        self._begin = begin
        self._puts: dict[bytes, tuple[PlainPut, bytes | None]] = {}  # by target, which spells a key in one way

    def __len__(self) -> int:
        return len(self._puts)

    @property
    def first_token(self) -> bytes | None:
        """The token of the first of them; there must be one."""
        return next(iter(self._puts.values()))[1]

    def begin(self, target: bytes, body: bytes, token: bytes | None, *, on_end: Callable[[Future], object]) -> bool:
        """Begins `PUT target` and returns true, if it may be begun now and the handler can.

        `token` is the one that it bears; `on_end` is called once it has ended.
        """
        puts = self._puts
        if puts and (len(puts) >= _PUTS_MOST or len(body) > _BODY_BYTES or target in puts):
            return False
        put = self._begin(target, body)
        if put is None:
            return False
        puts[target] = put, token
        put.future.add_done_callback(on_end)
        return True

    def pop_ended(self) -> list[tuple[PlainPut, bytes | None]]:
        """Removes those that have ended, from the first on, up to one that has not; with their tokens."""
        puts, ended = self._puts, []
        for put, token in puts.values():
            if not put.future.done():
                break
            ended.append((put, token))
        for target in list(puts)[: len(ended)]:
            del puts[target]
        return ended

    def clear(self) -> None:
        """Forgets all: they are carried out, and nobody is told."""
        self._puts.clear()


def answer_put(put: PlainPut, *, is_last: bool) -> bytes | Response:
    """What a PUT that has ended is answered: all of it as bytes where it went as usual, and the connection stays."""
    try:
        answer = None if is_last else put.finish_plain()
        return put.finish(put.future) if answer is None else answer
    except Exception as error:  # noqa: BLE001 # the seam to the handler: a bug there must not take the others along
        return report_bug(error)


def put_request(token: bytes | None, *, keep_alive: bool) -> Request:
    """What stands for a PUT in hand that bears this token, where its answer is made at length."""
    return Request(b"PUT", b"", {} if token is None else {b"slkv-token": token}, keep_alive=keep_alive)
