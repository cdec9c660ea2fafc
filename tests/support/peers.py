"""Replicas as their peers see them, for tests of what goes between them."""

import asyncio
from dataclasses import dataclass, field

from sharedlogkv_replica.core.leader_view import LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import Write, WriteResult, Written
from sharedlogkv_replica.engine.forward import Forwarder
from sharedlogkv_replica.engine.peer_handshake import PeerIdentity
from sharedlogkv_replica.engine.peer_link import Connect, PeerDialer
from sharedlogkv_replica.engine.peer_wire import frame_limit_bytes
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerCounters, PeerLimits, Report
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import NoLeader, OutcomeUnknown, ReplicaError
from sharedlogkv_replica.server.peer_connection import PeerConnection
from sharedlogkv_replica.server.peer_server import PeerServer
from tests.support.network import Network

SECRET = b"the secret that all replicas of one resource share"
LOG = "31p46z8rQ1CUmOLGhmY2OQ"
VALUE_LIMIT_BYTES = 1 << 20


class ScriptedLeader:
    """A `PeerService` that does as a test tells it: numbers what it writes, or keeps it until it is told the outcome.

    Attributes:
        taken: every write that was asked for.
        kept: those that wait for their outcome.
        keeps: whether writes wait; else they are answered in the same turn.
        hangs: whether those that wait miss their deadline.
        refusal: what writes end with, if not with success.
        index: the read index.
        terms: those that it leads.
        peers: what was noted of them.
        indexes: how often it was asked for the read index.
        written: by request id; a repetition gets the first offset.
    """

    def __init__(self) -> None:
        self.taken: list[Write] = []
        self.kept: list[tuple[Write, Promise[WriteResult]]] = []
        self.keeps = False
        self.hangs = False
        self.refusal: ReplicaError | None = None
        self.index: Offset | None = Offset(0)
        self.terms: set[Term] = set()
        self.peers: dict[str, tuple[Position, bool]] = {}
        self.timeouts: list[float] = []
        self.indexes = 0
        self.written: dict[str, Offset] = {}
        self._offset = 0
        self._turn = Turn()

    def write(self, write: Write, *, timeout_seconds: float) -> Promise[WriteResult]:
        """Writes as the script says."""
        future = Promise[WriteResult](self._turn)
        self.taken.append(write)
        self.timeouts.append(timeout_seconds)
        if self.keeps:
            self.kept.append((write, future))
            asyncio.get_running_loop().call_later(timeout_seconds, self._expire, write, future)
        elif self.refusal is not None:
            future.set_exception(self.refusal)
        else:
            future.set_result(self.commit(write))
        return future

    def _expire(self, write: Write, future: Promise[WriteResult]) -> None:
        if (write, future) in self.kept and not self.hangs:
            fail(future, OutcomeUnknown("kept for too long"))

    def commit(self, write: Write) -> Written:
        """Puts `write` into the log, at most once by its request id."""
        if write.request is not None and write.request.id in self.written:
            return Written(self.written[write.request.id], repeated=True)
        offset, self._offset = Offset(self._offset), self._offset + 1
        if write.request is not None:
            self.written[write.request.id] = offset
        return Written(offset)

    def release(self) -> None:
        """Writes what was kept."""
        kept, self.kept = self.kept, []
        for write, future in kept:
            written = None if future.cancelled() else self.commit(write)
            if written is not None and not future.done():
                future.set_result(written)

    def depose(self) -> None:
        """Leads no more: what was kept was not written, and nothing more is."""
        self.refusal, self.keeps = NoLeader("this replica does not lead"), False
        kept, self.kept = self.kept, []
        for _, future in kept:
            fail(future, NoLeader("this replica leads no more"))

    def read_index(self) -> Promise[Offset | None]:
        """What the script says."""
        self.indexes += 1
        index = Promise[Offset | None](self._turn)
        index.set_result(self.index)
        return index

    def ask_leads(self, term: Term) -> bool:
        """What the script says."""
        return term in self.terms

    def note_peer(self, name: str, position: Position, *, fit: bool) -> None:
        """Takes it down."""
        self.peers[name] = (position, fit)


def identity(name: str = "replica-1", *, secret: bytes = SECRET, log_id: str = LOG) -> PeerIdentity:
    """One replica of the tests' resource."""
    return PeerIdentity(name, log_id, secret)


def peer_server(
    service: ScriptedLeader, *, name: str = "leader", limits: PeerLimits | None = None, secret: bytes = SECRET
) -> PeerServer:
    """A server that listens to nothing."""
    return PeerServer(
        service,
        identify=lambda: identity(name, secret=secret),
        frame_limit_bytes=frame_limit_bytes(VALUE_LIMIT_BYTES),
        limits=limits or PeerLimits(),
        counters=PeerCounters(),
    )


@dataclass
class Cluster:
    """Leaders on a network in memory, and one replica that forwards to them.

    Attributes:
        network: between them.
        leaders: by address.
        servers: by address.
        me: the forwarding replica's own service.
        dialer: its links.
        forwarder: what is tested.
    """

    network: Network
    me: ScriptedLeader
    dialer: PeerDialer
    forwarder: Forwarder
    leaders: dict[str, ScriptedLeader] = field(default_factory=dict)
    servers: dict[str, PeerServer] = field(default_factory=dict)

    def add(self, address: str) -> ScriptedLeader:
        """Another replica, at `address`."""
        leader = self.leaders[address] = ScriptedLeader()
        server = self.servers[address] = peer_server(leader, name=address)
        self.network.servers[address] = lambda: PeerConnection(server)
        return leader


def forwarding_cluster(
    *, limits: ForwardLimits | None = None, peer_limits: PeerLimits | None = None, connect: Connect | None = None
) -> Cluster:
    """A cluster without leaders so far."""
    network, me = Network(), ScriptedLeader()
    dialer = PeerDialer(
        identify=identity,
        report=lambda: Report(Position(7), fit=True),
        limits=peer_limits or PeerLimits(),
        connect=connect or network.connect,
    )
    return Cluster(network, me, dialer, Forwarder(me, limits or ForwardLimits(timeout_seconds=5), dialer=dialer))


def led_by(address: str, *, term: int = 1) -> LeaderView:
    """The leader at `address`, seen by another replica."""
    return LeaderView(Role.FOLLOWER, Term(term), address, address)


def leading(*, term: int = 1) -> LeaderView:
    """What a leader sees of itself."""
    return LeaderView(Role.LEADER, Term(term), "replica-1", "replica-1:8081")
