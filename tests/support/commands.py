"""Programs run for their output, with a deadline; a failure shows what they said."""

import shlex
import subprocess
from collections.abc import Mapping


class CommandFailed(AssertionError):
    """A program ended with another status than 0, or not in time. The message holds its output."""


def run(
    *words: str, stdin: str | None = None, environ: Mapping[str, str] | None = None, timeout_seconds: float = 60.0
) -> str:
    """Run a program and return its standard output.

    Raises:
        CommandFailed: It failed, or did not end within `timeout_seconds` (it is killed then).
    """
    shown = shlex.join(words)
    try:
        done = subprocess.run(
            words,
            input=stdin or "",
            env=environ,
            timeout=timeout_seconds,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"not done after {timeout_seconds} s: {shown}\n{error.stdout!r}\n{error.stderr!r}"
        ) from error
    if done.returncode:
        raise CommandFailed(f"exit status {done.returncode}: {shown}\n{done.stdout}\n{done.stderr}")
    return done.stdout
