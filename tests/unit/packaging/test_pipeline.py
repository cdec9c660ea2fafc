"""The stages of `make test`: their order, what a failure does, and the table of times."""

from tests.support.pipeline import Stage, format_table, goals_of, plan, run


def run_with_failures(stages: list[Stage], *failing: str) -> tuple[list[str], list[str]]:
    """Return the names of the stages that were executed, and each stage's result."""
    executed: list[str] = []
    names = {stage.command: stage.name for stage in stages}

    def execute(command: tuple[str, ...]) -> bool:
        executed.append(names[command])
        return names[command] not in failing

    outcomes = run(stages, execute=execute, clock=lambda: float(len(executed)))
    return executed, [outcome.result for outcome in outcomes]


def stages_of(goal: str, *, own_cluster: bool = False, keep: bool = False) -> list[Stage]:
    asked = goals_of(goal, arguments=("-x",), own_cluster=own_cluster)
    return plan(asked, image="registry/image:1", own_cluster=own_cluster, keep=keep)


def test_everything_runs_quickest_first_and_the_testbed_is_removed_at_the_end() -> None:
    names = [stage.name for stage in stages_of("test")]
    static = ["venv", "format-check", "lint", "layers", "types", "unit", "property"]
    system = ["kstatus", "testbed-build", "image", "testbed up", "load image", "integration", "e2e", "testbed down"]
    assert names == [*static, *system, "chaos prepare", "testbed up", "chaos", "testbed down"]


def test_a_failure_stops_what_follows_but_for_the_clean_up() -> None:
    stages = stages_of("test")
    executed, results = run_with_failures(stages, "integration")
    assert executed[-2:] == ["integration", "testbed down"]
    assert results[-7:] == ["FAILED", "not run", "ok", *["not run"] * 4]


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
    assert names == ["venv", "kstatus", "testbed-build", "testbed up", "integration", "testbed down"]


def test_on_the_user_s_cluster_no_testbed_is_touched_and_no_broker_is_broken() -> None:
    stages = stages_of("e2e", own_cluster=True)
    assert [stage.name for stage in stages] == ["venv", "e2e"]
    assert stages[-1].command[-3:] == ("-m", "not faults and not secured", "-x")


def test_a_testbed_that_is_to_be_kept_is_not_removed() -> None:
    assert "testbed down" not in [stage.name for stage in stages_of("test", keep=True)]


def test_benchmarks_are_prepared_outside_and_run_inside_a_testbed_of_their_own() -> None:
    stages = {stage.name: stage.command for stage in stages_of("bench")}
    assert stages["bench prepare"][0] == ".venv/bin/python"
    assert stages["testbed up"][-2:] == ("--brokers", "3")
    assert stages["bench run"][:4] == ("tests/testbed/testbed", "--name", "bench", "sh")
    assert stages["bench run"][-2:] == ("run", "-x")


def test_chaos_has_a_testbed_of_its_own_with_hosts_for_the_replicas_and_its_checker_is_built_outside() -> None:
    stages = {stage.name: stage.command for stage in stages_of("chaos")}
    assert list(stages) == ["venv", "chaos prepare", "testbed-build", "testbed up", "chaos", "testbed down"]
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
