"""A leader's batches: group commit, conditions, requests, unknown outcomes, deadlines."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from sharedlogkv_replica.core.leadership import (
    LEADERSHIP_KEY,
    STAMP_KEY,
    Claim,
    Request,
    Resign,
    Stamp,
    Term,
    Writer,
    decode_leadership,
    encode_leadership,
    term_of,
)
from sharedlogkv_replica.core.records import START, Batch, Entry, LogRecord, Offset
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.core.writes import (
    Condition,
    ConditionFailed,
    RequestId,
    RequestMismatch,
    Write,
    Written,
)
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.lead import Lead
from sharedlogkv_replica.engine.leader_mode import LocalService
from sharedlogkv_replica.engine.leadership import Leadership
from sharedlogkv_replica.engine.write_queue import QueueLimits
from sharedlogkv_replica.errors import (
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)
from sharedlogkv_replica.log.base import Claimed, FencedWriter
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from tests.support.eventually import eventually

ABSENT = Condition(none_match=frozenset())


@dataclass
class Ledger:
    """Records what a `Lead` tells; implements `Listener`. It holds its lease unless told otherwise."""

    holds: bool = True
    may: bool = True
    claimed: list[Claimed] = field(default_factory=list)
    failed: list[ReplicaError] = field(default_factory=list)
    committed: int = 0
    lost: list[bool] = field(default_factory=list)
    resigned: list[ReplicaError | None] = field(default_factory=list)

    def lease_holds(self) -> bool:
        return self.holds

    def may_append(self) -> bool:
        return self.may

    def on_claimed(self, claimed: Claimed, *, started: float) -> None:
        del started
        self.claimed.append(claimed)

    def on_claim_failed(self, error: ReplicaError) -> None:
        self.failed.append(error)

    def on_committed(self, *, started: float) -> None:
        del started
        self.committed += 1

    def on_writer_lost(self, *, fenced: bool) -> None:
        self.lost.append(fenced)

    def on_resigned(self, error: ReplicaError | None) -> None:
        self.resigned.append(error)


class Bench:
    """One leader in the making, on a broker in memory."""

    def __init__(self, broker: MemoryBroker, *, timeout_seconds: float = 5.0) -> None:
        self.broker = broker
        self.log = MemoryLog(broker)
        self.window = RequestWindow()
        self.window.window_ms = 600_000
        self.ledger = Ledger()
        self.follower = Follower(self.log)
        self.follower.watch_leadership(on_applied=self._on_applied, on_lost=lambda: None)
        self.lead = Lead(
            self.log.fenced_writer(),
            self.follower,
            self.window,
            limits=QueueLimits(timeout_seconds),
            batch_limit_bytes=100_000,
        )
        self.lead.bind(self.ledger)

    def _on_applied(self, batch: Batch, reserved: object) -> None:
        for offset, key, value in batch.records:
            record = decode_leadership(key or b"", value)
            if isinstance(record, Stamp):
                self.window.note(offset, record, timestamp_ms=batch.timestamp_ms)
            if record is not None:
                self.lead.observe(offset, record)

    def compose(self, writer: Writer) -> list[Entry]:
        return [encode_leadership(Claim(writer, "me", "", 3000))]

    async def claim(self) -> Term:
        """Claims, and waits until the map has the claim."""
        before = len(self.ledger.claimed)
        self.lead.claim(self.compose, enlisted=())
        await eventually(lambda: len(self.ledger.claimed) > before)
        claimed = self.ledger.claimed[-1]
        await eventually(lambda: self.follower.position > claimed.offset)
        return term_of(claimed.offset)

    async def take_over(self) -> Term:
        """Claims, and takes writes."""
        term = await self.claim()
        self.lead.begin(term)
        return term


@asynccontextmanager
async def bench(broker: MemoryBroker | None = None, *, timeout_seconds: float = 5.0) -> AsyncIterator[Bench]:
    made = Bench(broker or MemoryBroker(), timeout_seconds=timeout_seconds)
    tasks = [asyncio.create_task(made.follower.run()), asyncio.create_task(made.lead.run())]
    try:
        await eventually(lambda: made.follower.standing.ready)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def records_in(broker: MemoryBroker) -> list[LogRecord]:
    batch = broker.fetch(START)
    return [] if batch is None else list(batch.records)


def keys_in(broker: MemoryBroker) -> list[bytes | None]:
    return [key for _, key, _ in records_in(broker)]


@pytest.mark.asyncio
async def test_who_does_not_lead_writes_nothing() -> None:
    async with bench() as made:
        with pytest.raises(NoLeader):
            await made.lead.submit(Write(b"a", b"1"))
        assert keys_in(made.broker) == []


@pytest.mark.asyncio
async def test_writes_that_arrive_together_are_one_batch_behind_one_stamp() -> None:
    async with bench() as made:
        term = await made.take_over()
        results = await asyncio.gather(*(made.lead.submit(Write(b"key-%d" % n, b"v")) for n in range(3)))
        first = term + 2
        assert results == [Written(Offset(first)), Written(Offset(first + 1)), Written(Offset(first + 2))]
        assert keys_in(made.broker) == [LEADERSHIP_KEY, STAMP_KEY, b"key-0", b"key-1", b"key-2"]
        stamp = decode_leadership(STAMP_KEY, records_in(made.broker)[1][2])
        assert stamp == Stamp(term, 1, 3)


@pytest.mark.asyncio
async def test_an_answered_write_is_in_the_leader_s_own_map() -> None:
    async with bench() as made:
        await made.take_over()
        for number in range(50):
            result = await made.lead.submit(Write(b"key", b"%d" % number))
            assert isinstance(result, Written)
            assert made.follower.store.get(b"key") == (result.offset, b"%d" % number)


@pytest.mark.asyncio
async def test_records_of_others_in_between_are_applied_in_the_log_s_order() -> None:
    async with bench() as made:
        await made.take_over()
        made.broker.append([Entry(b"key", b"foreign"), Entry(b"other", b"foreign")])
        await made.lead.submit(Write(b"key", b"ours"))
        await eventually(lambda: made.follower.position == made.broker.end)
        assert made.follower.store.get(b"key") == (made.broker.end - 1, b"ours")
        assert made.follower.store.get(b"other") is not None


@pytest.mark.asyncio
async def test_of_many_who_create_a_key_at_once_one_succeeds_and_the_others_learn_its_version() -> None:
    async with bench() as made:
        await made.take_over()
        results = await asyncio.gather(*(made.lead.submit(Write(b"k", b"%d" % n, ABSENT)) for n in range(10)))
        (written,) = [result for result in results if isinstance(result, Written)]
        failed = [result for result in results if isinstance(result, ConditionFailed)]
        assert [result.version for result in failed] == [written.offset] * 9


@pytest.mark.asyncio
async def test_a_failed_condition_is_answered_at_once_under_a_lease() -> None:
    async with bench() as made:
        await made.take_over()
        written = await made.lead.submit(Write(b"k", b"1"))
        assert isinstance(written, Written)
        end = made.broker.end
        assert await made.lead.submit(Write(b"k", b"2", ABSENT)) == ConditionFailed(written.offset, written.offset)
        assert made.broker.end == end


@pytest.mark.asyncio
async def test_without_a_lease_a_failed_condition_is_answered_after_a_batch_has_proved_that_nobody_else_leads() -> None:
    async with bench() as made:
        await made.take_over()
        written = await made.lead.submit(Write(b"k", b"1"))
        made.ledger.holds = False
        end = made.broker.end
        failed = await made.lead.submit(Write(b"k", b"2", ABSENT))
        assert isinstance(written, Written)
        assert failed == ConditionFailed(written.offset, written.offset)
        assert made.broker.end == end + 1


@pytest.mark.asyncio
async def test_a_repeated_request_is_answered_as_the_first_and_written_once() -> None:
    async with bench() as made:
        await made.take_over()
        request = RequestId("id", "print")
        first = await made.lead.submit(Write(b"k", b"1", request=request))
        assert isinstance(first, Written)
        assert await made.lead.submit(Write(b"k", b"1", request=request)) == Written(first.offset, repeated=True)
        other = RequestId("id", "another")
        assert await made.lead.submit(Write(b"k", b"2", request=other)) == RequestMismatch()
        assert keys_in(made.broker).count(b"k") == 1


@pytest.mark.asyncio
async def test_a_batch_whose_answer_was_lost_is_answered_once_the_log_shows_it() -> None:
    async with bench() as made:
        await made.take_over()
        made.broker.fault = Fault.ANSWER_LOST
        write = made.lead.submit(Write(b"k", b"1"))
        assert await write == Written(Offset(made.broker.end - 1))


@pytest.mark.asyncio
async def test_a_batch_that_never_arrived_is_known_not_to_be_written_once_a_later_claim_is_applied() -> None:
    async with bench(timeout_seconds=60) as made, bench(made.broker) as successor:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        write = made.lead.submit(Write(b"k", b"1"))
        await eventually(lambda: len(made.lead.outcomes) == 1)
        made.broker.fault = None
        await successor.claim()
        with pytest.raises(NoLeader, match="nothing was written"):
            await write
        assert b"k" not in keys_in(made.broker)


@pytest.mark.asyncio
async def test_a_write_that_was_sent_has_an_unknown_outcome_at_its_deadline() -> None:
    async with bench(timeout_seconds=0.1) as made:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        with pytest.raises(OutcomeUnknown):
            await made.lead.submit(Write(b"k", b"1"))
        assert made.lead.outcomes.counters.unknown == 1


@pytest.mark.asyncio
async def test_a_write_that_waits_behind_another_past_its_deadline_is_told_that_nothing_was_written() -> None:
    async with bench(timeout_seconds=0.1) as made:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        sent = made.lead.submit(Write(b"k", b"1"))
        await eventually(lambda: len(made.lead.outcomes) == 1)
        with pytest.raises(LogUnavailable, match="nothing was written"):
            await made.lead.submit(Write(b"k", b"2"))
        with pytest.raises(OutcomeUnknown):
            await sent


@pytest.mark.asyncio
async def test_a_leader_that_another_has_replaced_writes_nothing_and_says_so() -> None:
    async with bench() as old, bench(old.broker) as new:
        await old.take_over()
        await new.claim()
        with pytest.raises(NoLeader):
            await old.lead.submit(Write(b"k", b"zombie"))
        assert old.ledger.lost == [True]
        assert b"k" not in keys_in(old.broker)


@pytest.mark.asyncio
async def test_a_leader_that_may_not_append_sends_nothing() -> None:
    async with bench(timeout_seconds=0.1) as made:
        await made.take_over()
        made.ledger.may = False
        end = made.broker.end
        write = made.lead.submit(Write(b"k", b"1"))
        await asyncio.sleep(0)
        made.lead.end("it was asleep")
        with pytest.raises(NoLeader, match="it was asleep"):
            await write
        assert made.broker.end == end


@pytest.mark.asyncio
async def test_the_end_of_a_term_gives_back_what_was_not_sent() -> None:
    async with bench() as made:
        await made.take_over()
        write = made.lead.submit(Write(b"k", b"1"))
        made.lead.end("handed over")
        with pytest.raises(NoLeader, match="handed over; nothing was written"):
            await write


@pytest.mark.asyncio
async def test_a_beat_is_a_stamp_without_records_and_may_come_before_writes_are_taken() -> None:
    async with bench() as made:
        term = await made.claim()
        made.lead.heirs = ("b", "c")
        made.lead.beat(term)
        await eventually(lambda: made.ledger.committed == 1)
        stamp = decode_leadership(STAMP_KEY, records_in(made.broker)[-1][2])
        assert stamp == Stamp(term, 1, 0, heirs=("b", "c"))


@pytest.mark.asyncio
async def test_a_resignation_is_a_record_and_its_end_is_told() -> None:
    async with bench() as made:
        term = await made.take_over()
        made.lead.end("handed over")
        resign = Resign(term, Claim(made.ledger.claimed[0].writer, "me", "", 3000), "heir")
        made.lead.resign(resign)
        await eventually(lambda: made.ledger.resigned == [None])
        assert decode_leadership(LEADERSHIP_KEY, records_in(made.broker)[-1][2]) == resign


@pytest.mark.asyncio
async def test_a_record_that_fits_no_batch_is_refused_at_once() -> None:
    async with bench() as made:
        await made.take_over()
        with pytest.raises(RecordTooLarge):
            await made.lead.submit(Write(b"k", bytes(100_000)))


@pytest.mark.asyncio
async def test_a_log_that_was_replaced_while_a_batch_was_on_its_way_leaves_its_outcome_unknown() -> None:
    async with bench(timeout_seconds=60) as made:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        write = made.lead.submit(Write(b"k", b"1"))
        await eventually(lambda: len(made.lead.outcomes) == 1)
        made.lead.lose_map()
        with pytest.raises(OutcomeUnknown, match="replaced"):
            await write


@pytest.mark.asyncio
async def test_what_a_stamp_answers_is_in_every_read_index_though_the_batch_comes_in_two_parts() -> None:
    async with bench() as made:
        term = await made.take_over()
        made.lead.observe(Offset(100), Stamp(term, 7, 3))
        assert made.lead.committed == 103


class LateWord:
    """A writer whose acknowledgements come when the test says so: the log, and others' maps, have the batch before."""

    def __init__(self, writer: FencedWriter) -> None:
        self.writer = writer
        self.come = asyncio.Event()

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """Appends, and tells late."""
        base = await self.writer.append(entries, timeout_seconds=timeout_seconds)
        await self.come.wait()
        return base


