"""Forwarding over connections that are lost: which writes are sent again, and what is told of the others."""

import asyncio

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Written
from sharedlogkv_replica.errors import (
    LogUnavailable,
    OutcomeUnknown,
)
from tests.support.forwarding import A, cluster, put, sent
from tests.support.peers import led_by

pytestmark = pytest.mark.asyncio


async def test_a_write_that_was_not_sent_yet_survives_the_loss_of_the_connection() -> None:
    async with cluster() as here:
        leader = here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put(0))
        write = here.forwarder.write(put(1))
        here.network.cut()
        assert await write == Written(Offset(1))
        assert leader.taken == [put(0), put(1)]


async def test_a_write_that_was_sent_and_has_no_id_is_unknown_when_the_connection_is_lost() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(leader)
        here.network.cut()
        with pytest.raises(OutcomeUnknown, match="lost"):
            await write
        assert leader.taken == [put()]


async def test_a_write_that_was_sent_and_has_an_id_is_sent_again_and_carried_out_once() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put(request="id"))
        await sent(leader)
        leader.release()
        here.network.cut()
        leader.keeps = False
        assert await write == Written(Offset(0), repeated=True)
        assert here.forwarder.counters.repeated == 1


async def test_a_write_with_an_id_that_nobody_takes_after_a_loss_is_unknown_and_not_called_unwritten() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put(request="id"))
        await sent(leader)
        del here.network.servers[A]
        here.network.cut()
        with pytest.raises(OutcomeUnknown):
            await write


async def test_after_a_loss_not_even_a_plain_refusal_means_that_nothing_was_written() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put(request="id"))
        await sent(leader)
        here.network.cut()
        leader.keeps, leader.refusal = False, LogUnavailable("the log is gone")
        with pytest.raises(OutcomeUnknown, match="the log is gone"):
            await write


async def test_a_leader_that_does_not_answer_makes_the_outcome_unknown_at_the_deadline() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.keeps = leader.hangs = True
        here.forwarder.lead_by(led_by(A))
        write = here.forwarder.write(put())
        await sent(leader)
        assert leader.timeouts[0] == pytest.approx(0.9 * 5, abs=0.1)
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            await write
        leader.release()
        await asyncio.sleep(1)
        assert here.forwarder.unanswered_writes == 0


async def test_a_link_comes_back_by_itself_when_the_leader_does() -> None:
    async with cluster() as here:
        here.forwarder.lead_by(led_by(A))
        await asyncio.sleep(60)
        here.add(A)
        assert await here.forwarder.write(put()) == Written(Offset(0))
