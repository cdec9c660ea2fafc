"""The stages of `make test`: their order, what a failure does, and the table of times."""

from pathlib import Path

import pytest

from tests.support.pipeline import Stage, TestbedInUse, format_table, goals_of, holding, plan, run


def run_with_failures(stages: list[Stage], *failing: str) -> tuple[list[str], list[str]]:
    """Return the names of the stages that were executed, and each stage's result."""
    executed: list[str] = []
    names = [(stage.command, stage.name) for stage in stages]

    def execute(command: tuple[str, ...]) -> bool:
        while names[0][0] != command:
            del names[0]  # was not to be run
        executed.append(names.pop(0)[1])
        return executed[-1] not in failing

    outcomes = run(stages, execute=execute, clock=lambda: float(len(executed)))
    return executed, [outcome.result for outcome in outcomes]


def stages_of(goal: str, *, own_cluster: bool = False, keep: bool = False) -> list[Stage]:
    asked = goals_of(goal, arguments=("-x",), own_cluster=own_cluster)
    return plan(asked, image="registry/image:1", own_cluster=own_cluster, keep=keep)


def test_everything_runs_quickest_first_and_the_testbed_is_removed_at_the_end() -> None:
    names = [stage.name for stage in stages_of("test")]
    static = ["venv", "format-check", "lint", "layers", "types", "unit", "property", "compiled", "unit-compiled"]
    start = ["kstatus", "clear testbed", "testbed-build", "image", "testbed up", "load image"]
    chaos = ["chaos prepare", "clear testbed", "testbed up", "chaos", "testbed down"]
    assert names == [*static, *start, "integration", "e2e", "testbed down", *chaos]


def test_a_failure_stops_what_follows_but_for_the_clean_up() -> None:
    stages = stages_of("test")
    executed, results = run_with_failures(stages, "integration")
    assert executed[-2:] == ["integration", "testbed down"]
    assert results[-8:] == ["FAILED", "not run", "ok", *["not run"] * 5]


def test_a_testbed_that_was_not_begun_is_not_removed() -> None:
    executed, results = run_with_failures(stages_of("test"), "unit")
    assert executed[-1] == "unit"
    assert set(results[executed.index("unit") + 1 :]) == {"not run"}


def test_a_testbed_that_failed_to_come_up_is_removed() -> None:
    executed, _ = run_with_failures(stages_of("e2e"), "testbed up")
    assert executed[-2:] == ["testbed up", "testbed down"]


def test_system_tests_run_inside_the_testbed_with_the_arguments_of_pytest() -> None:
    commands = {stage.name: stage.command for stage in stages_of("e2e")}
    assert commands["e2e"][:4] == ("tests/testbed/testbed", "--name", "test", "sh")
    assert commands["e2e"][-2:] == ("tests/e2e", "-x")


def test_integration_tests_alone_need_no_nodes_and_no_image() -> None:
    names = [stage.name for stage in stages_of("integration")]
    before = ["venv", "compiled", "kstatus", "clear testbed", "testbed-build"]
    assert names == [*before, "testbed up", "integration", "testbed down"]


def test_on_the_user_s_cluster_no_testbed_is_touched_and_no_broker_is_broken() -> None:
    stages = stages_of("e2e", own_cluster=True)
    assert [stage.name for stage in stages] == ["venv", "e2e"]
    assert stages[-1].command[-3:] == ("-m", "not faults and not secured", "-x")


def test_a_testbed_that_is_to_be_kept_is_not_removed() -> None:
    assert "testbed down" not in [stage.name for stage in stages_of("test", keep=True)]


@pytest.mark.parametrize("goal", ["integration", "e2e", "test", "chaos", "bench"])
@pytest.mark.parametrize("keep", [False, True])
def test_no_test_runs_on_a_testbed_that_an_earlier_run_has_left(goal: str, *, keep: bool) -> None:
    commands = [stage.command for stage in stages_of(goal, keep=keep)]
    starts = [index for index, command in enumerate(commands) if command[3:4] == ("up",)]
    assert starts
    for start in starts:
        assert (*commands[start][:3], "down") in commands[:start]


def test_a_testbed_that_can_t_be_taken_down_is_not_used() -> None:
    executed, results = run_with_failures(stages_of("integration"), "clear testbed")
    assert executed[-1] == "clear testbed"
    assert results[-5:] == ["FAILED", *["not run"] * 4]


def test_a_testbed_is_not_taken_down_while_another_run_works_on_it(tmp_path: Path) -> None:
    for _ in range(2):  # it is free again afterwards
        with holding(["test", "chaos"], folder=tmp_path):
            with holding(["bench"], folder=tmp_path):
                pass
            with pytest.raises(TestbedInUse, match="another run works on the testbed 'chaos'"):
                holding(["demo", "chaos"], folder=tmp_path).__enter__()


def test_benchmarks_are_prepared_outside_and_run_inside_a_testbed_of_their_own() -> None:
    stages = {stage.name: stage.command for stage in stages_of("bench")}
    assert stages["bench prepare"][0] == ".venv/bin/python"
    assert stages["testbed up"][-2:] == ("--brokers", "3")
    assert stages["bench run"][:4] == ("tests/testbed/testbed", "--name", "bench", "sh")
    assert stages["bench run"][-2:] == ("run", "-x")


def test_chaos_has_a_testbed_of_its_own_with_hosts_for_the_replicas_and_its_checker_is_built_outside() -> None:
    stages = {stage.name: stage.command for stage in stages_of("chaos")}
    before = ["venv", "compiled", "chaos prepare", "clear testbed", "testbed-build"]
    assert list(stages) == [*before, "testbed up", "chaos", "testbed down"]
    assert stages["testbed up"][2:] == ("chaos", "up", "--nodes", "0", "--brokers", "3", "--hosts", "4")
    assert stages["chaos"][:4] == ("tests/testbed/testbed", "--name", "chaos", "sh")
    assert stages["chaos"][-2:] == ("run", "-x")


def test_on_the_user_s_cluster_there_is_no_chaos() -> None:
    assert stages_of("chaos", own_cluster=True) == []
    assert stages_of("test", own_cluster=True)[-1].name == "e2e"


def test_the_demo_leaves_its_testbed_up_which_has_brokers_for_three_copies() -> None:
    stages = {stage.name: stage.command for stage in stages_of("demo")}
    assert list(stages) == ["testbed-build", "image", "testbed up", "load image", "demo"]
    assert stages["testbed up"][-2:] == ("--brokers", "3")


def test_the_table_shows_each_stage_with_its_seconds_and_the_sum() -> None:
    stages = [Stage("first", ("true",)), Stage("second", ("false",)), Stage("third", ("never",))]
    times = iter([0.0, 1.5, 2.0, 4.0])
    outcomes = run(stages, execute=lambda command: command == ("true",), clock=lambda: next(times))
    assert [line.split() for line in format_table(outcomes).splitlines()] == [
        ["first", "ok", "1.5", "s"],
        ["second", "FAILED", "2.0", "s"],
        ["third", "not", "run", "0.0", "s"],
        ["total", "3.5", "s"],
    ]
