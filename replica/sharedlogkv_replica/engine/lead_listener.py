"""What the leader's work (engine/lead.py) tells and asks whoever decides about leadership (engine/leadership.py)."""

from typing import Protocol

from sharedlogkv_replica.errors import ReplicaError
from sharedlogkv_replica.log.base import Claimed


class Listener(Protocol):
    """Who decides about leadership, as far as this module must tell."""

    def lease_holds(self) -> bool:
        """Whether nobody else can lead now."""
        ...

    def may_append(self) -> bool:
        """Whether a batch may be sent: not by a leader that was asleep for longer than its fence is sure to hold."""
        ...

    def on_claimed(self, claimed: Claimed, *, started: float) -> None:
        """A claim, begun at `started` (monotonic), was acknowledged."""
        ...

    def on_claim_failed(self, error: ReplicaError) -> None:
        """A claim failed: as `FencedWriter.claim` says."""
        ...

    def on_committed(self, *, started: float) -> None:
        """A batch, begun at `started` (monotonic), was acknowledged."""
        ...

    def on_writer_lost(self, *, fenced: bool) -> None:
        """The claim is spent: somebody else's is in the log (`fenced`), or the outcome of a batch is unknown."""
        ...

    def on_resigned(self, error: ReplicaError | None) -> None:
        """The resignation is in the log, or it is not for the given reason."""
        ...
