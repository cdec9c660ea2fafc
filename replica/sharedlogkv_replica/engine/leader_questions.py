"""What a replica asks a leader that is another replica, beside writes.

**The read index**: up to where must a linearizable read have read? Raft's ReadIndex, coalesced: one question is under
way at a time, and whoever asks meanwhile shares the next one. The one under way may have been answered before that
reader began, and its answer would then miss a write that was acknowledged in between.

**Does it still lead?** Asked once of a leader that went silent in the log, before anybody takes over (pre-vote).

Source: Ongaro, "Consensus: Bridging Theory and Practice", sections 6.4 and 9.6.
"""

import asyncio
from collections.abc import Callable

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.engine.peer_link import PeerLink
from sharedlogkv_replica.engine.peer_session import Asker
from sharedlogkv_replica.engine.peer_wire import Answer, IndexAnswer, LeadsAnswer, LeadsQuestion
from sharedlogkv_replica.engine.peers import PeerService

_QUESTION_BYTES = 64


class _IndexAsker:
    """The asker of one question for the read index."""

    __slots__ = ("_end", "size_bytes")

    def __init__(self, end: "Callable[[_IndexAsker, Offset | None], None]") -> None:
        self._end = end
        self.size_bytes = _QUESTION_BYTES

    def answered(self, answer: Answer) -> None:
        """The leader has answered."""
        self._end(self, answer.index if isinstance(answer, IndexAnswer) else None)

    def lost(self, *, sent: bool) -> None:
        """The connection is gone."""
        del sent
        self._end(self, None)


class ReadIndex:
    """The questions for the read index that one replica has.

    Attributes:
        questions: asked so far, after sharing.
        failures: of these, those that brought no index.
    """

    def __init__(self, send: Callable[[Asker], bool]) -> None:
        """Asks nothing yet; `send` sends one question for an asker, or returns False where that can't be done now."""
        self._send = send
        self._asker: _IndexAsker | None = None
        self._asked: asyncio.Future[Offset | None] | None = None
        self._next: asyncio.Future[Offset | None] | None = None
        self.questions = 0
        self.failures = 0

    async def ask(self, *, timeout_seconds: float) -> Offset | None:
        """The index that the leader tells, under its lease, in answer to a question sent after this call.

        None where the leader can't be asked, does not lead, or does not answer within the time. May be cancelled.
        """
        if self._asked is None:
            shared = self._asked = asyncio.get_running_loop().create_future()
            self._ask()
        else:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            shared = self._next
        await asyncio.wait((shared,), timeout=timeout_seconds)
        return shared.result() if shared.done() else None

    def renew(self) -> None:
        """Asks anew what is under way: another replica leads, and the one that was asked may never answer."""
        if self._asked is not None:
            self._ask()

    def _ask(self) -> None:
        self.questions += 1
        asker = self._asker = _IndexAsker(self._end)
        if not self._send(asker):
            self._end(asker, None)

    def _end(self, asker: _IndexAsker, index: Offset | None) -> None:
        """Ends the question under way, and sends the next one if somebody waits for it."""
        if asker is not self._asker:  # the answer of an earlier leader, too late
            return
        if index is None:
            self.failures += 1
        asked, self._asked, self._next = self._asked, self._next, None
        self._asker = None
        assert asked is not None
        asked.set_result(index)
        if self._asked is not None:
            self._ask()


class _LeadsAsker:
    """The asker of one question whether a peer leads."""

    __slots__ = ("future", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = _QUESTION_BYTES
        self.future: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()

    def answered(self, answer: Answer) -> None:
        """The peer has answered."""
        if not self.future.done():
            self.future.set_result(answer.leads if isinstance(answer, LeadsAnswer) else None)

    def lost(self, *, sent: bool) -> None:
        """The connection is gone."""
        del sent
        if not self.future.done():
            self.future.set_result(None)


async def ask_index(local: PeerService | None, *, timeout_seconds: float) -> Offset | None:
    """The index that this replica tells as the leader; None where there is none, or not in time."""
    if local is None:
        return None
    try:
        async with asyncio.timeout(timeout_seconds):
            return await local.read_index()
    except TimeoutError:
        return None


async def ask_leads(link: PeerLink | None, term: Term, *, timeout_seconds: float) -> bool | None:
    """Whether the peer says that it leads `term` under a valid lease; None when it gives no answer in time."""
    if link is None:
        return None
    try:
        async with asyncio.timeout(timeout_seconds):
            await link.until_connected()
            if not link.ready:
                return None
            asker = _LeadsAsker()
            link.ask(LeadsQuestion(term), asker)
            return await asker.future
    except TimeoutError:
        return None
