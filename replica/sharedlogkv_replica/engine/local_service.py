"""What a replica that may lead does for whoever forwards to a leader: itself, and its peers."""

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import Write, WriteResult
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.lead import Lead
from sharedlogkv_replica.engine.leadership import Leadership
from sharedlogkv_replica.engine.promise import Promise, Turn


class LocalService:
    """This replica as the one that may lead; implements `PeerService` for itself and for its peers."""

    def __init__(self, lead: Lead, leadership: Leadership, follower: Follower) -> None:
        self._lead = lead
        self._intake = lead.intake
        self._leadership = leadership
        self._follower = follower
        self._turn = Turn()

    def write(self, write: Write, *, timeout_seconds: float) -> Promise[WriteResult]:
        """See `PeerService`; a leader's own deadline, which is the same for all replicas, counts for all writes."""
        del timeout_seconds
        return self._intake.submit(write)

    def read_index(self) -> Promise[Offset | None]:
        """See `PeerService`."""
        index: Promise[Offset | None] = Promise(self._turn)

        def tell(_: object) -> None:
            if not index.done():
                index.set_result(self._index())

        if self._leadership.lease_holds() and self._lead.flight.is_on:
            self._lead.flight.settled().add_done_callback(tell)
        else:
            tell(None)
        return index

    def index_now(self) -> Offset | None:
        """The read index, where it is known at once; None elsewhere."""
        return None if self._lead.flight.is_on else self._index()

    def lease_holds(self) -> bool:
        """Whether this replica leads, and nobody else can."""
        return self._leadership.lease_holds()

    def _index(self) -> Offset | None:
        if not self._leadership.lease_holds():
            return None
        return max(Offset(self._follower.position - 1), self._lead.committed)

    def ask_leads(self, term: Term) -> bool:
        """See `PeerService`."""
        return self._leadership.ask_leads(term)

    def note_peer(self, name: str, position: Position, *, fit: bool) -> None:
        """See `PeerService`."""
        self._leadership.note_peer(name, position, fit=fit)
