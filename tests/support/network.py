"""Connections in memory: protocols talk without sockets, and a test cuts, freezes or replays what they say."""

import asyncio
from collections.abc import Callable


class Pipe(asyncio.Transport):
    """One end of a connection in memory. What is written arrives at the other end in a later turn of the loop."""

    def __init__(self, protocol: asyncio.Protocol, network: "Network") -> None:
        super().__init__()
        self.protocol = protocol
        self.network = network
        self.other: Pipe
        self.written: list[bytes] = []
        self._on_the_way: list[bytes] = []
        self._closing = False
        self._lost = False
        self._vanished = False
        self._reading = True
        self._pressed = False
        self._high_bytes = 64 * 1024

    @property
    def output(self) -> bytes:
        """All that this end has written."""
        return b"".join(self.written)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """From which size on the protocol is told to wait."""
        del low
        self._high_bytes = 64 * 1024 if high is None else high

    def get_write_buffer_size(self) -> int:
        """What has not arrived."""
        return sum(map(len, self._on_the_way))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends."""
        assert data
        if self._vanished:
            raise RuntimeError("the handler is closed")
        if self._closing:
            return
        self.written.append(bytes(data))
        self._on_the_way.append(bytes(data))
        if self.get_write_buffer_size() > self._high_bytes and not self._pressed:
            self._pressed = True
            self.protocol.pause_writing()
        self.schedule()

    def schedule(self) -> None:
        """Delivers in a later turn what can be delivered."""
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        if self.network.frozen or not self.other._reading:
            return
        chunks, self._on_the_way = self._on_the_way, []
        for chunk in chunks:
            size = self.network.chunk_bytes or len(chunk)
            for start in range(0, len(chunk), size):
                if not self.other._lost and not self.other._closing:
                    self.other.protocol.data_received(chunk[start : start + size])
        if self._pressed and not self._lost:
            self._pressed = False
            self.protocol.resume_writing()
        if self._closing:
            self._lose(None)
            self.other._lose(None)

    def is_reading(self) -> bool:
        """Whether the protocol wants more input."""
        return self._reading

    def pause_reading(self) -> None:
        """Wants no more."""
        assert self._reading
        self._reading = False

    def resume_reading(self) -> None:
        """Wants more again."""
        assert not self._reading
        self._reading = True
        self.other.schedule()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._closing

    def close(self) -> None:
        """Ends the connection after what is on its way."""
        if not self._closing:
            self._closing = True
            if self._on_the_way:
                self.schedule()
            else:
                self._end()

    def abort(self) -> None:
        """Ends the connection at once; what is on its way is lost."""
        self._on_the_way.clear()
        if not self._lost:
            self._closing = True
            self._end()

    def _end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._lose, None)
        if not self.network.frozen:
            loop.call_soon(self.other._lose, None)

    def vanish(self) -> None:
        """Ends the connection as uvloop does when its making is cancelled: this end's protocol is not told."""
        self._lost = self._vanished = True
        self.other._lose(None)

    def cut(self) -> None:
        """Both ends see a reset; what is on its way is lost."""
        for end in (self, self.other):
            end._on_the_way.clear()
            end._lose(ConnectionResetError("cut by the test"))

    def _lose(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self.protocol.connection_lost(error)


class Network:
    """Servers by address, and the connections to them.

    Attributes:
        servers: what makes the protocol of an accepted connection, by address.
        pipes: the connecting end of every connection so far.
        frozen: nothing arrives anywhere, and no new connection is made: attempts hang.
        chunk_bytes: what arrives is cut into pieces of this size; 0: as it was written.
    """

    def __init__(self) -> None:
        self.servers: dict[str, Callable[[], asyncio.Protocol]] = {}
        self.pipes: list[Pipe] = []
        self.frozen = False
        self.chunk_bytes = 0
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def connect(self, protocol: asyncio.Protocol, address: str) -> None:
        """Connects `protocol` to the server at `address`; raises ConnectionRefusedError where there is none."""
        await self._flowing.wait()
        serve = self.servers.get(address)
        if serve is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        near, far = Pipe(protocol, self), Pipe(serve(), self)
        near.other, far.other = far, near
        self.pipes.append(near)
        far.protocol.connection_made(far)
        near.protocol.connection_made(near)

    def freeze(self) -> None:
        """Nothing arrives any more."""
        self.frozen = True
        self._flowing.clear()

    def thaw(self) -> None:
        """What was held arrives."""
        self.frozen = False
        self._flowing.set()
        for pipe in self.pipes:
            pipe.schedule()
            pipe.other.schedule()

    def cut(self) -> None:
        """Breaks every connection."""
        for pipe in self.pipes:
            pipe.cut()
