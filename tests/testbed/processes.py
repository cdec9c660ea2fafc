"""Processes of the machine: run one to its end, name one for good, wait for a state, hold a lock."""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

# Words before a command that end it, with all of its processes and mounts, when this program ends in whatever way.
CONTAINED = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process named for good: its pid may be another's by now, pid and start (in clock ticks since boot) never."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Names a process that runs now; one that has ended gets an identity that is never alive."""
        return cls(pid, start_time(pid) or 0)

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """The start of a process in clock ticks since boot; None when it is gone or a zombie. Source: proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def run(
    *command: str | Path, stdin: str | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Runs a command to its end and returns its standard output.

    Args:
        command: The program and its arguments.
        stdin: Text for its standard input; by default it has none.
        cwd: Its working directory.
        env: Variables set beside those of this process.

    Raises:
        TestbedError: It is not installed, or its exit status is not 0; the message holds the end of what it printed.
    """
    words = [str(word) for word in command]
    whole_env = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(
            words, input=stdin or "", text=True, capture_output=True, check=False, cwd=cwd, env=whole_env
        )
    except FileNotFoundError as error:
        raise TestbedError(f"{words[0]}: {error.strerror}") from error
    if done.returncode:
        printed = (done.stdout + done.stderr).strip()[-4000:]
        raise TestbedError(f"`{shlex.join(words)}` ended with {done.returncode}:\n{printed}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Whether a command, run for its exit status alone, ends with 0."""
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process, which may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(what: str, condition: Callable[[], bool], *, timeout_seconds: float, every_seconds: float = 0.05) -> None:
    """Returns as soon as the condition holds.

    Raises:
        TestbedError: It did not hold within the timeout; the message names `what`.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TestbedError(f"timed out after {timeout_seconds:.0f} s waiting for {what}")
        time.sleep(every_seconds)


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Holds an exclusive lock on a file while the block runs; waits for another holder, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting: {what}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
