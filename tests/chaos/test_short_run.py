"""A short run of everything: each quick nemesis once. `make chaos` is the long one.

And the tests of the tests: replicas that break a promise on purpose are caught.
"""

import os
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import linearizability
from tests.chaos.__main__ import RESULTS
from tests.chaos.faulty_replica import command
from tests.chaos.run import Options, run
from tests.support.environment import Environment

SEED = 1

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600), pytest.mark.asyncio]


def options(environment: Environment, **different: Any) -> Options:
    linearizability.build()
    assert environment.testbed, "this breaks brokers, so it needs a testbed, with `--brokers 3 --hosts 4`"
    usual = Options(
        testbed=environment.testbed,
        bootstrap_servers=environment.kafka,
        folder=RESULTS,
        seed=int(os.environ.get("SEED") or SEED),
        seconds=None,
    )
    return replace(usual, **different)


def caught(environment: Environment, fault: str, *nemeses: str, **different: Any) -> Options:
    folder = RESULTS / fault
    program = command(fault)
    return options(environment, folder=folder, program=program, nemeses=nemeses, recreation=False, **different)


async def test_no_promise_is_broken_while_replicas_and_brokers_are_killed_frozen_and_cut_off(
    environment: Environment,
) -> None:
    report = await run(options(environment))
    print(*report.facts, f"the history and the output of the replicas are in {report.folder}", sep="\n")
    assert report.breaches == []


async def test_replicas_whose_linearizable_reads_are_stale_are_caught(environment: Environment) -> None:
    report = await run(caught(environment, "stale-reads", "pause-leader"))
    assert any("which was acknowledged before" in breach for breach in report.breaches), report.breaches
    assert any("is violated" in breach for breach in report.breaches), report.breaches


async def test_leaders_that_are_not_fenced_are_caught(environment: Environment) -> None:
    cuts = ["cut-leader-from-brokers"] * 6
    report = await run(caught(environment, "unfenced", *cuts, lease_seconds=2.0))
    assert any("of term" in breach for breach in report.breaches), report.breaches