class SlowWriter:
    """A writer whose batches are on their way for some turns of the loop."""

    def __init__(self, writer: FencedWriter) -> None:
        self.writer = writer

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """Appends, a little later."""
        for _ in range(10):
            await asyncio.sleep(0)
        return await self.writer.append(entries, timeout_seconds=timeout_seconds)


@pytest.mark.asyncio
async def test_clients_that_write_again_when_they_are_answered_come_to_share_one_batch() -> None:
    async with bench() as made:
        await made.take_over()
        made.lead._writer = cast(FencedWriter, SlowWriter(made.lead._writer))

        async def write_twenty(number: int) -> None:
            for _ in range(5 * (number % 2)):
                await asyncio.sleep(0)  # the odd ones find a batch on its way
            for _ in range(20):
                await made.lead.submit(Write(b"%d" % number, b"1"))

        await asyncio.gather(*map(write_twenty, range(8)))
        assert made.lead.counters.records == 160
        assert made.lead.counters.batches <= 25, "two halves that take turns would need forty"


@pytest.mark.asyncio
async def test_the_read_index_waits_for_a_batch_that_others_may_have_shown_already() -> None:
    async with bench() as made:
        await made.take_over()
        service = LocalService(made.lead, cast(Leadership, made.ledger), made.follower)
        known = service.index_now()
        assert known == await service.read_index()
        late = LateWord(made.lead._writer)
        made.lead._writer = cast(FencedWriter, late)
        write = made.lead.submit(Write(b"k", b"1"))
        await eventually(lambda: made.broker.end > made.ledger.claimed[-1].offset + 1)
        assert made.lead.flight.is_on
        assert service.index_now() is None
        index = service.read_index()
        await asyncio.sleep(0.01)
        assert not index.done()
        late.come.set()
        written = await write
        assert isinstance(written, Written)
        assert await index == written.offset
        assert service.index_now() == written.offset


