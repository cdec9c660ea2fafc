"""What the servers count: plain integers, raised where things happen and read by the metrics when they are scraped."""

import bisect
from collections.abc import Iterator, Sequence
from typing import Final

METHODS: Final = ("GET", "HEAD", "PUT", "DELETE", "other")
STATUS_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
LATENCY_BOUNDS_SECONDS: Final[tuple[float, ...]] = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

_METHOD_INDEX: Final = {method.encode(): index for index, method in enumerate(METHODS)}
_OTHER: Final = METHODS.index("other")


class Histogram:
    """Counts of observations by size, as Prometheus wants them.

    Attributes:
        bounds: the buckets' inclusive upper bounds, rising; one more bucket takes what is above.
        counts: observations by bucket, not cumulated.
        total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCY_BOUNDS_SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one observation."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


class HttpCounters:
    """One server's counters; they only rise, but for `open_connections` and `held_body_bytes`.

    Attributes:
        plain_reads: GETs answered 200 straight from the map; part of what `requests()` gives.
        plain_puts: PUTs that went the short way and were answered 204; likewise.
        received_bytes: read from clients, headers included.
        sent_bytes: written to clients, headers included.
        open_connections: now.
        accepted_connections: since the start, refused ones included.
        refused_connections: turned away because too many were open.
        shed_reads: reads turned away because the map would have fallen behind; part of what `requests()` gives.
        read_waits: reads that could not be answered at once: behind their token, or linearizable.
        read_timeouts: of these, those whose deadline came first.
        slow_client_aborts: connections cut because their client took no byte of an answer.
        held_body_bytes: request bodies in memory now, complete or not.
        write_seconds: from a whole PUT or DELETE to its answer, whatever it is.
        read_wait_seconds: from a whole request to its answer, of the reads that waited.
    """

    __slots__ = (
        "_requests", "accepted_connections", "held_body_bytes", "open_connections", "plain_puts", "plain_reads",
        "read_timeouts", "read_wait_seconds", "read_waits", "received_bytes", "refused_connections",
        "sent_bytes", "shed_reads", "slow_client_aborts", "write_seconds",
    )  # fmt: skip

    def __init__(self) -> None:
        self._requests = [[0] * len(STATUS_CLASSES) for _ in METHODS]
        self.plain_reads = 0
        self.plain_puts = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.open_connections = 0
        self.accepted_connections = 0
        self.refused_connections = 0
        self.shed_reads = 0
        self.read_waits = 0
        self.read_timeouts = 0
        self.slow_client_aborts = 0
        self.held_body_bytes = 0
        self.write_seconds = Histogram()
        self.read_wait_seconds = Histogram()

    def count_answer(self, method: bytes, status: int) -> None:
        """Counts one final answer to a request with `method`."""
        self._requests[_METHOD_INDEX.get(method, _OTHER)][status // 100 - 1] += 1

    def count_served(self) -> int:
        """Requests carried out so far, whatever the answer: all but the reads turned away."""
        return sum(map(sum, self._requests)) + self.plain_reads + self.plain_puts - self.shed_reads

    def requests(self) -> Iterator[tuple[str, str, int]]:
        """Answers so far, as (method, status class, count), over the closed set of both; zeros are left out."""
        plain = {("GET", "2xx"): self.plain_reads, ("PUT", "2xx"): self.plain_puts}
        for method, row in zip(METHODS, self._requests, strict=True):
            for status_class, count in zip(STATUS_CLASSES, row, strict=True):
                answers = count + plain.get((method, status_class), 0)
                if answers:
                    yield method, status_class, answers
