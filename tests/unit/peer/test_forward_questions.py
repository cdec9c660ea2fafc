"""What a replica asks the leader beside writes: read indexes, whether it leads; and what it reports."""

import asyncio

import pytest

from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset
from tests.support.eventually import eventually
from tests.support.forwarding import A, B, cluster, put
from tests.support.peers import leading, led_by

pytestmark = pytest.mark.asyncio


async def test_readers_share_the_question_after_the_one_that_is_under_way() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.index = Offset(41)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        readers = [asyncio.create_task(here.forwarder.read_index(timeout_seconds=1)) for _ in range(100)]
        assert set(await asyncio.gather(*readers)) == {41}
        assert leader.indexes == here.forwarder.indexes.questions == 2


async def test_a_reader_that_comes_while_a_question_is_under_way_gets_a_later_answer() -> None:
    async with cluster() as here:
        leader = here.add(A)
        leader.index = Offset(1)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        first = asyncio.create_task(here.forwarder.read_index(timeout_seconds=1))
        await eventually(lambda: leader.indexes == 1)
        leader.index = Offset(2)
        second = asyncio.create_task(here.forwarder.read_index(timeout_seconds=1))
        assert (await first, await second) == (1, 2)


async def test_the_leader_knows_its_own_index_and_nobody_else_s_is_asked_for() -> None:
    async with cluster() as here:
        here.me.index = Offset(5)
        here.forwarder.lead_by(leading())
        assert await here.forwarder.read_index(timeout_seconds=1) == 5
        here.me.index = None
        assert await here.forwarder.read_index(timeout_seconds=1) is None


async def test_without_a_leader_or_a_connection_there_is_no_index() -> None:
    async with cluster() as here:
        assert await here.forwarder.read_index(timeout_seconds=1) is None
        here.forwarder.lead_by(led_by(A))
        assert await here.forwarder.read_index(timeout_seconds=1) is None


async def test_a_leader_that_does_not_answer_costs_a_reader_its_time_and_no_more() -> None:
    async with cluster() as here:
        here.add(A)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        here.network.freeze()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await here.forwarder.read_index(timeout_seconds=0.5) is None
        assert loop.time() - began == pytest.approx(0.5)


async def test_readers_of_a_frozen_leader_go_on_as_soon_as_another_one_leads() -> None:
    async with cluster() as here:
        here.add(A)
        here.add(B).index = Offset(9)
        here.forwarder.lead_by(led_by(A))
        await here.forwarder.write(put())
        here.network.pipes[0].other.pause_reading()
        reader = asyncio.create_task(here.forwarder.read_index(timeout_seconds=2))
        await asyncio.sleep(0.1)
        here.forwarder.lead_by(led_by(B, term=2))
        assert await reader is None
        await here.forwarder.write(put())
        assert await here.forwarder.read_index(timeout_seconds=1) == 9


async def test_a_leader_is_asked_whether_it_still_leads() -> None:
    async with cluster() as here:
        here.add(A).terms = {Term(3)}
        here.forwarder.lead_by(led_by(A, term=3))
        assert await here.forwarder.ask_leads(Term(3), timeout_seconds=1) is True
        assert await here.forwarder.ask_leads(Term(2), timeout_seconds=1) is False


async def test_a_leader_that_is_gone_or_frozen_is_silent() -> None:
    async with cluster() as here:
        assert await here.forwarder.ask_leads(Term(1), timeout_seconds=1) is None
        here.forwarder.lead_by(led_by(A))
        assert await here.forwarder.ask_leads(Term(1), timeout_seconds=1) is None
        here.add(A)
        await here.forwarder.write(put())
        here.network.freeze()
        assert await here.forwarder.ask_leads(Term(1), timeout_seconds=1) is None


async def test_each_replica_reports_to_the_leader_once_a_second() -> None:
    async with cluster() as here:
        leader = here.add(A)
        here.forwarder.lead_by(led_by(A))
        await eventually(lambda: leader.peers)
        assert leader.peers == {"replica-1": (7, True)}
        before = here.dialer.counters.questions
        await asyncio.sleep(10)
        assert here.dialer.counters.questions - before == pytest.approx(10, abs=1)
