"""Forwarding where all is well: a write goes to the leader, whole, and its answer comes back as it was."""

import asyncio

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Condition, ConditionFailed, RequestId, RequestMismatch, Write, Written
from sharedlogkv_replica.errors import (
    LogRefused,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)
from tests.support.forwarding import A, cluster, put, sent
from tests.support.peers import leading, led_by

pytestmark = pytest.mark.asyncio


async def test_a_write_reaches_the_leader_whole_and_its_result_comes_back() -> None:
    async with cluster() as here:
        leader = here.add(A)
        here.forwarder.lead_by(led_by(A))
        writes = [
            Write(b"k", b"v", Condition(match=frozenset({Offset(3), Offset(5)})), RequestId("id", "print")),
            Write(b"k", None, Condition(none_match=frozenset())),
            Write(b"k", b""),
        ]
        assert [await here.forwarder.write(write) for write in writes] == [Written(Offset(n)) for n in range(3)]
        assert leader.taken == writes


@pytest.mark.parametrize(
    "result", [Written(Offset(9), repeated=True), ConditionFailed(Offset(4), Offset(8)), RequestMismatch()], ids=repr
)
async def test_every_result_comes_back_as_it_was(result: Written | ConditionFailed | RequestMismatch) -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(leader)
        leader.kept[0][1].set_result(result)
        assert await write == result


@pytest.mark.parametrize("kind", [LogUnavailable, LogRefused, RecordTooLarge, OutcomeUnknown])
async def test_every_final_error_comes_back_with_its_words(kind: type[ReplicaError]) -> None:
    async with cluster() as here:
        here.add(A).refusal = kind("what the leader says")
        here.forwarder.lead_by(led_by(A))
        with pytest.raises(kind, match="what the leader says"):
            await here.forwarder.write(put())


async def test_a_bug_of_the_leader_is_an_unknown_outcome() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(leader)
        leader.kept[0][1].set_exception(ZeroDivisionError())
        with pytest.raises(OutcomeUnknown):
            await write


async def test_the_leader_s_own_writes_stay_at_home() -> None:
    async with cluster() as here:
        here.forwarder.lead_by(leading())
        assert await here.forwarder.write(put()) == Written(Offset(0))
        assert here.me.taken == [put()]


async def test_what_is_asked_in_one_turn_leaves_in_one_write_and_is_answered_in_one() -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        (pipe,) = here.network.pipes
        asked, answered = len(pipe.written), len(pipe.other.written)
        results = await asyncio.gather(*(here.forwarder.write(put(n)) for n in range(500)))
        assert results == [Written(Offset(1 + n)) for n in range(500)]
        assert (len(pipe.written) - asked, len(pipe.other.written) - answered) == (1, 1)


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
async def test_bytes_may_arrive_in_any_pieces(chunk_bytes: int) -> None:
    async with cluster() as here:
        here.add(A)
        here.network.chunk_bytes = chunk_bytes
        here.forwarder.lead_by(led_by(A))
        results = await asyncio.gather(*(here.forwarder.write(put(n)) for n in range(50)))
        assert results == [Written(Offset(n)) for n in range(50)]


async def test_large_and_small_writes_go_together() -> None:
    async with cluster() as here:
        leader = here.add(A)
        here.forwarder.lead_by(led_by(A))
        writes = [Write(b"k", bytes(size)) for size in (1, 1 << 20, 2, 300_000, 300_000, 3)]
        await asyncio.gather(*(here.forwarder.write(write) for write in writes))
        assert leader.taken == writes


async def test_a_write_that_the_leader_would_not_take_is_refused_here() -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        with pytest.raises(RecordTooLarge):
            await here.forwarder.write(Write(b"k", bytes(2 << 20)))
        assert await here.forwarder.write(put()) == Written(Offset(0))
