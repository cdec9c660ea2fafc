"""A short run of everything: each quick nemesis once. `make chaos` is the long one.

And the tests of the tests: replicas that break a promise on purpose are caught, and so is a nemesis that does nothing.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import linearizability
from tests.chaos.__main__ import RESULTS, conclude
from tests.chaos.faulty_replica import command
from tests.chaos.nemeses import NEMESES, Nemesis
from tests.chaos.run import Options, run
from tests.chaos.scene import Scene
from tests.chaos.trouble import Report
from tests.support.environment import Environment

SEED = 1
_SHOWN = 3
STALE_READ = re.compile(
    r"operation \d+ \(linearizable read .*\): its token \d+ lacks \d+, which was acknowledged before"
)
LATE_BATCH = re.compile(r"batch \d+ of term (\d+) is at (\d+), in term (\d+)")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600), pytest.mark.asyncio]


Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Tells also when the test passes: a run proves only as much as its nemeses did."""

    def tell(what: str) -> None:
        with capsys.disabled():
            print(what, flush=True)

    return tell


async def run_as_told(environment: Environment, say: Say, **different: Any) -> Report:
    linearizability.build()
    assert environment.testbed, "this breaks brokers, so it needs a testbed, with `--brokers 3 --hosts 4`"
    usual = Options(
        testbed=environment.testbed,
        bootstrap_servers=environment.kafka,
        folder=RESULTS,
        seed=int(os.environ.get("SEED") or SEED),
        seconds=None,
        say=say,
    )
    say("")
    report = await run(replace(usual, **different))
    for line in (*report.facts, *report.breaches[:_SHOWN], f"all of it is in {report.folder}"):
        say(line)
    return report


async def breaches_of(environment: Environment, say: Say, *, fault: str, nemeses: Sequence[str]) -> list[str]:
    """What the checks find where replicas break a promise on purpose."""
    folder, program = RESULTS / fault, command(fault)
    different = {"folder": folder, "program": program, "nemeses": nemeses, "compaction": False, "recreation": False}
    return (await run_as_told(environment, say, **different)).breaches


async def test_no_promise_is_broken_while_replicas_and_brokers_are_killed_frozen_and_cut_off(
    environment: Environment, say: Say
) -> None:
    report = await run_as_told(environment, say)
    assert report.breaches == []


async def test_replicas_whose_linearizable_reads_are_stale_are_caught(environment: Environment, say: Say) -> None:
    breaches = await breaches_of(environment, say, fault="stale-reads", nemeses=["pause-leader"])
    assert any(STALE_READ.fullmatch(breach) for breach in breaches), breaches
    assert any(re.match(r"key \S+ is violated", breach) for breach in breaches), breaches


async def test_leaders_that_are_not_fenced_are_caught(environment: Environment, say: Say) -> None:
    breaches = await breaches_of(environment, say, fault="unfenced", nemeses=["cut-leader-from-brokers"] * 2)
    late = [tuple(map(int, found.groups())) for breach in breaches if (found := LATE_BATCH.fullmatch(breach))]
    assert late, breaches
    for of, offset, term in late:
        assert of < term < offset, "a batch of the term before, behind the claim that ended it"


async def test_a_run_whose_nemesis_does_nothing_fails_however_good_all_else_is(
    environment: Environment, say: Say, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def do_nothing(scene: Scene) -> None:
        # It waits for nothing either: on a busy machine something may befall a write by itself meanwhile.
        scene.note("SIGKILL nobody")

    monkeypatch.setitem(NEMESES, "kill-leader", Nemesis("kill-leader", do_nothing))
    folder, nemeses = RESULTS / "no-trouble", ["kill-leader"]
    report = await run_as_told(environment, say, folder=folder, nemeses=nemeses, compaction=False, recreation=False)
    assert [breach.partition(":")[0] for breach in report.breaches] == ["kill-leader did not bite"]
    assert conclude(report, say=say) == 1
    assert "BREACH: kill-leader did not bite: " in capsys.readouterr().err
