"""How long a connection waits for its client, by `Limits`. No IO here.

A span is measured by sweeps, `Limits.sweep_seconds` apart, at both of its ends; so it may seem longer by one sweep than
it is. None is cut short for that.
"""

from sharedlogkv_replica.server.http_messages import Response
from sharedlogkv_replica.server.http_reader import HEAD
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import problem


class Patience:
    """What one connection bears. All times are in seconds, by the coarse clock."""

    __slots__ = ("_limits", "_unsent_bytes", "_unsent_since")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._unsent_bytes = 0
        self._unsent_since = 0.0

    def is_stalled(self, unsent_bytes: int, now: float) -> bool:
        """Whether the client takes nothing, for too long, of the `unsent_bytes` that wait for it; ask in each sweep."""
        if unsent_bytes == 0 or unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._unsent_since = unsent_bytes, now
            return False
        return now - self._unsent_since > self._limits.stall_timeout_seconds

    def has_lingered(self, seconds: float) -> bool:
        """Whether the client had time enough to close, so long after its last answer."""
        return seconds - self._limits.sweep_seconds > self._limits.linger_seconds

    def was_idle(self, seconds: float) -> bool:
        """Whether a connection on which nothing happens for so long is to be closed."""
        return seconds - self._limits.sweep_seconds > self._limits.idle_timeout_seconds

    def find_refusal(self, phase: int, seconds: float) -> Response | None:
        """The answer to a request whose header (`HEAD`) or body has been coming for so long; None: wait on."""
        limits = self._limits
        part, timeout_seconds = (
            ("header", limits.head_timeout_seconds) if phase == HEAD else ("body", limits.body_timeout_seconds)
        )
        if seconds - limits.sweep_seconds <= timeout_seconds:
            return None
        return problem("request-timeout", f"the request's {part} was not complete after {timeout_seconds:g} s")
