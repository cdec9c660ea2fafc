"""Run the stages of `make test` and its siblings in order, quickest first, and say where the time went.

A stage is a command that could be typed; after the first that fails only the clean-up stages run. The system tests run
inside a testbed that is brought up for them, unless the user brings a cluster (`tests.support.environment`). What an
earlier run has left is taken down first, as an operator that still works in it would meddle with the tests; a testbed
on which another run works is left alone. Started by the Makefile with the system's Python, before there is a virtual
environment: nothing but the standard library here.
"""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from tests.support.environment import DEFAULT_IMAGE, EnvironmentIncomplete, has_own_cluster

PYTHON = ".venv/bin/python"
TEST_TESTBED = ("tests/testbed/testbed", "--name", "test")
DEMO_TESTBED = ("tests/testbed/testbed", "--name", "demo")
BENCH_TESTBED = ("tests/testbed/testbed", "--name", "bench")
CHAOS_TESTBED = ("tests/testbed/testbed", "--name", "chaos")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline.

    Attributes:
        name: What the table calls it.
        command: The words of the command line.
        cleans_up: The command of the stage whose traces this one removes: it runs whenever that one was begun.
    """

    name: str
    command: tuple[str, ...]
    cleans_up: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended, and the wall-clock seconds it took."""

    stage: Stage
    result: Literal["ok", "FAILED", "not run"]
    seconds: float = 0.0


def make(target: str) -> Stage:
    """Return the stage that is a target of the Makefile."""
    return Stage(target, ("make", target))


def static_stages() -> list[Stage]:
    """Return what needs no cluster, quickest first."""
    names = ("venv", "format-check", "lint", "layers", "types", "unit", "property", "compiled", "unit-compiled")
    return [make(name) for name in names]


@dataclass(frozen=True, slots=True)
class Goal:
    """What can be asked for.

    Attributes:
        before: Stages that need no cluster.
        on_cluster: Stages that do.
        testbed: The testbed that they get where the user brings no cluster, as its command line begins.
        nodes: Its size.
        brokers: Its size.
        hosts: Its size. What needs plain hosts is left out on somebody's own cluster: it breaks brokers.
        keeps: The testbed stays up, and one that is up already serves.
    """

    before: Sequence[Stage]
    on_cluster: Sequence[Stage]
    testbed: tuple[str, ...] = TEST_TESTBED
    nodes: int = 3
    brokers: int = 1
    hosts: int = 0
    keeps: bool = False


def goals_of(name: str, *, arguments: Sequence[str], own_cluster: bool) -> list[Goal]:
    """Return what a name stands for, in order, with further arguments of pytest (of the benchmarks, of chaos).

    On somebody's own cluster, tests that break brokers, or need the testbed's users, are left out.

    Raises:
        KeyError: There is no such goal.
    """
    venv = [make("venv")]
    compiled = [*venv, make("compiled")]

    def tests(kind: str) -> Stage:
        harmless = ("-m", "not faults and not secured") if own_cluster else ()
        return Stage(kind, (PYTHON, "-m", "pytest", f"tests/{kind}", *harmless, *arguments))

    def bench(*words: str) -> Stage:
        return Stage(f"bench {words[0]}", (PYTHON, "-m", "tests.bench", *words))

    def chaos(*stages: Stage) -> Goal:
        # Built where the registries are in reach.
        prepare = Stage("chaos prepare", (PYTHON, "-m", "tests.chaos", "prepare"))
        return Goal([*compiled, prepare], stages, CHAOS_TESTBED, nodes=0, brokers=3, hosts=4)

    kstatus = Stage("kstatus", (PYTHON, "-m", "tests.support.kstatus"))
    goals = {
        "integration": [Goal([*compiled, kstatus], [tests("integration")], nodes=0)],
        "e2e": [Goal(venv, [tests("e2e")])],
        "test": [Goal([*static_stages(), kstatus], [tests("integration"), tests("e2e")]), chaos(tests("chaos"))],
        "chaos": [chaos(Stage("chaos", (PYTHON, "-m", "tests.chaos", "run", *arguments)))],
        # Three brokers for what is measured with three copies; the rest has one copy, and shares the machine with them.
        "bench": [Goal([*compiled, bench("prepare")], [bench("run", *arguments)], BENCH_TESTBED, nodes=0, brokers=3)],
        # With three brokers the examples apply as they are.
        "demo": [
            Goal([], [Stage("demo", ("python3", "-m", "tests.demo", "show"))], DEMO_TESTBED, brokers=3, keeps=True)
        ],
    }
    return goals[name]


