"""How long a replica has heard nothing of a leader, where it could have, and from when on it may claim.

Silence counts only while a replica is fit and awake: who was asleep does not know what it has missed. A replica that is
to be woken at some time and comes much later was asleep.
"""

import math


class Vigil:
    """The silence that one replica hears; all times in monotonic seconds. Makes no claim by itself."""

    def __init__(self) -> None:
        self._quiet_since = -math.inf
        self._not_before = -math.inf
        self._wake: float | None = None

    def hear(self, now: float) -> None:
        """There was a sign of life, or none could be heard: silence begins anew."""
        self._quiet_since = now

    def hold_back(self, until: float) -> None:
        """No claim before `until`; an earlier word to that effect may say later."""
        self._not_before = max(self._not_before, until)

    def hold_back_anew(self, until: float = -math.inf) -> None:
        """No claim before `until`, whatever was said before."""
        self._not_before = until

    def end(self, patience_seconds: float) -> float:
        """When silence has lasted for so long that a leader is suspected, and a claim may be made."""
        return max(self._quiet_since + patience_seconds, self._not_before)

    def expect_wake(self, due: float | None) -> None:
        """Notes when the next step is due; None: no step is due before another event."""
        self._wake = due

    def overslept(self, now: float, *, tolerance_seconds: float) -> bool:
        """Whether the step at `now` comes much later than it was due."""
        return self._wake is not None and now > self._wake + tolerance_seconds
