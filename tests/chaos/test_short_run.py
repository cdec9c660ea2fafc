"""A short run of everything: each quick nemesis once. `make chaos` is the long one."""

import os

import pytest

from tests.chaos import linearizability
from tests.chaos.__main__ import RESULTS
from tests.chaos.run import Options, run
from tests.support.environment import Environment

SEED = 1
WRITE_MODE = "Leaderless"


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.asyncio
async def test_no_promise_is_broken_while_replicas_and_brokers_are_killed_frozen_and_cut_off(
    environment: Environment,
) -> None:
    linearizability.build()
    assert environment.testbed, "this breaks brokers, so it needs a testbed, with `--brokers 3 --hosts 4`"
    report = await run(
        Options(
            testbed=environment.testbed,
            bootstrap_servers=environment.kafka,
            folder=RESULTS,
            seed=int(os.environ.get("SEED") or SEED),
            seconds=None,
            write_mode=WRITE_MODE,
        )
    )
    print(*report.facts, f"the history and the output of the replicas are in {report.folder}", sep="\n")
    assert report.breaches == []
