"""Programs under measurement: started on a processor of their choice, watched, and ended."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.errors import BenchError
from tests.support.waiting import wait_until

_SERVER_PORTS = range(10_000, 32_768)  # below those that Linux gives to clients

SERVER_CORE = 0
CLIENT_CORE = 1
_STOP_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")
_ADMINISTRATION = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian keeps nginx, and not on everybody's PATH


def find_program(name: str) -> str | None:
    """The path of an installed program; None when it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_ADMINISTRATION}")


def require_program(name: str) -> str:
    """The path of an installed program.

    Raises:
        BenchError: It is not installed.
    """
    found = find_program(name)
    if found is None:
        raise BenchError(f"{name} is not installed; see docs/performance.md for what the benchmarks need")
    return found


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """A command that runs on one processor; on all of them when `core` is None."""
    return [*command] if core is None else ["taskset", "--cpu-list", str(core), *command]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program has used since its start, its child processes included.

    Attributes:
        cpu_seconds: Processor time.
        resident_bytes: Memory that is its own or shared, now.
    """

    cpu_seconds: float
    resident_bytes: int


class Program:
    """A program that runs while the context lasts; its output goes to a file.

    Args:
        name: What messages call it.
        command: The words of its command line.
        log: The file for its output.
        core: The processor that it must stay on; None for any.
        environ: Further variables.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        core: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = pinned(command, core)
        self._log = log
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Starts it, for the first time or once more after its end."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environ
            )

    def kill(self) -> None:
        """Ends it as a crash does."""
        process = self._running()
        process.kill()
        process.wait()

    def terminate(self) -> None:
        """Asks it to end, and does not wait for it."""
        self._running().terminate()

    def await_end(self) -> None:
        """Returns once it has ended by itself.

        Raises:
            BenchError: It did not.
        """
        try:
            self._running().wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{self.name} did not end within {_STOP_SECONDS:g} s") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()
        try:
            self.await_end()
        except BenchError:
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    def await_port(self, port: int, *, timeout_seconds: float = 20.0) -> None:
        """Returns once somebody accepts connections at a port of the loopback.

        Raises:
            BenchError: The program ended.
        """

        def accepts() -> bool:
            self.require_alive()
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True

        wait_until(accepts, what=f"{self.name} at port {port}", timeout_seconds=timeout_seconds, every_seconds=0.01)

    def require_alive(self) -> None:
        """Raises BenchError, with the end of the output, if the program has ended."""
        status = self._running().poll()
        if status is not None:
            said = self._log.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} ended with status {status}:\n{said}")

    def usage(self) -> Usage:
        """What it has used so far."""
        pids = _family(self._running().pid)
        return Usage(sum(map(_cpu_seconds, pids)), sum(map(_resident_bytes, pids)))

    def cpu_seconds(self) -> float:
        """The processor time that it has used so far."""
        return self.usage().cpu_seconds


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in _family(int(child)))]


def _cpu_seconds(pid: int) -> float:
    # The fields after the program's name, which may hold anything: utime and stime are numbers 14 and 15 of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port of the loopback that nobody listens at, and that no client gets by chance before it is listened at.

    Raises:
        BenchError: None was found.
    """
    for port in random.sample(_SERVER_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no port is free")