def plan(goals: Sequence[Goal], *, image: str, own_cluster: bool, keep: bool) -> list[Stage]:
    """Return the stages of goals, in order; what two of them want is done once.

    Args:
        goals: What is asked for.
        image: The image that a testbed's nodes are given.
        own_cluster: Run on the cluster that the environment names, not on a testbed.
        keep: Leave the testbed up in any case.
    """
    stages = [stage for goal in goals for stage in _stages(goal, image=image, own_cluster=own_cluster, keep=keep)]
    return list(dict.fromkeys(stages))


def _stages(goal: Goal, *, image: str, own_cluster: bool, keep: bool) -> list[Stage]:
    if own_cluster:
        return [] if goal.hosts else [*goal.before, *goal.on_cluster]
    testbed, has_nodes = goal.testbed, goal.nodes > 0
    build = [make("image")] if has_nodes else []
    hosts = ("--hosts", str(goal.hosts)) if goal.hosts else ()
    up = Stage("testbed up", (*testbed, "up", "--nodes", str(goal.nodes), "--brokers", str(goal.brokers), *hosts))
    fresh = [] if goal.keeps else [Stage("clear testbed", (*testbed, "down"))]
    load = [Stage("load image", (*testbed, "load", image))] if has_nodes else []
    inside = [Stage(s.name, (*testbed, "sh", *s.command)) for s in goal.on_cluster]
    down = [] if keep or goal.keeps else [Stage("testbed down", (*testbed, "down"), cleans_up=up.command)]
    return [*goal.before, *fresh, make("testbed-build"), *build, up, *load, *inside, *down]


def run(
    stages: Sequence[Stage],
    *,
    execute: Callable[[tuple[str, ...]], bool],
    clock: Callable[[], float],
) -> list[Outcome]:
    """Run the stages until one fails, and the clean-up of whatever was begun; return how each ended, in order."""
    outcomes: list[Outcome] = []
    begun: set[tuple[str, ...]] = set()
    failed = False
    for stage in stages:
        if failed and stage.cleans_up not in begun:
            outcomes.append(Outcome(stage, "not run"))
            continue
        begun.add(stage.command)
        begin = clock()
        succeeded = execute(stage.command)
        outcomes.append(Outcome(stage, "ok" if succeeded else "FAILED", clock() - begin))
        failed = failed or not succeeded
    return outcomes


class TestbedInUse(Exception):
    """Another pipeline runs on a testbed that this one would take down."""

    __test__ = False  # for pytest


@contextmanager
def holding(names: Iterable[str], *, folder: Path) -> Iterator[None]:
    """Keep other pipelines from the testbeds of these names, by a locked file for each in a folder that all share.

    Raises:
        TestbedInUse: Another one runs on one of them. A pipeline that has ended, in whatever way, holds nothing.
    """
    with ExitStack() as stack:
        for name in names:
            lock = stack.enter_context((folder / f"sharedlogkv-pipeline-{name}.lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TestbedInUse(f"another run works on the testbed {name!r}: wait for it, or end it") from None
        yield


def format_table(outcomes: Sequence[Outcome]) -> str:
    """Return the table of stages, results and seconds, with the sum."""
    rows = [(o.stage.name, o.result, f"{o.seconds:8.1f} s") for o in outcomes]
    total = ("total", "", f"{sum(o.seconds for o in outcomes):8.1f} s")
    return "\n".join(f"{name:16} {result:8} {seconds}" for name, result, seconds in [*rows, total])


def execute_command(command: tuple[str, ...]) -> bool:
    """Run a command with our own output and no input; return whether it succeeded. An interrupt counts as a failure."""
    print(f"\n==> {shlex.join(command)}", flush=True)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        return process.wait() == 0
    except KeyboardInterrupt:
        # The terminal interrupted the command as well; a `kill` of this process did not.
        process.terminate()
        process.wait()
        print("interrupted", file=sys.stderr)
        return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the goal that the command line names; return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        own_cluster = has_own_cluster(os.environ)
    except EnvironmentIncomplete as error:
        print(error, file=sys.stderr)
        return 2
    goals = goals_of(sys.argv[1], arguments=shlex.split(os.environ.get("ARGS", "")), own_cluster=own_cluster)
    stages = plan(
        goals,
        image=os.environ.get("IMAGE") or DEFAULT_IMAGE,
        own_cluster=own_cluster,
        keep=bool(os.environ.get("KEEP")),
    )
    if not stages:
        print(f"{sys.argv[1]} breaks brokers: it runs on a testbed of its own, not on your cluster", file=sys.stderr)
        return 2
    names = [] if own_cluster else dict.fromkeys(goal.testbed[-1] for goal in goals)
    try:
        with holding(names, folder=Path(tempfile.gettempdir())):
            outcomes = run(stages, execute=execute_command, clock=time.monotonic)
    except TestbedInUse as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{format_table(outcomes)}", flush=True)
    failed = [o.stage for o in outcomes if o.result == "FAILED"]
    for stage in failed:
        print(f"\n{stage.name} failed: {shlex.join(stage.command)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
