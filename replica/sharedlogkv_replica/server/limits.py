"""What one client may ask of a server: sizes, counts and times. A client beyond them is answered and let go."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one HTTP server. Every one ends in a documented answer, or in a closed connection.

    Attributes:
        connections: open at the same time; one more gets 503 `overloaded`.
        target_bytes: the request target, percent-encoded; two keys and a cursor of a listing must fit. 414.
        head_bytes: names and values of all header fields. 431.
        pipelined_requests: requests of one connection that wait behind one being answered; reading pauses there.
        pipelined_bytes: the sum of their bodies; reading pauses there too.
        bodies_bytes: request bodies of all connections held in memory; beyond it new ones get 503 `overloaded`.
        head_timeout_seconds: from a request's first byte to the end of its header. 408.
        body_timeout_seconds: from the end of the header to the end of the body. 408.
        idle_timeout_seconds: between requests; longer than clients and proxies keep theirs, so that they close first.
        stall_timeout_seconds: a client that takes no byte of its answer for so long is cut off.
        linger_seconds: how long a connection that we end is still drained, so that no reset eats our last answer.
    """

    connections: int = 10_000
    target_bytes: int = 32 * 1024
    head_bytes: int = 16 * 1024
    pipelined_requests: int = 64
    pipelined_bytes: int = 2 * 1024 * 1024
    bodies_bytes: int = 256 * 1024 * 1024
    head_timeout_seconds: float = 10.0
    body_timeout_seconds: float = 30.0
    idle_timeout_seconds: float = 120.0
    stall_timeout_seconds: float = 20.0
    linger_seconds: float = 2.0

    @property
    def sweep_seconds(self) -> float:
        """How often connections are looked at: times are kept within this, and never cut short."""
        shortest = min(
            self.head_timeout_seconds,
            self.body_timeout_seconds,
            self.idle_timeout_seconds,
            self.stall_timeout_seconds,
            self.linger_seconds,
        )
        return min(0.5, shortest / 4)
