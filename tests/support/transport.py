"""A transport that records instead of sending, so that a connection can be driven without sockets or time."""

import asyncio


class RecordingTransport(asyncio.Transport):
    """Keeps what is written, in the chunks in which it was.

    Attributes:
        written: every write, in order.
        ended: the protocol has said that nothing follows.
        closed: closed or aborted.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self.written: list[bytes] = []
        self._reading = True
        self.ended = False
        self.closed = False
        self.buffered_bytes = 0
        protocol.connection_made(self)

    @property
    def output(self) -> bytes:
        """All that was written."""
        return b"".join(self.written)

    def hold(self) -> None:
        """The client takes nothing more: says so to the protocol, as a full buffer would."""
        self.buffered_bytes = 1
        self._protocol.pause_writing()

    def release(self) -> None:
        """The client takes everything again."""
        self.buffered_bytes = 0
        self._protocol.resume_writing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Records one write."""
        assert not self.closed
        assert not self.ended
        assert data
        self.written.append(bytes(data))

    def write_eof(self) -> None:
        """Records the end of all writes."""
        self.ended = True

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def close(self) -> None:
        """Records the end."""
        if not self.closed:
            self.closed = True
            self._protocol.connection_lost(None)

    def abort(self) -> None:
        """Records the end."""
        self.close()

    def is_reading(self) -> bool:
        """Whether the protocol wants more input."""
        return self._reading

    def pause_reading(self) -> None:
        """Records that no input is wanted."""
        assert self._reading
        self._reading = False

    def resume_reading(self) -> None:
        """Records that input is wanted again."""
        assert not self._reading
        self._reading = True

    def get_write_buffer_size(self) -> int:
        """What the client has not taken."""
        return self.buffered_bytes
