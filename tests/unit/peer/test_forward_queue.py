"""Forwarding while nobody takes a write: what waits, for how long, how much of it, and what a stop tells."""

import asyncio

import pytest

from sharedlogkv_replica.core.leader_view import NOBODY, LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Write, Written
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerLimits
from sharedlogkv_replica.errors import (
    NoLeader,
    OutcomeUnknown,
)
from tests.support.eventually import eventually
from tests.support.forwarding import A, cluster, put, sent
from tests.support.peers import leading, led_by

pytestmark = pytest.mark.asyncio


async def test_a_write_waits_for_a_leader() -> None:
    async with cluster() as here:
        here.add(A)
        write = here.forwarder.write(put())
        await asyncio.sleep(4)
        here.forwarder.lead_by(led_by(A))
        assert await write == Written(Offset(0))


async def test_without_a_leader_the_deadline_says_that_nothing_was_written() -> None:
    async with cluster() as here:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoLeader, match="nothing was written"):
            await here.forwarder.write(put())
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)
        assert here.forwarder.waiting_writes == here.forwarder.unanswered_writes == 0


@pytest.mark.parametrize(
    "view",
    [
        NOBODY,
        LeaderView(Role.CANDIDATE, Term(1), "a", A),
        LeaderView(Role.FOLLOWER, None, None, None),
        LeaderView(Role.FOLLOWER, Term(1), "a", ""),
    ],
    ids=["nobody", "candidate", "no term", "no address"],
)
async def test_where_there_is_nobody_to_send_it_to_a_write_waits(view: LeaderView) -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(view)
        write = here.forwarder.write(put())
        await asyncio.sleep(1)
        assert here.forwarder.waiting_writes == 1
        here.forwarder.lead_by(leading(term=2))
        assert await write == Written(Offset(0))
        assert here.me.taken == [put()]


async def test_a_full_queue_refuses_at_once() -> None:
    async with cluster(ForwardLimits(timeout_seconds=5, waiting_writes=3)) as here:
        waiting = [here.forwarder.write(put(n)) for n in range(3)]
        refused = here.forwarder.write(put(3))
        assert refused.done()
        with pytest.raises(NoLeader, match="3 writes wait"):
            await refused
        here.forwarder.lead_by(leading())
        assert await asyncio.gather(*waiting) == [Written(Offset(n)) for n in range(3)]


async def test_the_queue_is_bounded_in_bytes_too() -> None:
    async with cluster(ForwardLimits(timeout_seconds=5, waiting_bytes=1000)) as here:
        waiting = here.forwarder.write(Write(b"k", bytes(700)))
        with pytest.raises(NoLeader):
            await here.forwarder.write(Write(b"k", bytes(700)))
        here.forwarder.lead_by(leading())
        assert await waiting == Written(Offset(0))
        here.forwarder.lead_by(NOBODY)
        again = here.forwarder.write(Write(b"k", bytes(700)))
        assert not again.done()
        again.cancel()


async def test_a_caller_that_gives_up_while_it_waits_leaves_nothing_behind() -> None:
    async with cluster() as here:
        given_up, kept = here.forwarder.write(put(0)), here.forwarder.write(put(1))
        given_up.cancel()
        here.forwarder.lead_by(leading())
        assert await kept == Written(Offset(0))
        assert here.me.taken == [put(1)]
        assert here.forwarder.waiting_writes == here.forwarder.unanswered_writes == 0


async def test_no_more_is_under_way_than_the_bound_and_the_rest_waits_its_turn() -> None:
    async with cluster(peer_limits=PeerLimits(unanswered_questions=10)) as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        writes = [here.forwarder.write(put(n)) for n in range(30)]
        await eventually(lambda: here.forwarder.waiting_writes == 20)
        while leader.kept:
            assert len(leader.taken) <= 30
            assert len(leader.kept) <= 10
            leader.release()
            await asyncio.sleep(0.01)
        assert len(await asyncio.gather(*writes)) == 30


async def test_a_leader_that_takes_no_bytes_stops_the_sending() -> None:
    async with cluster(ForwardLimits(timeout_seconds=2)) as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        here.network.freeze()
        first = [here.forwarder.write(Write(b"k", bytes(1 << 20))) for _ in range(2)]
        await asyncio.sleep(0.1)
        held = here.forwarder.write(put(1))
        assert here.forwarder.waiting_writes == 1
        here.network.thaw()
        assert len(await asyncio.gather(*first, held)) == 3


async def test_a_stop_tells_sent_writes_from_unsent_ones() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        under_way = here.forwarder.write(put())
        await sent(leader)
        here.forwarder.lead_by(NOBODY)
        waiting = here.forwarder.write(put())
    assert isinstance(under_way.exception(), OutcomeUnknown)
    assert isinstance(waiting.exception(), NoLeader)
    late = here.forwarder.write(put())
    assert isinstance(late.exception(), NoLeader)
