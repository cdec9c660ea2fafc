"""The link to one peer, the leader: one persistent connection, made anew whenever it is lost.

The link itself keeps nothing for later: while it is not `ready` its owner keeps what is to be asked (`forward`), and is
called when there is room again.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from sharedlogkv_replica.engine.peer_address import parse_address
from sharedlogkv_replica.engine.peer_handshake import NONCE_BYTES, AskingHandshake, PeerIdentity
from sharedlogkv_replica.engine.peer_session import Asker, PeerSession
from sharedlogkv_replica.engine.peer_wire import Question
from sharedlogkv_replica.engine.peers import PeerCounters, PeerLimits, Report
from sharedlogkv_replica.errors import PeerFault, PeerRefused

logger = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[asyncio.Protocol, str], Awaitable[None]]
"""Connects a protocol to an address `host:port`; raises OSError or ValueError when that can't be done."""


async def connect_tcp(protocol: asyncio.Protocol, address: str) -> None:
    """Connects `protocol` to `address` by TCP."""
    host, port = parse_address(address)
    await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)


@dataclass(frozen=True, slots=True)
class PeerDialer:
    """All that a link needs but its address.

    Attributes:
        identify: who this replica is now; raises `PeerRefused` where it can't prove it.
        report: what to tell the peer once a second.
        limits: the bounds.
        counters: for the metrics, of all links together.
        connect: makes connections.
    """

    identify: Callable[[], PeerIdentity]
    report: Callable[[], Report]
    limits: PeerLimits = field(default_factory=PeerLimits)
    counters: PeerCounters = field(default_factory=PeerCounters)
    connect: Connect = connect_tcp

    def dial(self, address: str, *, on_room: Callable[[], None]) -> "PeerLink":
        """A link to the peer at `address`, which begins to connect; `on_room` is called when it may be `ready`."""
        return PeerLink(self, address, on_room=on_room)


class PeerLink:
    """A connection to one peer that is kept up until `leave` or `close`.

    Attributes:
        address: the peer's.
    """

    def __init__(self, dialer: PeerDialer, address: str, *, on_room: Callable[[], None]) -> None:
        self.address = address
        self._dialer = dialer
        self._on_room = on_room
        self._session: PeerSession | None = None
        self._leaving = False
        self._connected = asyncio.Event()
        self._told: PeerFault | None = None
        self._work = asyncio.create_task(self._run(), name=f"peer-link-{address}")

    @property
    def connected(self) -> bool:
        """Whether both ends have proved the secret, and the connection stands."""
        return self._connected.is_set()

    @property
    def ready(self) -> bool:
        """Whether a question may be asked now."""
        return self._session is not None and self._session.ready

    @property
    def unanswered(self) -> int:
        """Questions without an answer so far."""
        return 0 if self._session is None else self._session.unanswered

    @property
    def largest_question_bytes(self) -> int:
        """What the peer takes at most; 0 while there is no connection."""
        return 0 if self._session is None else self._session.largest_question_bytes

    def ask(self, question: Question, asker: Asker) -> int:
        """Asks; returns the question's number, for `forget`. Only while `ready`."""
        assert self._session is not None, "asked over a link that is not ready"
        return self._session.ask(question, asker)

    def forget(self, number: int) -> None:
        """The asker of question `number`, which heard nothing so far, will hear nothing."""
        if self._session is not None:
            self._session.forget(number)

    async def until_connected(self) -> None:
        """Returns once the link is `connected`; the caller bounds the time."""
        await self._connected.wait()

    def leave(self) -> None:
        """Asks nothing more; the connection ends once all is answered, and no other is made."""
        self._leaving = True
        if self._session is None:
            self._work.cancel()
        else:
            self._session.leave()

    async def close(self) -> None:
        """Cuts the connection, and returns once its askers know."""
        self._leaving = True
        self._work.cancel()
        await asyncio.wait([self._work])

    async def _run(self) -> None:
        limits = self._dialer.limits
        pause = limits.first_backoff_seconds
        while not self._leaving:
            try:
                session = await self._open()
            except PeerRefused as refused:
                self._count(refused)
            else:
                pause = limits.first_backoff_seconds
                await self._keep(session)
            if not self._leaving:
                await asyncio.sleep(pause)
                pause = min(2 * pause, limits.last_backoff_seconds)

    async def _open(self) -> PeerSession:
        """A session on which both ends have proved the secret.

        Raises:
            PeerRefused: the peer can't be reached, refuses us, or does not answer in time.
        """
        dialer = self._dialer
        handshake = AskingHandshake(dialer.identify(), nonce=secrets.token_bytes(NONCE_BYTES))
        session = PeerSession(
            handshake, limits=dialer.limits, counters=dialer.counters, report=dialer.report, on_room=self._on_room
        )
        try:
            async with asyncio.timeout(dialer.limits.handshake_seconds):
                await dialer.connect(session, self.address)
                await session.proved
        except TimeoutError as error:
            session.abort()
            text = f"the peer did not answer within {dialer.limits.handshake_seconds:g} s"
            raise PeerRefused(PeerFault.SILENT, text) from error
        except (OSError, ValueError) as error:
            session.abort()
            raise PeerRefused(PeerFault.UNREACHABLE, f"the peer can't be reached: {error}") from error
        except BaseException:
            session.abort()
            raise
        return session

    async def _keep(self, session: PeerSession) -> None:
        """Returns once `session` has ended."""
        self._session = session
        self._told = None
        self._connected.set()
        logger.info("connected to the leader", extra={"peer": session.peer, "address": self.address})
        self._on_room()
        try:
            refused = await asyncio.shield(session.ended)
        except asyncio.CancelledError:
            session.abort()
            await session.ended
            raise
        finally:
            self._connected.clear()
            self._session = None
        if not self._leaving:
            self._count(refused)

    def _count(self, refused: PeerRefused) -> None:
        """Counts a failure, and tells of it when it is another one than the last."""
        self._dialer.counters.failures[refused.fault] += 1
        if refused.fault is not self._told:
            self._told = refused.fault
            logger.warning(
                "no connection to the leader",
                extra={"address": self.address, "fault": refused.fault.value, "detail": str(refused)},
            )


async def hang_up(links: Iterable[PeerLink]) -> None:
    """Closes links, one after the other."""
    for link in links:
        await link.close()
