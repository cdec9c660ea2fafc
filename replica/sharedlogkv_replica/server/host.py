"""What an HTTP connection needs of its server."""

from typing import Protocol, TypeVar

from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Handler
from sharedlogkv_replica.server.limits import Limits

Guest_contra = TypeVar("Guest_contra", contravariant=True)


class Host(Protocol[Guest_contra]):
    """The server, as far as its connections (`Guest_contra`) see it."""

    handler: Handler
    limits: Limits
    clock: CoarseClock
    counters: HttpCounters
    draining: bool

    def enter(self, connection: Guest_contra) -> bool:
        """Registers a new connection; False if there are too many."""
        ...

    def leave(self, connection: Guest_contra) -> None:
        """Forgets a connection that is gone."""
        ...
