"""Whatever happens to connections and leaders: a forwarded write is in the log as often as its client was told.

| the client was told | its write is in the log |
|---|---|
| `Written` | once, at that offset |
| `NoLeader`, or another error that says so | never |
| `OutcomeUnknown` | at most once |
"""

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.leader_view import NOBODY, LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import RequestId, Write, WriteResult, Written
from sharedlogkv_replica.engine.forward import Forwarder
from sharedlogkv_replica.engine.peer_link import PeerDialer
from sharedlogkv_replica.engine.peer_wire import frame_limit_bytes
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerCounters, PeerLimits, Report
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.waiters import fail
from sharedlogkv_replica.errors import NoLeader, OutcomeUnknown, ReplicaError
from sharedlogkv_replica.server.peer_connection import PeerConnection
from sharedlogkv_replica.server.peer_server import PeerServer
from tests.support import virtual_time
from tests.support.network import Network
from tests.support.peers import identity

NAMES = ("me", "a", "b")
ME = NAMES[0]


@dataclass
class ModelLog:
    """The log, and who may append to it: the newest leader alone."""

    records: list[bytes] = field(default_factory=list)
    ids: dict[str, Offset] = field(default_factory=dict)
    leader: str = ""
    term: int = 0


@dataclass
class ModelLeader:
    """One replica's service: collects writes, and writes them, or not, when it is told."""

    name: str
    log: ModelLog
    queue: list[tuple[Write, Promise[WriteResult]]] = field(default_factory=list)
    turn: Turn = field(default_factory=Turn)

    @property
    def leads(self) -> bool:
        return self.log.leader == self.name

    def write(self, write: Write, *, timeout_seconds: float) -> Promise[WriteResult]:
        future = Promise[WriteResult](self.turn)
        if self.leads:
            self.queue.append((write, future))
            asyncio.get_running_loop().call_later(timeout_seconds, self._expire, write, future)
        else:
            future.set_exception(NoLeader("does not lead"))
        return future

    def _expire(self, write: Write, future: Promise[WriteResult]) -> None:
        if (write, future) in self.queue:
            fail(future, OutcomeUnknown("not acknowledged in time"))

    def commit(self) -> None:
        """Carries out what it collected."""
        for write, future in self._take():
            written = self._carry_out(write)
            if not future.done():
                future.set_result(written)

    def lose(self, *, written: bool) -> None:
        """Is deposed while a batch is on its way: it does not learn whether that is in the log."""
        for write, future in self._take():
            if written:
                self._carry_out(write)
            fail(future, OutcomeUnknown("deposed"))

    def depose(self) -> None:
        """Is deposed before it sent anything."""
        for _, future in self._take():
            fail(future, NoLeader("deposed"))

    def _take(self) -> list[tuple[Write, Promise[WriteResult]]]:
        queue, self.queue = self.queue, []
        return queue

    def _carry_out(self, write: Write) -> Written:
        log = self.log
        if write.request is not None and write.request.id in log.ids:
            return Written(log.ids[write.request.id], repeated=True)
        offset = Offset(len(log.records))
        log.records.append(write.key)
        if write.request is not None:
            log.ids[write.request.id] = offset
        return Written(offset)

    def read_index(self) -> Promise[Offset | None]:
        index = Promise[Offset | None](self.turn)
        index.set_result(None)
        return index

    def ask_leads(self, term: Term) -> bool:
        return self.leads and term == self.log.term

    def note_peer(self, name: str, position: Position, *, fit: bool) -> None:
        pass


class End(enum.Enum):
    """How a leader's term ends, for the writes that it collected."""

    ALL_WRITTEN = "written and acknowledged"
    WRITTEN = "written, and it does not know"
    NOT_WRITTEN = "not written, and it does not know"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class Ask:
    """A client writes."""

    with_id: bool


@dataclass(frozen=True)
class Elect:
    """Another leader, or nobody; the forwarding replica hears of it, or not."""

    name: str
    end: End
    heard: bool


class Happening(enum.Enum):
    """What else may happen."""

    COMMIT = "the leader writes what it collected"
    CUT = "every connection breaks"
    FREEZE = "nothing arrives"
    THAW = "it arrives"
    PAUSE = "a second"


class Wait(enum.Enum):
    """What passes after a step, in seconds; a turn of the loop takes none."""

    NOTHING = None
    TURN = 0.0
    LITTLE = 0.02
    MORE = 0.2


Step: TypeAlias = Ask | Elect | Happening

STEPS = st.tuples(
    st.one_of(
        st.builds(Ask, st.booleans()),
        st.sampled_from((Happening.COMMIT, Happening.CUT)),
        st.sampled_from(Happening),
        st.builds(
            Elect, st.sampled_from(("", *NAMES, *NAMES)), st.sampled_from(End), st.sampled_from((True, True, False))
        ),
    ),
    st.sampled_from(Wait),
)


