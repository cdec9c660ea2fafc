"""A port and the connections that came to it: what each server of a replica does alike."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

_BACKLOG: Final = 4096
"""A whole fleet may reconnect at once after a rollout; the kernel lowers it to net.core.somaxconn."""


class Connection(Protocol):
    """What a listener must know of a connection."""

    def abort(self) -> None:
        """Cuts it, whatever is under way."""


Member = TypeVar("Member", bound=Connection)


class Listener(Generic[Member]):
    """Listens on one port, knows which connections are open, and waits for the last one to go."""

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._server: asyncio.Server | None = None
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        """Those that are open now; they may come and go meanwhile."""
        return iter(tuple(self._members))

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    @property
    def port(self) -> int:
        """The port that it listens on; tells which one the system chose for port 0."""
        assert self._server is not None, "not listening"
        return int(self._server.sockets[0].getsockname()[1])

    async def listen(self, connect: Callable[[], asyncio.BaseProtocol], host: str | None, port: int) -> None:
        """Takes connections from now on; `host` None means all interfaces of IPv4 and IPv6, `port` 0 any free one.

        Raises:
            OSError: the address can't be had.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connect, host, port, backlog=_BACKLOG)

    def add(self, member: Member) -> None:
        """Takes down a new connection."""
        self._members.add(member)
        self._all_gone.clear()

    def discard(self, member: Member) -> None:
        """Forgets a connection that is gone."""
        self._members.discard(member)
        if not self._members:
            self._all_gone.set()

    def close(self) -> None:
        """Takes no new connection any more; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def await_gone(self, *, timeout_seconds: float) -> None:
        """Returns when the last connection is gone; those left at the deadline, or when cancelled, are cut."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._all_gone.wait()
        except TimeoutError:
            pass
        finally:
            for member in self:
                member.abort()
        await self._all_gone.wait()
