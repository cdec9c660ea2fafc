"""Reads that must ask the same question first, and ask it together.

"How far must the map be?" costs a way to the leader or to the log. An answer holds for every read that began before the
question was asked, and for no later one: what was acknowledged in between would be missing. So one question is on its
way, and all reads that come meanwhile share the next one, however many they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sharedlogkv_replica.core.consistency import higher
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.engine.waiters import Waiters, fail

_JOINED_AT_ONCE: Final = 500
"""Reads told of an answer in one turn of the loop; the others get theirs in between."""

_Member = tuple["asyncio.Future[None]", Offset | None]


class Rounds:
    """Asks one question at a time, for all reads that need its answer.

    Args:
        ask: gives the offset that the map must have applied; its errors end the reads that asked.
        waiters: where the reads wait for that offset then.
    """

    def __init__(self, ask: Callable[[], Awaitable[Offset]], waiters: Waiters) -> None:
        self._ask = ask
        self._waiters = waiters
        self._members: list[_Member] = []
        self._asking: asyncio.Task[None] | None = None

    def join(self, floor: Offset | None, *, timeout_seconds: float) -> "asyncio.Future[None]":
        """A read that waits until the map has applied the answer and, where one is given, `floor`.

        Its errors are those of `Waiters.begin` and of the question.
        """
        future = self._waiters.begin(timeout_seconds=timeout_seconds)
        self._members.append((future, floor))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._turn(), name="read-round")
        return future

    async def _turn(self) -> None:
        """Asks until nobody is left who needs to know."""
        try:
            while self._members:
                members, self._members = self._members, []
                await self._ask_for(members)
        finally:
            self._asking = None

    async def _ask_for(self, members: list[_Member]) -> None:
        failure: Exception | None = None
        index = Offset(-1)
        try:
            index = await self._ask()
        except Exception as error:  # noqa: BLE001 # also of a bug those must hear who answer the reads
            failure = error
        for number, (future, floor) in enumerate(members, start=1):
            if failure is None:
                self._waiters.join(future, higher(index, floor))
            else:
                fail(future, failure)
            if number % _JOINED_AT_ONCE == 0:
                await asyncio.sleep(0)