class Scenario:
    """Three replicas on a network in memory; clients ask the first one."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self.log = ModelLog()
        self.network = Network()
        self.replicas = {name: ModelLeader(name, self.log) for name in NAMES}
        for name in NAMES[1:]:
            self._listen(name)
        dialer = PeerDialer(identity, lambda: Report(Position(0), fit=False), connect=self.network.connect)
        limits = ForwardLimits(timeout_seconds)
        self.forwarder = Forwarder(self.replicas[ME], limits, dialer=dialer)
        self.asked: list[tuple[Write, Promise[WriteResult]]] = []

    def _listen(self, name: str) -> None:
        server = PeerServer(
            self.replicas[name],
            identify=lambda: identity(name),
            frame_limit_bytes=frame_limit_bytes(1000),
            limits=PeerLimits(),
            counters=PeerCounters(),
        )
        self.network.servers[name] = lambda: PeerConnection(server)

    def view(self) -> LeaderView:
        """Who leads, as the log says."""
        leader = self.log.leader
        if not leader:
            return NOBODY
        return LeaderView(Role.LEADER if leader == ME else Role.FOLLOWER, Term(self.log.term), leader, leader)

    async def take(self, step: Step) -> None:
        """One step."""
        match step:
            case Ask(with_id):
                name = f"{len(self.asked)}"
                write = Write(name.encode(), b"v", request=RequestId(name, "print") if with_id else None)
                self.asked.append((write, self.forwarder.write(write)))
            case Elect(name, end, heard):
                self.elect(name, end)
                if heard:
                    self.forwarder.lead_by(self.view())
            case Happening.COMMIT:
                if self.log.leader:
                    self.replicas[self.log.leader].commit()
            case Happening.CUT:
                self.network.cut()
            case Happening.FREEZE:
                self.network.freeze()
            case Happening.THAW:
                self.network.thaw()
            case Happening.PAUSE:
                await asyncio.sleep(1)

    def elect(self, name: str, end: End) -> None:
        """The term ends, and the next one begins."""
        if self.log.leader:
            old = self.replicas[self.log.leader]
            match end:
                case End.ALL_WRITTEN:
                    old.commit()
                case End.WRITTEN | End.NOT_WRITTEN:
                    old.lose(written=end is End.WRITTEN)
                case End.NOT_SENT:
                    old.depose()
        self.log.leader = name
        self.log.term += 1


async def play(steps: Sequence[tuple[Step, Wait]], *, calm: bool, timeout_seconds: float = 3) -> Scenario:
    """Takes the steps, and then waits until every client has its answer; if `calm`, all is well from then on."""
    scenario = Scenario(timeout_seconds=timeout_seconds)
    scenario.elect("a", End.NOT_SENT)
    scenario.forwarder.lead_by(scenario.view())
    await asyncio.sleep(0.1)
    for step, wait in steps:
        await scenario.take(step)
        if wait.value is not None:
            await asyncio.sleep(wait.value)
    if calm:
        scenario.network.thaw()
        scenario.elect("a", End.WRITTEN)
        scenario.forwarder.lead_by(scenario.view())
    deadline = asyncio.get_running_loop().time() + timeout_seconds + 0.1
    while not all(future.done() for _, future in scenario.asked):
        assert asyncio.get_running_loop().time() < deadline, "a client waits beyond its deadline"
        await asyncio.sleep(0.05)
        if calm:
            scenario.replicas["a"].commit()
    assert scenario.forwarder.waiting_writes == scenario.forwarder.unanswered_writes == 0
    await scenario.forwarder.close()
    return scenario


def judge(scenario: Scenario) -> None:
    """Holds what the clients were told against the log."""
    for write, future in scenario.asked:
        times = scenario.log.records.count(write.key)
        error = future.exception()
        if error is None:
            result = future.result()
            assert isinstance(result, Written)
            assert (times, scenario.log.records[result.offset]) == (1, write.key)
        elif isinstance(error, OutcomeUnknown):
            assert times <= 1
        else:
            assert isinstance(error, ReplicaError)
            assert times == 0, f"{error!r}, and it is in the log"


@settings(max_examples=150)
@given(st.lists(STEPS, min_size=15, max_size=50), st.booleans())
@example([(Ask(False), Wait.LITTLE), (Happening.CUT, Wait.NOTHING), (Happening.COMMIT, Wait.MORE)], True)
@example(
    [
        (Ask(True), Wait.LITTLE),
        (Elect("b", End.WRITTEN, True), Wait.MORE),
        (Elect("", End.NOT_SENT, True), Wait.NOTHING),
    ],
    False,
)
def test_a_write_is_in_the_log_as_often_as_its_client_was_told(steps: list[tuple[Step, Wait]], calm: bool) -> None:
    judge(virtual_time.run(play(steps, calm=calm)))


@settings(max_examples=50)
@given(st.lists(STEPS, min_size=5, max_size=20))
def test_with_an_id_and_a_leader_at_last_every_write_succeeds(steps: list[tuple[Step, Wait]]) -> None:
    quick = [
        (Ask(True) if isinstance(step, Ask) else step, wait) for step, wait in steps if step is not Happening.PAUSE
    ]
    scenario = virtual_time.run(play(quick, calm=True, timeout_seconds=15))
    judge(scenario)
    assert all(future.exception() is None for _, future in scenario.asked)
