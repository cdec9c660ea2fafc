"""Forwarding: where a write goes, what becomes of it when connections and leaders come and go, and what is shared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sharedlogkv_replica.core.leader_view import NOBODY, LeaderView, Role
from sharedlogkv_replica.core.leadership import Term
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Condition, ConditionFailed, RequestId, RequestMismatch, Write, Written
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerLimits
from sharedlogkv_replica.errors import (
    LogRefused,
    LogUnavailable,
    NoLeader,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)
from tests.support.eventually import eventually
from tests.support.peers import Cluster, ScriptedLeader, forwarding_cluster, leading, led_by

pytestmark = pytest.mark.asyncio

A, B = "a:8081", "b:8081"


@asynccontextmanager
async def cluster(
    limits: ForwardLimits | None = None, *, peer_limits: PeerLimits | None = None
) -> AsyncIterator[Cluster]:
    made = forwarding_cluster(limits=limits, peer_limits=peer_limits)
    try:
        yield made
    finally:
        await made.forwarder.close()


def put(n: int = 0, *, request: str | None = None) -> Write:
    return Write(b"key-%d" % n, b"value", request=None if request is None else RequestId(request, "print"))


async def sent(leader: ScriptedLeader, count: int = 1) -> None:
    """Returns once the leader has kept so many writes."""
    await eventually(lambda: len(leader.kept) == count, what=f"{count} writes at the leader")


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


# --- without a leader ---


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


# --- lost connections ---


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
        leader.keeps = True
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


# --- changes of the leader ---


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


# --- pressure ---


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


# --- questions ---


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
