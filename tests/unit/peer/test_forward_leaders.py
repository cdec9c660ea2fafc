"""Forwarding while the lead passes on: which writes move to the next leader, and how one is asked that waits itself."""

import asyncio

import pytest

from sharedlogkv_replica.core.leader_view import NOBODY
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Write, Written
from sharedlogkv_replica.errors import (
    NoLeader,
    OutcomeUnknown,
    RecordTooLarge,
)
from tests.support.eventually import eventually
from tests.support.forwarding import A, B, cluster, put, sent
from tests.support.peers import leading, led_by

pytestmark = pytest.mark.asyncio


async def test_a_leader_that_leads_no_more_has_its_writes_sent_to_the_next() -> None:
    async with cluster() as here:
        old, new = here.add(A), here.add(B)
        old.keeps = True
        here.forwarder.lead_by(led_by(A))
        writes = [here.forwarder.write(put(n)) for n in range(3)]
        await sent(old, 3)
        old.depose()
        await asyncio.sleep(1)
        here.forwarder.lead_by(led_by(B, term=2))
        results = await asyncio.gather(*writes)
        assert sorted(result.offset for result in results if isinstance(result, Written)) == [0, 1, 2]
        assert len(new.taken) == 3


async def test_a_leader_that_does_not_lead_yet_is_asked_again_and_not_without_pause() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.refusal = NoLeader("waits out the lease of the one before")
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await asyncio.sleep(2)
        assert 20 < len(leader.taken) < 50
        leader.refusal = None
        assert await write == Written(Offset(0))


async def test_while_a_leader_does_not_lead_yet_one_write_alone_asks_for_all() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.refusal = NoLeader("waits out the lease of the one before")
        here.forwarder.lead_by(led_by(A))
        writes = [here.forwarder.write(put(n)) for n in range(100)]
        await asyncio.sleep(0.1)
        before = len(leader.taken)
        await asyncio.sleep(1)
        assert 10 < len(leader.taken) - before < 25
        leader.refusal = None
        assert len(await asyncio.gather(*writes)) == 100


async def test_a_probe_that_is_never_answered_stands_in_nobody_s_way() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.refusal = NoLeader("waits out the lease of the one before")
        here.forwarder.lead_by(led_by(A))
        first = here.forwarder.write(put(0))
        await asyncio.sleep(1)
        leader.keeps = True
        await sent(leader)
        second = here.forwarder.write(put(1))
        await asyncio.sleep(1)
        assert [write.key for write, _ in leader.kept] == [b"key-0"]
        with pytest.raises(OutcomeUnknown):
            await first
        await sent(leader, 2)
        leader.release()
        assert await second == Written(Offset(1))


async def test_a_leader_that_took_nothing_for_long_is_still_asked_by_the_next_write() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.refusal = NoLeader("waits out the lease of the one before")
        here.forwarder.lead_by(led_by(A))
        with pytest.raises(NoLeader):
            await here.forwarder.write(put(0))
        await asyncio.sleep(1)
        leader.refusal = None
        assert await here.forwarder.write(put(1)) == Written(Offset(0))


async def test_a_probe_that_is_too_large_ends_as_such_and_the_next_one_goes() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.refusal = NoLeader("waits out the lease of the one before")
        here.forwarder.lead_by(led_by(A))
        first = here.forwarder.write(put(0))
        await asyncio.sleep(1)
        large = here.forwarder.write(Write(b"k", bytes(2 << 20)))
        first.cancel()
        with pytest.raises(RecordTooLarge):
            await large
        leader.refusal = None
        assert await here.forwarder.write(put(1)) == Written(Offset(0))


async def test_writes_with_an_id_move_on_to_the_next_leader_at_once_and_the_others_stay_for_their_answer() -> None:
    async with cluster() as here:
        old, new = here.add(A), here.add(B)
        old.keeps = True
        here.forwarder.lead_by(led_by(A))
        with_id, without = here.forwarder.write(put(0, request="id")), here.forwarder.write(put(1))
        await sent(old, 2)
        here.forwarder.lead_by(led_by(B, term=2))
        assert await with_id == Written(Offset(0))
        assert [write.key for write in new.taken] == [b"key-0"]
        old.release()
        assert await without == Written(Offset(1))
        assert [write.key for write in new.taken] == [b"key-0"]


async def test_the_link_to_an_old_leader_ends_once_all_is_answered() -> None:
    async with cluster() as here:
        old = here.add(A)
        here.add(B)
        old.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(old)
        here.forwarder.lead_by(led_by(B, term=2))
        await eventually(lambda: here.dialer.counters.open_connections == 2)
        old.release()
        await write
        await eventually(lambda: here.dialer.counters.open_connections == 1)


async def test_what_an_old_leader_did_not_take_is_written_by_this_replica_when_it_leads() -> None:
    async with cluster() as here:
        old = here.add(A)
        old.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(old)
        here.forwarder.lead_by(leading(term=2))
        old.depose()
        assert await write == Written(Offset(0))
        assert here.me.taken == [put()]


async def test_a_replica_that_leads_no_more_forwards_what_it_did_not_write() -> None:
    async with cluster() as here:
        new = here.add(A)
        here.me.keeps = True
        here.forwarder.lead_by(leading())
        write = here.forwarder.write(put())
        here.me.depose()
        here.forwarder.lead_by(led_by(A, term=2))
        assert await write == Written(Offset(0))
        assert new.taken == [put()]


async def test_writes_that_come_back_from_this_replica_keep_their_own_deadlines() -> None:
    async with cluster() as here:
        here.me.keeps = True
        here.forwarder.lead_by(leading())
        old = here.forwarder.write(put(0))
        await asyncio.sleep(2)
        here.forwarder.lead_by(NOBODY)
        young = here.forwarder.write(put(1))
        here.me.depose()
        await asyncio.sleep(2.9)
        assert not old.done()
        await asyncio.sleep(0.2)
        assert isinstance(old.exception(), NoLeader)
        assert not young.done()
        with pytest.raises(NoLeader):
            await young
        assert here.forwarder.waiting_writes == 0


async def test_a_write_that_this_replica_refuses_is_told_so_or_waits_as_any_leader_s_would() -> None:
    async with cluster() as here:
        here.forwarder.lead_by(leading())
        here.me.refusal = RecordTooLarge("too large")
        with pytest.raises(RecordTooLarge):
            await here.forwarder.write(put(0))
        here.me.refusal = NoLeader("waits out the lease of the one before")
        waits = here.forwarder.write(put(1))
        await asyncio.sleep(1)
        here.me.refusal = None
        assert await waits == Written(Offset(0))


async def test_an_unknown_outcome_of_a_write_with_an_id_is_settled_by_the_next_leader() -> None:
    async with cluster() as here:
        old, new = here.add(A), here.add(B)
        old.refusal = OutcomeUnknown("fenced")
        new.written["id"] = Offset(41)
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put(request="id"))
        await asyncio.sleep(1)
        here.forwarder.lead_by(led_by(B, term=2))
        assert await write == Written(Offset(41), repeated=True)


async def test_the_same_leader_in_a_new_term_keeps_its_link() -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        here.forwarder.lead_by(led_by(A, term=2))
        await here.forwarder.write(put())
        assert len(here.network.pipes) == 1


async def test_a_link_outlives_the_time_without_a_leader() -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        here.forwarder.lead_by(NOBODY)
        write = here.forwarder.write(put())
        await asyncio.sleep(0.1)
        assert not write.done()
        here.forwarder.lead_by(led_by(A, term=2))
        assert await write == Written(Offset(1))
