"""The peer port: other replicas forward their clients' writes to it, and ask this one what only the leader knows.

Order of a graceful stop (the caller's duty): hand leadership over first, so that peers go to the next leader; then
`stop`, which asks them to go, answers what is under way, and cuts what is left at the deadline.
"""

import asyncio
from collections.abc import Callable

from sharedlogkv_replica.engine.peer_handshake import AnsweringHandshake, PeerIdentity
from sharedlogkv_replica.engine.peers import PeerCounters, PeerLimits, PeerService
from sharedlogkv_replica.server.listener import Listener
from sharedlogkv_replica.server.peer_connection import PeerConnection


class PeerServer:
    """Answers peers on one port.

    Attributes:
        service: who answers.
        limits: the bounds.
        counters: for the metrics.
        frame_limit_bytes: the largest frame that is taken.
        stopping: writes are refused, and peers are asked to go.
    """

    def __init__(
        self,
        service: PeerService,
        *,
        identify: Callable[[], PeerIdentity],
        frame_limit_bytes: int,
        limits: PeerLimits,
        counters: PeerCounters,
    ) -> None:
        """Listens to nothing yet.

        Args:
            service: who answers.
            identify: who this replica is now; raises `PeerRefused` where it can't prove it.
            frame_limit_bytes: `peer_wire.frame_limit_bytes` of the largest value.
            limits: the bounds.
            counters: for the metrics.
        """
        self.service = service
        self.limits = limits
        self.counters = counters
        self.frame_limit_bytes = frame_limit_bytes
        self.stopping = False
        self._identify = identify
        self._connections: Listener[PeerConnection] = Listener()
        self._strangers: set[PeerConnection] = set()
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; tells which one the system chose for port 0."""
        return self._connections.port

    async def listen(self, host: str | None, port: int) -> None:
        """Serves from now on. `host` None means all interfaces of IPv4 and IPv6, `port` 0 any free one.

        Raises:
            OSError: the address can't be had.
        """
        await self._connections.listen(lambda: PeerConnection(self), host, port)
        self._tick()

    def begin_handshake(self) -> AnsweringHandshake:
        """A handshake that has not begun."""
        return AnsweringHandshake(self._identify)

    def enter(self, connection: PeerConnection) -> bool:
        """Registers a new connection; False if there are too many, or too many that have not proved the secret."""
        self._connections.add(connection)
        self._strangers.add(connection)
        return len(self._connections) <= self.limits.connections and len(self._strangers) <= self.limits.strangers

    def befriend(self, connection: PeerConnection) -> None:
        """Takes down that the connection's other end has proved the secret."""
        self._strangers.discard(connection)

    def leave(self, connection: PeerConnection) -> None:
        """Forgets a connection that is gone."""
        self._connections.discard(connection)
        self._strangers.discard(connection)

    def _tick(self) -> None:
        """Looks after all connections: one timer for all, none per question."""
        for connection in self._connections:
            connection.tick()
        self._ticker = asyncio.get_running_loop().call_later(self.limits.tick_seconds, self._tick)

    async def stop(self, *, timeout_seconds: float) -> None:
        """Ends all connections after what is under way is answered; those left at the deadline are cut.

        Returns when the last one is gone; idempotent. If cancelled, cuts what is left.
        """
        self.stopping = True
        self._connections.close()
        for connection in self._connections:
            connection.say_goodbye()
        try:
            await self._connections.await_gone(timeout_seconds=timeout_seconds)
        finally:
            if self._ticker is not None:
                self._ticker.cancel()
