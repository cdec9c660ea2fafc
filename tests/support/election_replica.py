"""One replica of the simulated cluster: its election, and what the engine around it does, in a few lines each."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.election_events import (
    AskLeader,
    BatchAcknowledged,
    ClaimAcknowledged,
    ClaimComposed,
    ClaimFailed,
    ClaimFailure,
    Effect,
    ElectionConfig,
    Event,
    Fit,
    Followed,
    HandOver,
    HeirsKnown,
    Lead,
    LeaderAnswered,
    LeaderSilent,
    ResignAcknowledged,
    ResignFailed,
    SendBeat,
    SendResign,
    StandDown,
    StartClaim,
    Stop,
    Tick,
    WriterLost,
)
from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Resign, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset
from tests.support.election_network import Fate

if TYPE_CHECKING:
    from tests.support.election_cluster import Cluster

DEADLINE_SECONDS = 5.0
"""Of each request to the log; whoever has no answer by then does not know."""


class SimulatedReplica:
    """A process with an election, a reader and a fenced writer.

    Attributes:
        applied: the offset up to which its map has applied the log.
        alive: it was not killed.
        stopping: it was asked to stop.
        reading_seconds: by how much its reader is late, beside the network's delay.
        hearing_seconds: by how much the log's answers are late, likewise.
        reachable: its peers reach it.
    """

    def __init__(self, cluster: "Cluster", config: ElectionConfig, *, rate: float, offset: float) -> None:
        self.name = config.name
        self.config = config
        self.election = Election(config)
        self.alive = True
        self.stopping = False
        self.reachable = True
        self.reading_seconds = 0.0
        self.hearing_seconds = 0.0
        self.applied = -1
        self._cluster = cluster
        self.rate = rate
        self.offset = offset
        self._inbox: list[Callable[[], None]] | None = None  # while asleep
        self._position = 0
        self._fit = True
        self._tick_due: float | None = None
        self._newest: Writer | None = None  # of the newest claim read
        self._claiming = False
        self._predecessor: Writer | None = None  # of our newest claim
        self._writer: Writer | None = None  # None once it is spent
        self._term: Term | None = None  # of the claim under which batches may be sent
        self._leading: Term | None = None  # of which writes may be taken
        self._batch = 0
        self._work: deque[Callable[[], None]] = deque()
        self._busy = False

    # ---- Life ----

    @property
    def now(self) -> float:
        """By this replica's clock."""
        return self.offset + self.rate * self._cluster.now

    @property
    def asleep(self) -> bool:
        return self._inbox is not None

    def holds_lease(self) -> bool:
        return self.alive and self.election.lease_holds(self.now)

    def would_shut_out(self, producer_id: int) -> bool:
        """Whether a claim that gets another producer id than this one shuts this one out."""
        known = self._predecessor if self._claiming else self._newest
        return not self.alive or (known is not None and known.producer_id == producer_id)

    def start(self) -> None:
        """Reads all of the log, and is fit then."""

        def read() -> None:
            self.reader(len(self._cluster.partition.records))()
            self.tell(Fit(self._fit))

        self._later(self._cluster.network.delay(), read)

    def kill(self) -> None:
        self.alive = False
        self._inbox = None

    def sleep(self) -> None:
        if self._inbox is None:
            self._inbox = []

    def wake(self) -> None:
        """Does all that came in meanwhile, in any order; what was read stays in the log's order."""
        inbox, self._inbox = self._inbox or [], None
        self._cluster.random.shuffle(inbox)
        for action in inbox:
            self._act(action)

    def stop(self) -> None:
        self.stopping = True
        self._act(lambda: self.tell(Stop()))

    def set_fit(self, fit: bool) -> None:
        self._fit = fit
        self._act(lambda: self.tell(Fit(self._fit)))

    def hand_over(self, successor: str) -> None:
        self._act(lambda: self.tell(HandOver(successor)))

    def _act(self, action: Callable[[], None]) -> None:
        if not self.alive:
            return
        if self._inbox is None:
            action()
        else:
            self._inbox.append(action)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        """Does `action` after `seconds` by the cluster's clock, if this process is alive and awake then."""
        self._cluster.after(seconds, lambda: self._act(action))

    # ---- The election ----

    def tell(self, *events: Event) -> None:
        """Steps the election, and carries out what it asks for."""
        for event in events:
            for effect in self.election.step(event, self.now):
                self._carry_out(effect)
        due = self.election.next_wake(self.now)
        if due is not None and due != self._tick_due:
            self._tick_due = due
            # A little late, as timers are; and never early, for all the rounding between the clocks.
            self._later((due - self.now) / self.rate + 1e-6, lambda: self._tick(due))

    def _tick(self, due: float) -> None:
        if self._tick_due == due:
            self._tick_due = None
            self.tell(Tick())

    def _carry_out(self, effect: Effect) -> None:
        cluster = self._cluster
        match effect:
            case AskLeader(term=term, address=address):
                cluster.note(self.name, f"asks {address} whether it leads in term {term}")
                self._ask(term, address)
            case StartClaim(predecessor=predecessor):
                cluster.note(self.name, "claims")
                self._do(lambda: self._claim(predecessor))
            case Lead(term=term):
                cluster.note(self.name, f"leads in term {term}")
                cluster.leads.append((self.name, term))
                self._leading = term
                heirs = [n for n, r in cluster.replicas.items() if r.alive and not r.asleep and n != self.name]
                self.tell(HeirsKnown(heirs))
            case StandDown(term=term, reason=reason):
                cluster.note(self.name, f"stands down in term {term}: {reason.value}")
                self._term = self._leading = None
            case SendBeat(term=term):
                if not self._busy:
                    self._do(lambda: self._send_batch(term, records=0))
            case SendResign(term=term, claim=claim, successor=successor):
                cluster.note(self.name, f"resigns term {term} in favour of {successor or 'nobody'}")
                self._do(lambda: self._resign(Resign(term, claim, successor)))
            case _:
                assert_never(effect)

    def _ask(self, term: Term, address: str) -> None:
        cluster = self._cluster
        asked = cluster.replicas.get(address)
        if asked is None or not asked.alive:
            self._later(cluster.network.delay(), lambda: self.tell(LeaderSilent(term)))
            return
        if cluster.network.loses() or not (self.reachable and asked.reachable):
            return

        def answer() -> None:
            leads = asked.election.answers_for(term, asked.now)
            self._later(cluster.network.delay(), lambda: self.tell(LeaderAnswered(term, leads)))

        asked._later(cluster.network.delay(), answer)

    # ---- The reader ----

    def reader(self, end: int) -> Callable[[], None]:
        """What reads the log up to its record number `end`."""
        return lambda: self._act(lambda: self._read(end))

    def _read(self, end: int) -> None:
        while self._position < end:
            appended = self._cluster.partition.records[self._position]
            self._position += 1
            self._apply(appended.offset, appended.record)
            if isinstance(appended.record, Claim):
                self._newest = appended.record.writer
            self.tell(Followed(appended.offset, appended.record))

    def _apply(self, offset: Offset, record: LeadershipRecord) -> None:
        headed = record.records if isinstance(record, Stamp) else 0
        self.applied = max(self.applied, offset + headed)

    # ---- The writer: one thing at a time ----

    def write(self) -> None:
        """A client writes, if this replica takes writes and is idle."""
        term = self._leading
        if term is not None and not self.asleep and self.alive and not self._busy:
            self.tell(Tick())
            if self.election.may_append(self.now):
                self._do(lambda: self._send_batch(term, records=1))

    def _do(self, work: Callable[[], None]) -> None:
        self._work.append(work)
        self._go_on()

    def _go_on(self) -> None:
        if not self._busy and self._work:
            self._busy = True
            self._work.popleft()()

    def _done(self, *events: Event) -> None:
        self._busy = False
        self.tell(*events)
        self._go_on()

    def _send(self, writer: Writer, record: LeadershipRecord, done: "Callable[[Offset | ClaimFailure], None]") -> None:
        """Appends `record`; `done` gets its offset, or why there is none."""
        cluster, network = self._cluster, self._cluster.network
        fate = network.fate()
        waiting = True

        def answer(outcome: Offset | ClaimFailure) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                done(outcome)

        def arrive() -> None:
            offset = cluster.partition.append(writer, record)
            if offset is not None:
                if not isinstance(record, Stamp):
                    cluster.note("log", describe(offset, record))
                cluster.announce()
            if fate is Fate.ANSWERED:
                outcome = ClaimFailure.FENCED if offset is None else offset
                self._later(network.delay() + self.hearing_seconds, lambda: answer(outcome))

        match fate:
            case Fate.REFUSED:
                self._later(network.delay(), lambda: answer(ClaimFailure.NOT_WRITTEN))
            case Fate.ANSWERED | Fate.ANSWER_LOST:
                cluster.after(network.delay(), arrive)
            case Fate.LATE:
                cluster.after(DEADLINE_SECONDS + 5 * cluster.random.random(), arrive)
            case Fate.LOST:
                pass
            case _:
                assert_never(fate)
        self._later(DEADLINE_SECONDS, lambda: answer(ClaimFailure.UNKNOWN))

    def _claim(self, predecessor: Writer | None) -> None:
        started, network = self.now, self._cluster.network
        self._writer, self._predecessor, self._claiming = None, predecessor, True

        def initialise() -> None:
            writer = self._cluster.partition.take_writer()
            self._later(network.delay(), lambda: send(writer))

        def send(writer: Writer) -> None:
            if predecessor is not None and predecessor.producer_id != writer.producer_id:
                self._cluster.partition.shut_out(predecessor)
            self.tell(ClaimComposed(writer))
            self._send(writer, self.election.claim(writer), lambda outcome: finish(writer, outcome))

        def finish(writer: Writer, outcome: Offset | ClaimFailure) -> None:
            self._claiming = False
            if isinstance(outcome, ClaimFailure):
                self._cluster.note(self.name, f"learns of its claim: {outcome.value}")
                self._done(ClaimFailed(outcome))
            else:
                self._writer, self._term, self._batch = writer, Term(outcome), 0
                self._done(ClaimAcknowledged(outcome, writer, started))

        self._cluster.after(network.delay(), initialise)

    def _send_batch(self, term: Term, *, records: int) -> None:
        started, writer = self.now, self._writer
        self._batch += 1
        stamp = Stamp(term, self._batch, records, heirs=self._heirs() if not records else ())

        def finish(outcome: Offset | ClaimFailure) -> None:
            match outcome:
                case ClaimFailure.NOT_WRITTEN:
                    self._done()
                case ClaimFailure():
                    self._writer = None
                    self._done(WriterLost(fenced=outcome is ClaimFailure.FENCED))
                case offset:
                    self._apply(offset, stamp)
                    if records:
                        self._cluster.acknowledged = max(self._cluster.acknowledged, offset + records)
                    self._done(BatchAcknowledged(started))

        if writer is None or self._term != term:
            self._done()
        else:
            self._send(writer, stamp, finish)

    def _resign(self, resign: Resign) -> None:
        def finish(outcome: Offset | ClaimFailure) -> None:
            failed = isinstance(outcome, ClaimFailure)
            if failed and outcome is not ClaimFailure.NOT_WRITTEN:
                self._writer = None
            self._done(ResignFailed() if failed else ResignAcknowledged())

        if self._writer is None:
            self._done(ResignFailed())
        else:
            self._send(self._writer, resign, finish)

    def _heirs(self) -> tuple[str, ...]:
        return tuple(name for name in self._cluster.replicas if name != self.name)


def describe(offset: int, record: LeadershipRecord) -> str:
    """One line about a record."""
    match record:
        case Stamp(term=term):
            return f"{offset}: batch of term {term}"
        case Resign(term=term, successor=successor):
            return f"{offset}: term {term} is resigned, {successor or 'nobody'} should lead"
        case claim:
            return f"{offset}: claim of {claim.replica} with epoch {claim.writer.epoch}"