@pytest.mark.asyncio
@pytest.mark.parametrize("holds", [True, False])
async def test_a_batch_that_ends_without_success_ends_the_wait_for_the_read_index(holds: bool) -> None:
    async with bench() as made:
        await made.take_over()
        service = LocalService(made.lead, cast(Leadership, made.ledger), made.follower)
        made.broker.fault = Fault.WRITE_REFUSED
        write = made.lead.submit(Write(b"k", b"1"))
        await eventually(lambda: made.lead.flight.is_on)
        index = service.read_index()
        made.ledger.holds = holds
        with pytest.raises(LogRefused):
            await write
        assert await index == (made.ledger.claimed[-1].offset if holds else None)


@pytest.mark.asyncio
async def test_a_request_that_is_remembered_is_answered_also_when_no_other_one_could_be_remembered() -> None:
    async with bench() as made:
        await made.take_over()
        request = RequestId("id", "print")
        first = await made.lead.submit(Write(b"k", b"1", request=request))
        made.window = made.lead._window = full = RequestWindow(most=1)
        assert isinstance(first, Written)
        full.note(Offset(first.offset - 1), Stamp(Term(0), 1, 1, (Request(0, "id", "print"),)), timestamp_ms=1)
        assert await made.lead.submit(Write(b"k", b"1", request=request)) == Written(first.offset, repeated=True)
        with pytest.raises(LogUnavailable, match="send it later"):
            await made.lead.submit(Write(b"k", b"1", request=RequestId("other", "print")))
