"""A short run of everything: each quick nemesis once. `make chaos` is the long one.

And the tests of the tests: replicas that break a promise on purpose are caught.
"""

import os
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import linearizability
from tests.chaos.__main__ import RESULTS
from tests.chaos.faulty_replica import command
from tests.chaos.run import Options, run
from tests.support.environment import Environment

SEED = 1
STALE_READ = re.compile(
    r"operation \d+ \(linearizable read .*\): its token \d+ lacks \d+, which was acknowledged before"
)
LATE_BATCH = re.compile(r"batch \d+ of term (\d+) is at (\d+), in term (\d+)")

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


async def breaches_of(environment: Environment, fault: str, *nemeses: str) -> list[str]:
    """What the checks find where replicas break a promise on purpose."""
    broken = options(
        environment,
        folder=RESULTS / fault,
        program=command(fault),
        nemeses=nemeses,
        compaction=False,
        recreation=False,
    )
    report = await run(broken)
    print(*report.facts, *report.breaches[:5], sep="\n")
    return report.breaches


async def test_no_promise_is_broken_while_replicas_and_brokers_are_killed_frozen_and_cut_off(
    environment: Environment,
) -> None:
    report = await run(options(environment))
    print(*report.facts, f"the history and the output of the replicas are in {report.folder}", sep="\n")
    assert report.breaches == []


async def test_replicas_whose_linearizable_reads_are_stale_are_caught(environment: Environment) -> None:
    breaches = await breaches_of(environment, "stale-reads", "pause-leader")
    assert any(STALE_READ.fullmatch(breach) for breach in breaches), breaches
    assert any(re.match(r"key \S+ is violated", breach) for breach in breaches), breaches


async def test_leaders_that_are_not_fenced_are_caught(environment: Environment) -> None:
    breaches = await breaches_of(environment, "unfenced", *["cut-leader-from-brokers"] * 2)
    late = [tuple(map(int, found.groups())) for breach in breaches if (found := LATE_BATCH.fullmatch(breach))]
    assert late, breaches
    for of, offset, term in late:
        assert of < term < offset, "a batch of the term before, behind the claim that ended it"
