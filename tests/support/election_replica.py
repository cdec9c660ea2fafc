"""One replica of the simulated cluster: its election, and what the engine around it does, in a few lines each."""

from collections import deque
from collections.abc import Callable, Sequence
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
from sharedlogkv_replica.core.leadership import (
    Claim,
    Enlisted,
    LeadershipRecord,
    Resign,
    Retired,
    Stamp,
    Term,
    Writer,
    claim_batch,
    rules_out,
)
from sharedlogkv_replica.core.records import Offset
from tests.support.election_network import Fate
from tests.support.fenced_partition import Appended

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
        self._log = cluster.partition.compacted() if cluster.compacts else []  # and then, of the partition itself:
        self._position = len(cluster.partition.records) if cluster.compacts else 0
        self._fit = True
        self._tick_due: float | None = None
        self._writer: Writer | None = None  # None once it is spent
        self._term: Term | None = None  # of the claim under which batches may be sent
        self._leading: Term | None = None  # of which writes may be taken
        self._batch = 0
        self._open_batches: dict[tuple[Term, int], int] = {}  # and under which producer id they were sent
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
            case StartClaim(enlisted=enlisted):
                cluster.note(self.name, "claims")
                self._do(lambda: self._claim(enlisted))
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
        kept, self._log = self._log, []
        for appended in kept:
            self._take_in(appended)
        while self._position < end:
            self._position += 1
            self._take_in(self._cluster.partition.records[self._position - 1])

    def _take_in(self, appended: Appended) -> None:
        offset, record = appended.offset, appended.record
        self._apply(offset, record)
        if isinstance(record, Stamp):
            self._open_batches.pop((record.term, record.batch), None)
        for (term, batch), producer_id in list(self._open_batches.items()):
            if rules_out(record, offset, term=term, producer_id=producer_id):
                self._cluster.given_up.add((term, batch))
                del self._open_batches[term, batch]
        self.tell(Followed(offset, record))

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

    def _send(
        self,
        writer: Writer,
        records: Sequence[LeadershipRecord],
        done: "Callable[[Offset | ClaimFailure], None]",
    ) -> None:
        """Appends `records`; `done` gets the offset of the last one, or why there is none."""
        cluster, network = self._cluster, self._cluster.network
        fate = network.fate()
        waiting = True

        def answer(outcome: Offset | ClaimFailure) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                done(outcome)

        def arrive() -> None:
            offset = cluster.partition.append(writer, records)
            if offset is not None:
                if not isinstance(records[-1], Stamp):
                    cluster.note("log", describe(offset, records[-1]))
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
                cluster.after(DEADLINE_SECONDS + network.late_seconds * cluster.random.random(), arrive)
            case Fate.LOST:
                pass
            case _:
                assert_never(fate)
        self._later(DEADLINE_SECONDS, lambda: answer(ClaimFailure.UNKNOWN))

    def _claim(self, enlisted: frozenset[int]) -> None:
        started, network = self.now, self._cluster.network
        self._writer = None

        def initialise() -> None:
            writer = self._cluster.partition.take_writer()
            self._later(network.delay(), lambda: send(writer))

        def send(writer: Writer) -> None:
            for other in enlisted - {writer.producer_id}:
                self._cluster.note(self.name, f"shuts out producer id {other}")
                self._cluster.partition.shut_out(other)
            self.tell(ClaimComposed(writer))
            batch = claim_batch(self.election.claim(writer), enlisted=enlisted)
            self._send(writer, batch, lambda outcome: finish(writer, outcome))

        def finish(writer: Writer, outcome: Offset | ClaimFailure) -> None:
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
            self._open_batches[term, stamp.batch] = writer.producer_id
            self._send(writer, [stamp], finish)

    def _resign(self, resign: Resign) -> None:
        def finish(outcome: Offset | ClaimFailure) -> None:
            failed = isinstance(outcome, ClaimFailure)
            if failed and outcome is not ClaimFailure.NOT_WRITTEN:
                self._writer = None
            self._done(ResignFailed() if failed else ResignAcknowledged())

        if self._writer is None:
            self._done(ResignFailed())
        else:
            self._send(self._writer, [resign], finish)

    def _heirs(self) -> tuple[str, ...]:
        return tuple(name for name in self._cluster.replicas if name != self.name)


def describe(offset: int, record: LeadershipRecord) -> str:
    """One line about a record."""
    match record:
        case Stamp(term=term):
            return f"{offset}: batch of term {term}"
        case Resign(term=term, successor=successor):
            return f"{offset}: term {term} is resigned, {successor or 'nobody'} should lead"
        case Claim(writer=writer, replica=replica):
            return f"{offset}: claim of {replica} with epoch {writer.epoch}"
        case Enlisted(producer_id=producer_id) | Retired(producer_id=producer_id):
            return f"{offset}: {type(record).__name__.lower()} producer id {producer_id}"
