"""A terminal that types for the user: it shows each command as one would type it, and what it really prints."""

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

COMMAND_SECONDS = 240


class DemoFailed(Exception):
    """A step did not show what was promised."""


class Terminal:
    """Runs commands in a shell; those in the background end with the terminal.

    Args:
        environ: Variables beside those of this process.
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = {**os.environ, **environ}
        self._background: list[subprocess.Popen[str]] = []
        self._colours = sys.stdout.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._background:
            process.terminate()
        for process in self._background:
            process.communicate()

    def say(self, text: str) -> None:
        """Tell the user what comes next."""
        print("\n" + (f"\033[1m# {text}\033[0m" if self._colours else f"# {text}"), flush=True)

    def type(self, command: str) -> str:
        """Show a command, run it, show and return what it prints.

        Raises:
            DemoFailed: It ended with another status than 0, or not within four minutes.
        """
        self._show(command)
        return self._run(command, show=True)

    def ask(self, command: str) -> str:
        """Run a command that the demo itself needs, unseen, and return what it prints; raises like `type`."""
        return self._run(command, show=False)

    def _run(self, command: str, *, show: bool) -> str:
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"not done after {COMMAND_SECONDS} s: {command}") from error
        if done.stdout and (show or done.returncode):
            print(done.stdout.rstrip("\n"), flush=True)
        if done.returncode:
            raise DemoFailed(f"exit status {done.returncode}: {command}")
        return done.stdout

    def type_in_background(self, command: str) -> None:
        """Show and start a command that goes on; return when it has printed its first line.

        Raises:
            DemoFailed: It ended at once; what it printed is in the message.
        """
        self._show(f"{command} &")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._background.append(process)
        assert process.stdout
        line = process.stdout.readline().rstrip("\n")
        print(line, flush=True)
        if not line.startswith("Forwarding"):
            raise DemoFailed(f"{command}: {line} {process.stdout.read()}")

    def _show(self, command: str) -> None:
        print(f"\033[32m$ {command}\033[0m" if self._colours else f"$ {command}", flush=True)
