"""The write mode of replicas on the way from one mode to another: the rules of `mode_change`."""

import functools
import itertools
from typing import Any

import pytest

from sharedlogkv_operator.desired import build_deployment
from sharedlogkv_operator.mode_change import Workload, choose_write_mode, parse_template_mode
from sharedlogkv_operator.spec import WriteMode
from tests.support.operator_objects import build_resource

Manifest = dict[str, Any]

LEADER, LEADERLESS, READ_ONLY = WriteMode.LEADER, WriteMode.LEADERLESS, WriteMode.READ_ONLY
TURNS = [(LEADER, LEADERLESS), (LEADERLESS, LEADER)]
"""From one mode that writes to the other."""


@functools.cache
def deployment(mode: WriteMode) -> Manifest:
    return build_deployment(build_resource(spec={"writeMode": mode.value}), topic_id="t", default_image="i")


def replica_set(mode: WriteMode, *, wanted: int = 0, there: int = 0, is_seen: bool = True) -> Manifest:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": wanted, "template": deployment(mode)["spec"]["template"]},
        "status": {"observedGeneration": 2 if is_seen else 1, "replicas": there},
    }


def pod(mode: WriteMode, *, phase: str = "Running", **metadata: str) -> Manifest:
    spec = deployment(mode)["spec"]["template"]["spec"]
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def choose(
    wanted: WriteMode, live: Manifest | None, *, sets: tuple[Manifest, ...] = (), pods: tuple[Manifest, ...] = ()
) -> WriteMode:
    return choose_write_mode(wanted, Workload(live, sets, pods))


@pytest.mark.parametrize("mode", list(WriteMode))
def test_a_new_store_begins_in_the_mode_that_is_wanted(mode: WriteMode) -> None:
    assert choose(mode, None) is mode


@pytest.mark.parametrize("mode", [LEADER, LEADERLESS])
def test_to_read_only_there_is_no_detour(mode: WriteMode) -> None:
    assert choose(READ_ONLY, deployment(mode), pods=(pod(mode),)) is READ_ONLY


@pytest.mark.parametrize(("former", "wanted"), TURNS)
def test_from_one_mode_that_writes_to_the_other_the_way_leads_through_read_only(
    former: WriteMode, wanted: WriteMode
) -> None:
    assert choose(wanted, deployment(former)) is READ_ONLY


@pytest.mark.parametrize(("former", "wanted"), TURNS)
def test_a_pod_of_the_former_mode_is_waited_for_also_while_it_is_being_stopped(
    former: WriteMode, wanted: WriteMode
) -> None:
    live = deployment(READ_ONLY)
    stopping = pod(former, deletionTimestamp="2026-01-01T00:00:00Z")
    assert choose(wanted, live, pods=(pod(READ_ONLY), pod(former))) is READ_ONLY
    assert choose(wanted, live, pods=(pod(READ_ONLY), stopping)) is READ_ONLY
    assert choose(wanted, live, pods=(pod(READ_ONLY), pod(former, phase="Succeeded"))) is wanted
    assert choose(wanted, live, pods=(pod(READ_ONLY),)) is wanted


@pytest.mark.parametrize(("former", "wanted"), TURNS)
def test_a_replica_set_that_could_still_make_pods_of_the_former_mode_is_waited_for(
    former: WriteMode, wanted: WriteMode
) -> None:
    live = deployment(READ_ONLY)
    assert choose(wanted, live, sets=(replica_set(former, wanted=1),)) is READ_ONLY
    assert choose(wanted, live, sets=(replica_set(former, there=1),)) is READ_ONLY
    assert choose(wanted, live, sets=(replica_set(former, is_seen=False),)) is READ_ONLY
    assert choose(wanted, live, sets=(replica_set(former), replica_set(READ_ONLY, wanted=3, there=3))) is wanted


@pytest.mark.parametrize(("former", "wanted"), TURNS)
def test_going_back_half_way_is_as_safe(former: WriteMode, wanted: WriteMode) -> None:
    live, pods = deployment(READ_ONLY), (pod(READ_ONLY), pod(former))
    assert choose(wanted, live, pods=pods) is READ_ONLY
    assert choose(former, live, pods=pods) is former


def test_whatever_is_there_no_two_modes_that_write_ever_are_together() -> None:
    """Plays every order of a Deployment's controller that starts, stops and loses pods, and of passes of ours."""
    for former, wanted in TURNS:
        for steps in itertools.product("cop", repeat=7):  # the controller replaces, an old pod ends, a pass of ours
            live, pods, ending = deployment(former), [former, former], 0
            for step in steps:
                mode = parse_template_mode(live)
                assert mode is not None
                if step == "c" and any(found.value != mode for found in pods):
                    index = next(i for i, found in enumerate(pods) if found.value != mode)
                    ending += pods[index] is former  # it is being stopped, and still writes
                    pods[index] = WriteMode(mode)
                elif step == "o":
                    ending = max(0, ending - 1)
                elif step == "p":
                    there = tuple(pod(found) for found in (*pods, *[former] * ending))
                    counts = {found: pods.count(found) for found in WriteMode}
                    sets = tuple(replica_set(found, wanted=count, there=count) for found, count in counts.items())
                    live = deployment(choose(wanted, live, sets=sets, pods=there))
                writers = {found for found in (*pods, *[former] * ending) if found is not READ_ONLY}
                assert len(writers) <= 1, steps


def test_a_deployment_that_is_not_of_ours_has_no_mode() -> None:
    bodies: list[Manifest] = [{}, {"spec": {}}, {"spec": {"template": {"spec": {"containers": []}}}}]
    for body in bodies:
        assert parse_template_mode(body) is None
