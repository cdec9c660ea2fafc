"""What a leader's writes are told when an answer, a term or the log itself is lost, or time runs out."""

import asyncio

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import (
    Write,
    Written,
)
from sharedlogkv_replica.errors import (
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
)
from sharedlogkv_replica.log.memory import Fault
from tests.support.eventually import eventually
from tests.support.leader_bench import bench, keys_in


@pytest.mark.asyncio
async def test_a_batch_whose_answer_was_lost_is_answered_once_the_log_shows_it() -> None:
    async with bench() as made:
        await made.take_over()
        made.broker.fault = Fault.ANSWER_LOST
        write = made.lead.intake.submit(Write(b"k", b"1"))
        assert await write == Written(Offset(made.broker.end - 1))


@pytest.mark.asyncio
async def test_a_batch_that_never_arrived_is_known_not_to_be_written_once_a_later_claim_is_applied() -> None:
    async with bench(timeout_seconds=60) as made, bench(made.broker) as successor:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        write = made.lead.intake.submit(Write(b"k", b"1"))
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
            await made.lead.intake.submit(Write(b"k", b"1"))
        assert made.lead.outcomes.counters.unknown == 1


@pytest.mark.asyncio
async def test_a_write_that_waits_behind_another_past_its_deadline_is_told_that_nothing_was_written() -> None:
    async with bench(timeout_seconds=0.1) as made:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        sent = made.lead.intake.submit(Write(b"k", b"1"))
        await eventually(lambda: len(made.lead.outcomes) == 1)
        with pytest.raises(LogUnavailable, match="nothing was written"):
            await made.lead.intake.submit(Write(b"k", b"2"))
        with pytest.raises(OutcomeUnknown):
            await sent


@pytest.mark.asyncio
async def test_a_leader_that_another_has_replaced_writes_nothing_and_says_so() -> None:
    async with bench() as old, bench(old.broker) as new:
        await old.take_over()
        await new.claim()
        with pytest.raises(NoLeader):
            await old.lead.intake.submit(Write(b"k", b"zombie"))
        assert old.ledger.lost == [True]
        assert b"k" not in keys_in(old.broker)


@pytest.mark.asyncio
async def test_a_leader_that_may_not_append_sends_nothing() -> None:
    async with bench(timeout_seconds=0.1) as made:
        await made.take_over()
        made.ledger.may = False
        end = made.broker.end
        write = made.lead.intake.submit(Write(b"k", b"1"))
        await asyncio.sleep(0)
        made.lead.end("it was asleep")
        with pytest.raises(NoLeader, match="it was asleep"):
            await write
        assert made.broker.end == end


@pytest.mark.asyncio
async def test_the_end_of_a_term_gives_back_what_was_not_sent() -> None:
    async with bench() as made:
        await made.take_over()
        write = made.lead.intake.submit(Write(b"k", b"1"))
        made.lead.end("handed over")
        with pytest.raises(NoLeader, match="handed over; nothing was written"):
            await write
        late = made.lead.intake.submit(Write(b"k", b"2"))
        assert late.done(), "a write that comes behind the end does not wait for its deadline"
        with pytest.raises(NoLeader, match="does not lead; nothing was written"):
            late.result()


@pytest.mark.asyncio
async def test_a_log_that_was_replaced_while_a_batch_was_on_its_way_leaves_its_outcome_unknown() -> None:
    async with bench(timeout_seconds=60) as made:
        await made.take_over()
        made.broker.fault = Fault.REQUEST_LOST
        write = made.lead.intake.submit(Write(b"k", b"1"))
        await eventually(lambda: len(made.lead.outcomes) == 1)
        made.lead.lose_map()
        with pytest.raises(OutcomeUnknown, match="replaced"):
            await write
