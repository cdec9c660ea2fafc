"""An HTTP server on one port: listens, looks after its connections, and stops without losing a request.

Order of a graceful stop (the caller's duty): `drain()` while others still learn that we go; `stop_listening()`; then
`stop()`. What is in flight is answered; every answer from `drain()` on bears `Connection: close`, so that clients open
their next connection elsewhere.
"""

import asyncio

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_connection import HttpConnection
from sharedlogkv_replica.server.http_messages import Handler
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.listener import Listener

_SWEEP_CONNECTIONS = 500  # looked at in one go, about a microsecond each
_TURNED_AWAY_LIMIT = 1000  # connections beyond the limit that get an answer at the same time; more are just cut


class HttpServer:
    """Serves one handler on one port.

    Attributes:
        handler: what is served.
        limits: what a client may ask for.
        clock: ticks while the server runs.
        counters: for the metrics.
        draining: every answer is now its connection's last one.
    """

    def __init__(self, handler: Handler, *, limits: Limits, clock: CoarseClock, counters: HttpCounters) -> None:
        self.handler = handler
        self.limits = limits
        self.clock = clock
        self.counters = counters
        self.draining = False
        self._connections: Listener[HttpConnection] = Listener()
        self._turned_away: set[HttpConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; tells which one the system chose for port 0."""
        return self._connections.port

    async def listen(self, host: str | None, port: int) -> None:
        """Serves from now on. `host` None means all interfaces of IPv4 and IPv6, `port` 0 any free one.

        Raises:
            OSError: the address can't be had.
        """
        self._sweep()
        try:
            await self._connections.listen(lambda: HttpConnection(self), host, port)
        except BaseException:
            self._stop_sweeping()
            raise

    def enter(self, connection: HttpConnection) -> bool:
        """Registers a new connection; False if there are too many, and it must say so and end."""
        self._connections.add(connection)
        self.counters.accepted_connections += 1
        self.counters.open_connections = len(self._connections)
        if len(self._connections) - len(self._turned_away) <= self.limits.connections:
            return True
        self._turned_away.add(connection)
        if len(self._turned_away) > _TURNED_AWAY_LIMIT:
            connection.abort()
        return False

    def leave(self, connection: HttpConnection) -> None:
        """Forgets a connection that is gone."""
        self._connections.discard(connection)
        self._turned_away.discard(connection)
        self.counters.open_connections = len(self._connections)

    def _sweep(self) -> None:
        """Ticks the clock and ends what has run out of time: one timer for all connections, none per request."""
        self.clock.tick()
        self._sweep_some(list(self._connections))

    def _sweep_some(self, connections: list[HttpConnection]) -> None:
        """Sweeps some of `connections`, and the others in the next turns of the loop: requests go in between."""
        for connection in connections[-_SWEEP_CONNECTIONS:]:
            if connection in self._connections:  # it may have gone since the sweep began
                connection.sweep()
        del connections[-_SWEEP_CONNECTIONS:]
        loop = asyncio.get_running_loop()
        if connections:
            self._sweeper = loop.call_later(0, self._sweep_some, connections)
        else:
            self._sweeper = loop.call_later(self.limits.sweep_seconds, self._sweep)

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def drain(self) -> None:
        """From now on every answer ends its connection; new connections are still taken."""
        self.draining = True
        for connection in self._connections:
            connection.leave_short_way()

    def stop_listening(self) -> None:
        """Takes no new connection any more; idempotent."""
        self._connections.close()

    async def stop(self, *, timeout_seconds: float) -> None:
        """Ends all connections: idle ones at once, the others after their answers; those left at the deadline are cut.

        Returns when the last one is gone. If cancelled, cuts what is left.
        """
        self.stop_listening()
        self.drain()
        for connection in self._connections:
            connection.finish()
        try:
            await self._connections.await_gone(timeout_seconds=timeout_seconds)
        finally:
            self._stop_sweeping()
