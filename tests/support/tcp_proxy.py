"""A TCP proxy that a test puts between a Kafka client and a broker, to lose, hold back and cut what they say.

It relies on a client that has one request under way on each connection, as our writer has.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

PRODUCE: Final = 0
"""The number of the request that appends. Source: the Kafka protocol guide, "API Keys"."""


@dataclass(eq=False)
class _Passage:
    """One connection through the proxy, with what it holds back."""

    to_client: asyncio.StreamWriter
    to_server: asyncio.StreamWriter
    held: list[bytes] = field(default_factory=list)
    late_answers: bytearray = field(default_factory=bytearray)
    holds: bool = False
    is_frozen: bool = False
    request: int = -1
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class TcpProxy:
    """Forwards connections to any number of servers, from a port of its own for each. Made by `tcp_proxy`.

    Attributes:
        hold_requests: what clients send from now on is kept back, on each connection that sends while this is set;
            that connection's later bytes stay behind it. It outlives the client.
        lose_answers_to: the request whose answers never reach the client while this is set.
        lost_answers: how many did not.
    """

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._passages: list[_Passage] = []
        self.hold_requests = False
        self.lose_answers_to: int | None = None
        self.lost_answers = 0

    @property
    def held_bytes(self) -> int:
        """How much is kept back now."""
        return sum(len(chunk) for passage in self._passages for chunk in passage.held)

    @property
    def late_answer_bytes(self) -> int:
        """How much the server has answered to what was kept back and then delivered."""
        return sum(len(passage.late_answers) for passage in self._passages)

    def deliver_held(self) -> None:
        """Delivers what was kept back, long after its client has gone."""
        for passage in self._passages:
            for chunk in passage.held:
                passage.to_server.write(chunk)
            passage.held.clear()

    def freeze(self) -> None:
        """From now on nothing passes on the connections that there are, and nobody is told; new ones work."""
        for passage in self._passages:
            passage.is_frozen = True

    def cut(self) -> None:
        """Breaks every connection that holds nothing back."""
        for passage in self._passages:
            if not passage.holds:
                passage.to_client.transport.abort()
                passage.to_server.transport.abort()

    async def port_to(self, host: str, port: int) -> int:
        """The port on 127.0.0.1 that leads to the server at `host:port`."""

        async def accept(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
            from_server, to_server = await asyncio.open_connection(host, port)
            passage = _Passage(to_client, to_server)
            self._passages.append(passage)
            passage.tasks = [
                asyncio.create_task(self._forward_requests(from_client, passage)),
                asyncio.create_task(self._forward_answers(from_server, passage)),
            ]

        server = self._servers.get((host, port))
        if server is None:
            server = self._servers[host, port] = await asyncio.start_server(accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _forward_requests(self, source: asyncio.StreamReader, passage: _Passage) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(1 << 20):
                passage.request = int.from_bytes(chunk[4:6], "big")  # behind the length of the request
                if passage.is_frozen:
                    continue
                if self.hold_requests or passage.holds:
                    passage.holds = True
                    passage.held.append(chunk)
                else:
                    passage.to_server.write(chunk)
        if not passage.holds:
            passage.to_server.close()

    async def _forward_answers(self, source: asyncio.StreamReader, passage: _Passage) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(1 << 20):
                if passage.is_frozen:
                    continue
                if passage.holds:
                    passage.late_answers += chunk
                elif passage.request == self.lose_answers_to:
                    self.lost_answers += 1
                else:
                    passage.to_client.write(chunk)
        passage.to_client.close()

    async def close(self) -> None:
        """Breaks every connection, and listens no more."""
        for server in self._servers.values():
            server.close()
        for passage in self._passages:
            passage.to_client.transport.abort()
            passage.to_server.transport.abort()
            await asyncio.gather(*passage.tasks)
        for server in self._servers.values():
            await server.wait_closed()


@contextlib.asynccontextmanager
async def tcp_proxy() -> AsyncIterator[TcpProxy]:
    """A proxy, for the time of the context."""
    proxy = TcpProxy()
    try:
        yield proxy
    finally:
        await proxy.close()
