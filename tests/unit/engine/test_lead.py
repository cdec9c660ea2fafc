"""A leader's batches: group commit, conditions, repeated requests, beats and resignations."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from sharedlogkv_replica.core.leadership import (
    LEADERSHIP_KEY,
    STAMP_KEY,
    Claim,
    Resign,
    Stamp,
    decode_leadership,
)
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.core.writes import (
    Condition,
    ConditionFailed,
    RequestId,
    RequestMismatch,
    Write,
    Written,
)
from sharedlogkv_replica.errors import (
    LogUnavailable,
    NoLeader,
    RecordTooLarge,
)
from sharedlogkv_replica.log.base import FencedWriter
from tests.support.eventually import eventually
from tests.support.leader_bench import bench, keys_in, records_in

ABSENT = Condition(none_match=frozenset())


@pytest.mark.asyncio
async def test_who_does_not_lead_writes_nothing() -> None:
    async with bench() as made:
        with pytest.raises(NoLeader):
            await made.lead.intake.submit(Write(b"a", b"1"))
        assert keys_in(made.broker) == []


@pytest.mark.asyncio
async def test_writes_that_arrive_together_are_one_batch_behind_one_stamp() -> None:
    async with bench() as made:
        term = await made.take_over()
        results = await asyncio.gather(*(made.lead.intake.submit(Write(b"key-%d" % n, b"v")) for n in range(3)))
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
            result = await made.lead.intake.submit(Write(b"key", b"%d" % number))
            assert isinstance(result, Written)
            assert made.follower.store.get(b"key") == (result.offset, b"%d" % number)


@pytest.mark.asyncio
async def test_records_of_others_in_between_are_applied_in_the_log_s_order() -> None:
    async with bench() as made:
        await made.take_over()
        made.broker.append([Entry(b"key", b"foreign"), Entry(b"other", b"foreign")])
        await made.lead.intake.submit(Write(b"key", b"ours"))
        await eventually(lambda: made.follower.position == made.broker.end)
        assert made.follower.store.get(b"key") == (made.broker.end - 1, b"ours")
        assert made.follower.store.get(b"other") is not None


@pytest.mark.asyncio
async def test_writes_that_do_not_fit_into_one_batch_of_the_log_go_one_batch_after_the_other() -> None:
    async with bench() as made:
        await made.take_over()
        large = made.lead.intake.batch_limit_bytes * 6 // 10
        written = await asyncio.gather(*(made.lead.intake.submit(Write(b"%d" % n, bytes(large))) for n in range(3)))
        assert all(isinstance(result, Written) for result in written)
        assert made.lead.counters.batches == 3


@pytest.mark.asyncio
async def test_of_many_who_create_a_key_at_once_one_succeeds_and_the_others_learn_its_version() -> None:
    async with bench() as made:
        await made.take_over()
        results = await asyncio.gather(*(made.lead.intake.submit(Write(b"k", b"%d" % n, ABSENT)) for n in range(10)))
        (written,) = [result for result in results if isinstance(result, Written)]
        failed = [result for result in results if isinstance(result, ConditionFailed)]
        assert [result.version for result in failed] == [written.offset] * 9


@pytest.mark.asyncio
async def test_a_failed_condition_is_answered_at_once_under_a_lease() -> None:
    async with bench() as made:
        await made.take_over()
        written = await made.lead.intake.submit(Write(b"k", b"1"))
        assert isinstance(written, Written)
        end = made.broker.end
        failed = ConditionFailed(written.offset, written.offset)
        assert await made.lead.intake.submit(Write(b"k", b"2", ABSENT)) == failed
        assert made.broker.end == end


@pytest.mark.asyncio
async def test_without_a_lease_a_failed_condition_is_answered_after_a_batch_has_proved_that_nobody_else_leads() -> None:
    async with bench() as made:
        await made.take_over()
        written = await made.lead.intake.submit(Write(b"k", b"1"))
        made.ledger.holds = False
        end = made.broker.end
        failed = await made.lead.intake.submit(Write(b"k", b"2", ABSENT))
        assert isinstance(written, Written)
        assert failed == ConditionFailed(written.offset, written.offset)
        assert made.broker.end == end + 1


@pytest.mark.asyncio
async def test_a_repeated_request_is_answered_as_the_first_and_written_once() -> None:
    async with bench() as made:
        await made.take_over()
        request = RequestId("id", "print")
        first = await made.lead.intake.submit(Write(b"k", b"1", request=request))
        assert isinstance(first, Written)
        assert await made.lead.intake.submit(Write(b"k", b"1", request=request)) == Written(first.offset, repeated=True)
        other = RequestId("id", "another")
        assert await made.lead.intake.submit(Write(b"k", b"2", request=other)) == RequestMismatch()
        assert keys_in(made.broker).count(b"k") == 1


@pytest.mark.asyncio
async def test_a_request_that_is_remembered_is_answered_also_when_no_other_one_could_be_remembered() -> None:
    async with bench(window=RequestWindow(most=1)) as made:
        await made.take_over()
        request = RequestId("id", "print")
        first = await made.lead.intake.submit(Write(b"k", b"1", request=request))
        assert isinstance(first, Written)
        await eventually(lambda: made.window.is_full)
        assert await made.lead.intake.submit(Write(b"k", b"1", request=request)) == Written(first.offset, repeated=True)
        with pytest.raises(LogUnavailable, match="send it later"):
            await made.lead.intake.submit(Write(b"k", b"1", request=RequestId("other", "print")))


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
            await made.lead.intake.submit(Write(b"k", bytes(100_000)))


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
                await made.lead.intake.submit(Write(b"%d" % number, b"1"))

        await asyncio.gather(*map(write_twenty, range(8)))
        assert made.lead.counters.records == 160
        assert made.lead.counters.batches <= 25, "two halves that take turns would need forty"
