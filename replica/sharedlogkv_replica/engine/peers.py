"""What replicas want of one another: the questions that pass between them, whoever carries them.

One replica leads; every other one forwards its clients' writes to it, asks it up to where a linearizable read must
have read (ReadIndex), tells it how well placed it is to lead next, and asks one that went silent whether it leads.
`engine/forward.py` asks, `server/peer_server.py` answers, from a `PeerService`; `engine/peer_wire.py` is in between.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import Write, WriteResult
from sharedlogkv_replica.engine.promise import Promise
from sharedlogkv_replica.errors import PeerFault


class PeerService(Protocol):
    """The part of a replica that leads, when it does, as this replica and its peers see it."""

    def write(self, write: Write, *, timeout_seconds: float) -> Promise[WriteResult]:
        """Writes as the leader does. Never raises: errors are the promise's, which ends within that time.

        The promise's errors:
            NoLeader: this replica does not lead, or no longer; nothing was written.
            LogUnavailable: nothing was written.
            RecordTooLarge: nothing was written.
            LogRefused: nothing was written.
            OutcomeUnknown: it may have been written, or may yet be, before the next leader's claim.
        """
        ...

    def read_index(self) -> Promise[Offset | None]:
        """The offset up to which a read must have applied the log; None without a valid lease.

        A follower may have records in its map, and show them, before the leader knows that they are written. So the
        answer waits for the batch that is on its way when this is called: whoever has shown it has done so since.
        """
        ...

    def ask_leads(self, term: Term) -> bool:
        """Whether this replica leads `term`, and holds its lease."""
        ...

    def note_peer(self, name: str, position: Position, *, fit: bool) -> None:
        """Takes down where the map of the replica `name` is, and whether that replica is fit to lead."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica tells the leader of itself, once a second.

    Attributes:
        position: of its map.
        fit: whether it could lead.
    """

    position: Position
    fit: bool


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What one connection between replicas may take, the same on both ends.

    Attributes:
        unanswered_questions: that one end has asked and the other has not answered; it asks no more before an answer.
        unanswered_bytes: their sizes summed. The one question that reaches a bound may go over it.
        handshake_seconds: from the attempt to connect until each side has proved the secret.
        tick_seconds: how often the asking end reports, and both ends look after their connections.
        silent_ticks: after so many ticks without a byte from the other end the connection is cut.
        first_backoff_seconds: between a lost connection and the next attempt; doubled at each failure.
        last_backoff_seconds: the longest pause between attempts.
        connections: that a server has open at a time; one more is closed at once.
        strangers: of these, those that have not proved the secret yet.
    """

    unanswered_questions: int = 10_000
    unanswered_bytes: int = 64 << 20
    handshake_seconds: float = 2.0
    tick_seconds: float = 1.0
    silent_ticks: int = 4
    first_backoff_seconds: float = 0.05
    last_backoff_seconds: float = 2.0
    connections: int = 1_000
    strangers: int = 100


@dataclass(slots=True)
class PeerCounters:
    """What one end, asking or answering, did since the start, for the metrics.

    Attributes:
        connections: handshakes that both sides passed.
        open_connections: of these, those that are open now.
        failures: connections that were not made, or cut, by fault.
        questions: asked, or taken in to be answered.
        sent_bytes: all that was written.
        received_bytes: all that was read.
    """

    connections: int = 0
    open_connections: int = 0
    failures: Counter[PeerFault] = field(default_factory=Counter)
    questions: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ForwardLimits:
    """Bounds of the forwarder.

    Attributes:
        timeout_seconds: from a write's arrival to its answer, whatever it is.
        waiting_writes: that wait for a leader, or for room on the way to it, at most.
        waiting_bytes: their sizes summed, at most.
        rest_seconds: between an answer `NoLeader` and the next attempt with the same leader.
    """

    timeout_seconds: float
    waiting_writes: int = 20_000
    waiting_bytes: int = 64 << 20
    rest_seconds: float = 0.05


@dataclass(slots=True)
class ForwardCounters:
    """What the forwarder did since the start, for the metrics.

    Attributes:
        writes: taken in.
        forwarded: attempts that went to a peer.
        repeated: attempts beyond the first.
        refused: writes refused at once, for the queue was full or the peer takes none that large.
        no_leader: writes whose deadline came while nobody took them.
        unknown: writes that ended as `OutcomeUnknown`.
        failed: writes that ended with another error of the leader.
    """

    writes: int = 0
    forwarded: int = 0
    repeated: int = 0
    refused: int = 0
    no_leader: int = 0
    unknown: int = 0
    failed: int = 0
