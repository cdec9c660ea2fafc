"""The server's coarse clock: one reading per sweep instead of one per request."""

import time
from email.utils import formatdate


class CoarseClock:
    """Time as of the last tick.

    Attributes:
        now: monotonic seconds; behind by at most the time between ticks. Another number at each of them, so that
            whoever caches what time changes sees when it is old.
        date_line: the `Date` header field of this second, line end included (RFC 9110 section 6.6.1).
    """

    __slots__ = ("_second", "date_line", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.date_line = b""
        self._second = -1
        self.tick()

    def tick(self) -> None:
        """Reads the clocks."""
        self.now = time.monotonic()
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.date_line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
