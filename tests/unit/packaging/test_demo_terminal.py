"""The demo's terminal shows what it runs, and stops where something failed."""

from pathlib import Path

import pytest

from tests.demo.terminal import DemoFailed, Terminal


def test_a_command_is_shown_as_typed_with_its_real_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Terminal({"GREETING": "hello"}) as terminal:
        assert terminal.type("echo $GREETING") == "hello\n"
    assert capfd.readouterr().out == "$ echo $GREETING\nhello\n"


def test_what_the_demo_asks_for_itself_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with Terminal({}) as terminal:
        assert terminal.ask("echo hidden") == "hidden\n"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("command", ["echo reason >&2; false", "false | cat"])
def test_a_command_that_fails_anywhere_fails_the_demo(command: str) -> None:
    with Terminal({}) as terminal, pytest.raises(DemoFailed, match="exit status 1"):
        terminal.type(command)


def test_a_forward_ends_with_the_terminal(tmp_path: Path) -> None:
    with Terminal({}) as terminal:
        terminal.type_in_background(f"bash -c 'echo Forwarding; echo $$ > {tmp_path}/pid; exec sleep 60'")
        assert terminal.ask(f"until [ -s {tmp_path}/pid ]; do :; done; kill -0 $(cat {tmp_path}/pid)") == ""
    with Terminal({}) as terminal, pytest.raises(DemoFailed):
        terminal.ask(f"kill -0 $(cat {tmp_path}/pid)")


def test_a_forward_that_does_not_begin_fails_the_demo() -> None:
    with Terminal({}) as terminal, pytest.raises(DemoFailed, match="address already in use"):
        terminal.type_in_background("echo address already in use")
