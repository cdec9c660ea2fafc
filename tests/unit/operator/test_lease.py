"""Who of several operators works: the decisions, and two candidates in virtual time."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.lease import DURATION_SECONDS, LeaseView, build_lease, may_hold, view_lease
from sharedlogkv_operator.lease_holder import LeaseHolder, LeaseLost
from tests.support.operator_world import START
from tests.support.virtual_time import run as run_virtual

Manifest = dict[str, Any]
HELD = LeaseView("other", 15, 3, "2026-01-01T00:00:00.000000Z", "7")


class FakeLeases:
    """A `LeaseClient` with one Lease, which can be out of reach for some candidates."""

    def __init__(self) -> None:
        self.body: Manifest | None = None
        self.is_out_of_reach = False
        self._versions = itertools.count(1)

    async def get_lease(self, namespace: str, name: str) -> Manifest | None:
        await self._answer()
        return self.body

    async def write_lease(self, manifest: Mapping[str, Any]) -> Manifest:
        await self._answer()
        live = self.body["metadata"]["resourceVersion"] if self.body else None
        if manifest["metadata"].get("resourceVersion") != live:
            raise KubeUnavailable("somebody was faster")
        self.body = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(next(self._versions))}}
        return self.body

    async def _answer(self) -> None:
        await asyncio.sleep(0.01)
        if self.is_out_of_reach:
            raise KubeUnavailable("no answer")


def candidate(leases: FakeLeases, me: str) -> LeaseHolder:
    return LeaseHolder(leases, namespace="ops", name="operator", me=me, now=lambda: START)


@pytest.mark.parametrize(
    ("lease", "unchanged_seconds", "expected"),
    [
        (None, 0.0, True),
        (HELD, 14.9, False),
        (HELD, 15.0, True),
        (LeaseView("", 1, 3, "", "7"), 0.0, True),
        (LeaseView("me", 15, 3, "", "7"), 0.0, True),
    ],
    ids=["absent", "another's", "lapsed", "released", "ours"],
)
def test_a_lease_is_held_that_is_absent_ours_released_or_lapsed(
    lease: LeaseView | None, unchanged_seconds: float, expected: bool
) -> None:
    assert may_hold(lease, "me", unchanged_seconds=unchanged_seconds) is expected


def test_a_lease_that_is_taken_counts_a_transition_and_one_that_is_renewed_keeps_its_beginning() -> None:
    taken = build_lease(HELD, "me", namespace="ops", name="operator", now=START)
    assert taken["metadata"] == {"namespace": "ops", "name": "operator", "resourceVersion": "7"}
    assert taken["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": DURATION_SECONDS,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 4,
    }
    own = LeaseView("me", 15, 4, "long ago", "8")
    renewed: Manifest = build_lease(own, "me", namespace="ops", name="operator", now=START)["spec"]  # type: ignore[assignment] # opaque
    assert (renewed["acquireTime"], renewed["leaseTransitions"]) == ("long ago", 4)


@given(st.dictionaries(st.sampled_from(["holderIdentity", "leaseDurationSeconds", "leaseTransitions"]), st.none()))
def test_a_lease_that_says_nothing_is_nobody_s(spec: Manifest) -> None:
    view = view_lease({"metadata": {"resourceVersion": "1"}, "spec": spec})
    assert (view.holder, view.duration_seconds, view.transitions) == ("", DURATION_SECONDS, 0)
    assert view_lease({"metadata": {"resourceVersion": "1"}}).holder == ""


def test_of_two_that_begin_together_one_leads_and_the_other_stands_by() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one, two = candidate(leases, "one"), candidate(leases, "two")
        tasks = [asyncio.create_task(each.acquire()) for each in (one, two)]
        await asyncio.sleep(5)
        assert [one.is_leading, two.is_leading].count(True) == 1
        assert [one.is_standing_by, two.is_standing_by].count(True) == 1
        for task in tasks:
            task.cancel()

    run_virtual(scenario())


def test_a_leader_that_renews_keeps_the_lease() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one, two = candidate(leases, "one"), candidate(leases, "two")
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        following = asyncio.create_task(two.acquire())
        await asyncio.sleep(3600)
        assert one.is_leading
        assert not following.done()
        assert one.tick_age_seconds < 3
        holding.cancel()
        following.cancel()

    run_virtual(scenario())


def test_a_leader_that_vanished_is_followed_when_its_lease_has_lapsed_and_not_before() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        await candidate(leases, "one").acquire()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await candidate(leases, "two").acquire()
        assert DURATION_SECONDS <= loop.time() - began <= DURATION_SECONDS + 3

    run_virtual(scenario())


def test_a_released_lease_is_taken_at_once() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one = candidate(leases, "one")
        await one.acquire()
        following = asyncio.create_task(candidate(leases, "two").acquire())
        await asyncio.sleep(5)
        await one.release()
        async with asyncio.timeout(3):
            await following

    run_virtual(scenario())


def test_a_leader_out_of_reach_of_the_api_server_gives_up_before_anybody_may_follow() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one = candidate(leases, "one")
        await one.acquire()
        loop = asyncio.get_running_loop()
        began = loop.time()
        leases.is_out_of_reach = True
        with pytest.raises(LeaseLost, match="could not be renewed within 10 s"):
            await one.hold()
        assert loop.time() - began <= 10.1
        assert not one.is_leading
        await one.release()  # in vain, and no trouble

    run_virtual(scenario())


def test_a_short_outage_costs_no_lease_holder() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one = candidate(leases, "one")
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        for _ in range(5):
            leases.is_out_of_reach = True
            await asyncio.sleep(6)
            leases.is_out_of_reach = False
            await asyncio.sleep(4)
        assert not holding.done()
        holding.cancel()

    run_virtual(scenario())


def test_a_leader_that_was_frozen_ends_when_it_finds_the_lease_in_other_hands() -> None:
    async def scenario() -> None:
        leases = FakeLeases()
        one = candidate(leases, "one")
        await one.acquire()
        assert leases.body is not None
        found = view_lease(leases.body)
        await leases.write_lease(build_lease(found, "two", namespace="ops", name="operator", now=START))
        with pytest.raises(LeaseLost, match="the Lease is two's now"):
            await one.hold()
        await one.release()
        assert view_lease(leases.body).holder == "two"

    run_virtual(scenario())


def test_a_lease_that_may_not_be_read_is_asked_for_again() -> None:
    class Refusing(FakeLeases):
        async def get_lease(self, namespace: str, name: str) -> Manifest | None:
            if self.is_out_of_reach:
                raise KubeRefused("leases is forbidden")
            return await super().get_lease(namespace, name)

    async def scenario() -> None:
        leases = Refusing()
        leases.is_out_of_reach = True
        one = candidate(leases, "one")
        acquiring = asyncio.create_task(one.acquire())
        await asyncio.sleep(10)
        assert not one.is_standing_by, "not ready before it has seen the Lease"
        leases.is_out_of_reach = False
        await acquiring

    run_virtual(scenario())
