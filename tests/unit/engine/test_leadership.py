"""Replicas that elect a leader and hand over, as a whole: election, leader's work and follower, in virtual time."""

import asyncio

import pytest

from sharedlogkv_replica.core.leader_view import Role
from sharedlogkv_replica.core.records import BARRIER, Entry
from sharedlogkv_replica.core.writes import RequestId, Write, Written
from sharedlogkv_replica.errors import NoLeader
from sharedlogkv_replica.log.memory import Fault
from tests.support import virtual_time
from tests.support.electorate import electorate


def test_a_lone_replica_comes_to_lead_and_takes_writes() -> None:
    async def main() -> None:
        async with electorate(1) as made:
            leader = await made.leader()
            result = await leader.lead.intake.submit(Write(b"k", b"1"))
            assert isinstance(result, Written)
            assert leader.leadership.lease_holds()

    virtual_time.run(main())


def test_of_three_replicas_one_leads_and_all_agree_on_it() -> None:
    async def main() -> None:
        async with electorate(3) as made:
            leader = await made.leader()
            roles = sorted(member.leadership.view.role.value for member in made.members)
            assert roles == ["follower", "follower", "leader"]
            terms = {member.leadership.view.term for member in made.members}
            assert terms == {leader.lead.term}

    virtual_time.run(main())


def test_a_leader_stays_for_minutes_when_all_is_well() -> None:
    async def main() -> None:
        async with electorate(3) as made:
            leader = await made.leader()
            term = leader.lead.term
            await asyncio.sleep(300)
            assert (await made.leader()).lead.term == term
            assert {member.leadership.changes for member in made.members} == {1}

    virtual_time.run(main())


def test_when_the_leader_dies_another_leads_within_seconds_and_has_all_that_was_acknowledged() -> None:
    async def main() -> None:
        async with electorate(3) as made:
            leader = await made.leader()
            written = await leader.lead.intake.submit(Write(b"k", b"1"))
            await leader.kill()
            died = asyncio.get_running_loop().time()
            successor = await made.leader()
            assert asyncio.get_running_loop().time() - died < 5
            assert isinstance(written, Written)
            assert successor.follower.store.get(b"k") == (written.offset, b"1")

    virtual_time.run(main())


def test_a_request_that_a_dead_leader_carried_out_is_not_carried_out_again_by_the_next() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            write = Write(b"k", b"1", request=RequestId("id", "print"))
            written = await leader.lead.intake.submit(write)
            assert isinstance(written, Written)
            await leader.kill()
            successor = await made.leader()
            assert await successor.lead.intake.submit(write) == Written(written.offset, repeated=True)

    virtual_time.run(main())


def test_a_leader_that_applies_its_own_batches_first_remembers_requests_for_the_whole_window() -> None:
    async def main() -> None:
        async with electorate(1) as made:
            leader = await made.leader()
            window_seconds = made.broker.compaction_lag_seconds
            await leader.lead.intake.submit(Write(b"old", b"1", request=RequestId("old", "print")))
            await asyncio.sleep(2 * window_seconds)
            write = Write(b"k", b"1", request=RequestId("id", "print"))
            written = await leader.lead.intake.submit(write)
            assert isinstance(written, Written)
            made.broker.append([BARRIER])
            await asyncio.sleep(window_seconds / 2)
            assert await leader.lead.intake.submit(write) == Written(written.offset, repeated=True)
            assert len(leader.window) == 1, "the old one was forgotten"

    virtual_time.run(main())


def test_a_hand_over_makes_the_named_replica_lead_at_once() -> None:
    async def main() -> None:
        async with electorate(3) as made:
            leader = await made.leader()
            await asyncio.sleep(3)
            heir = next(member for member in reversed(made.members) if member is not leader)
            begun = asyncio.get_running_loop().time()
            await leader.leadership.transfer(heir.name)
            assert await made.leader() is heir
            assert asyncio.get_running_loop().time() - begun < 0.5

    virtual_time.run(main())


def test_a_replica_that_retires_hands_over_to_the_best_placed_one_and_never_leads_again() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            await asyncio.sleep(3)
            begun = asyncio.get_running_loop().time()
            leader.leadership.retire()
            successor = await made.leader()
            assert asyncio.get_running_loop().time() - begun < 0.5
            await successor.kill()
            await asyncio.sleep(60)
            assert not leader.leads

    virtual_time.run(main())


def test_who_does_not_lead_has_nothing_to_hand_over() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            (other,) = [member for member in made.members if member is not leader]
            with pytest.raises(NoLeader):
                await other.leadership.transfer(leader.name)

    virtual_time.run(main())


def test_a_hand_over_is_refused_by_a_leader_that_has_heard_nothing_of_the_log_for_long() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            await asyncio.sleep(3)
            made.broker.fault = Fault.UNREACHABLE
            await asyncio.sleep(20)
            with pytest.raises(NoLeader):
                await leader.leadership.transfer("")

    virtual_time.run(main())


def test_a_hand_over_to_the_leader_itself_changes_nothing() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            await leader.leadership.transfer(leader.name)
            assert await made.leader() is leader
            assert leader.leadership.changes == 1

    virtual_time.run(main())


def test_a_leader_that_can_t_reach_the_log_for_a_moment_leads_on() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            made.broker.fault = Fault.UNREACHABLE
            await asyncio.sleep(1)
            made.broker.fault = None
            await asyncio.sleep(10)
            assert await made.leader() is leader
            assert leader.leadership.changes == 1

    virtual_time.run(main())


def test_a_record_that_no_leader_wrote_is_applied_and_counted_everywhere() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            await leader.lead.intake.submit(Write(b"k", b"1"))
            made.broker.append([Entry(b"k", b"foreign")])
            await leader.lead.intake.submit(Write(b"other", b"1"))
            await asyncio.sleep(1)
            for member in made.members:
                assert member.leadership.authorship.foreign_records == 1
                found = member.follower.store.get(b"k")
                assert found is not None
                assert found[1] == b"foreign"

    virtual_time.run(main())


def test_when_the_log_is_replaced_nobody_leads_on_the_new_one() -> None:
    async def main() -> None:
        async with electorate(2) as made:
            leader = await made.leader()
            made.broker.recreate()
            await asyncio.sleep(30)
            assert made.leaders == []
            assert leader.leadership.view.role is Role.FOLLOWER
            assert made.broker.end == 0

    virtual_time.run(main())
