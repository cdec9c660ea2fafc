"""The load generator in Go, which drives etcd over gRPC and a replica over HTTP with the same loop and clock."""

import json
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from tests.bench.errors import BenchError
from tests.bench.figures import Figure, Target, latency_note, paired_ratio
from tests.bench.silence import Observation
from tests.bench.site import KEYS, VALUE_BYTES
from tests.support.commands import run
from tests.support.go_program import build_go, cached

Operation: TypeAlias = Literal["put", "get", "get-linearizable"]

SOURCE = Path(__file__).with_name("go")
PROGRAM = cached("sharedlogkv-bench/load")
WARM_UP_SECONDS = 1.0  # of the clients, before what they count
_FILL_SECONDS = 300.0
_FINISH_SECONDS = 40.0  # above the patience of a client of the load generator, which is 30 s


@dataclass(frozen=True, slots=True)
class Load:
    """What one run measured; latencies in milliseconds, processor time of the load generator alone."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    client_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a client saw that wrote to one replica and read from another; in milliseconds.

    Attributes:
        writes: How many.
        visible_p50_ms: From a write's acknowledgement to the answer of a read that waits for it; a round trip included.
        visible_p99_ms: Likewise.
        round_trip_p50_ms: Of the same read when there is nothing to wait for.
        round_trip_p99_ms: Likewise.
    """

    writes: int
    visible_p50_ms: float
    visible_p99_ms: float
    round_trip_p50_ms: float
    round_trip_p99_ms: float


def build() -> None:
    """Builds the program, unless nothing has changed (Go's cache knows).

    Raises:
        BenchError: There is no Go.
        CommandFailed: It is none that is fit, or there is no way to its registry.
    """
    if not shutil.which("go"):
        raise BenchError(
            "Go 1.25 or newer must be on PATH, to build the load generator; see https://go.dev/doc/install"
        )
    build_go(SOURCE, PROGRAM)


def drive(
    url: str, operation: Operation, *, connections: int, seconds: float, keys: int = KEYS, depth: int = 1
) -> Load:
    """Keeps `depth` requests under way on each connection; several targets, with commas between, share the connections.

    Raises:
        BenchError: A request failed: such a figure is void.
    """
    size = ["-connections", str(connections), "-depth", str(depth), "-seconds", str(seconds), "-keys", str(keys)]
    report = _run(["-target", url, "-operation", operation, *size], timeout_seconds=seconds + 60)
    if report["errors"]:
        raise BenchError(f"{report['errors']} connections of {url} met errors: {report['firstError']}")
    return Load(
        requests=report["requests"],
        per_second=report["perSecond"],
        p50_ms=report["p50Milliseconds"],
        p99_ms=report["p99Milliseconds"],
        client_cpu_seconds=report["clientCpuSeconds"],
    )


def measure_visibility(writer: str, reader: str, *, seconds: float) -> Visibility:
    """Writes to one replica and reads each write back from another, one after the other."""
    report = _run(
        ["-target", writer, "-other", reader, "-operation", "visible", "-seconds", str(seconds)],
        timeout_seconds=seconds + 60,
    )
    return Visibility(
        writes=report["writes"],
        visible_p50_ms=report["visibleP50Milliseconds"],
        visible_p99_ms=report["visibleP99Milliseconds"],
        round_trip_p50_ms=report["roundTripP50Milliseconds"],
        round_trip_p99_ms=report["roundTripP99Milliseconds"],
    )


def fill(url: str, *, keys: int) -> None:
    """Writes so many keys to etcd, a hundred in a transaction."""
    _run(["-target", url, "-operation", "fill", "-keys", str(keys)], timeout_seconds=_FILL_SECONDS)


class Watch:
    """Clients that write to and read from all targets, each with a pause after an answer, while the context lasts.

    Entering returns once every client was answered.

    Args:
        urls: The targets.
        connections: How many clients; half of them write, spread over the targets like the others.
        prefix: What the names of their keys begin with.
    """

    def __init__(self, urls: Sequence[str], *, connections: int, prefix: str) -> None:
        size = ["-connections", str(connections), "-keys-prefix", prefix, "-value-bytes", str(VALUE_BYTES)]
        self._command = [_program(), "-target", ",".join(urls), "-operation", "watch", *size]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        if process.stdout.readline() != "begun\n":
            process.wait()
            raise BenchError(f"the clients did not begin: status {process.returncode}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._running()
        process.kill()
        process.communicate()

    def finish(self) -> Observation:
        """Ends the clients; returns what they saw."""
        output, _ = self._running().communicate(timeout=_FINISH_SECONDS)
        return Observation.parse(json.loads(output))

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it was not started"
        return self._process


def _program() -> str:
    if not PROGRAM.exists():
        raise BenchError("the load generator is not built: run `make bench`, or `python -m tests.bench prepare`")
    return str(PROGRAM)


def _run(arguments: list[str], *, timeout_seconds: float) -> dict[str, Any]:
    size = ["-value-bytes", str(VALUE_BYTES), "-warm-up", str(WARM_UP_SECONDS)]
    report: dict[str, Any] = json.loads(run(_program(), *arguments, *size, timeout_seconds=timeout_seconds) or "{}")
    return report


def compare_loads(pairs: Sequence[tuple[Load, Load]], *, name: str, title: str, target: Target | None = None) -> Figure:
    """The figure of pairs of loads, etcd's first."""
    peers, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def median(loads: Sequence[Load], of: Callable[[Load], float]) -> float:
        return statistics.median(map(of, loads))

    return Figure(
        name=name,
        title=title,
        unit="/s",
        ours=median(ours, lambda run: run.per_second),
        peer="etcd",
        peers=median(peers, lambda run: run.per_second),
        ratio=paired_ratio([run.per_second for run in ours], [run.per_second for run in peers]),
        target=target,
        our_note=latency_note(median(ours, lambda run: run.p50_ms), median(ours, lambda run: run.p99_ms)),
        peers_note=latency_note(median(peers, lambda run: run.p50_ms), median(peers, lambda run: run.p99_ms)),
        details={
            "our_p50_ms": median(ours, lambda run: run.p50_ms),
            "our_p99_ms": median(ours, lambda run: run.p99_ms),
            "peer_p50_ms": median(peers, lambda run: run.p50_ms),
            "peer_p99_ms": median(peers, lambda run: run.p99_ms),
            "our_client_cpu_us": median(ours, lambda run: 1e6 * run.client_cpu_seconds / run.requests),
            "peer_client_cpu_us": median(peers, lambda run: 1e6 * run.client_cpu_seconds / run.requests),
            "pair_ratios": [our.per_second / peer.per_second for peer, our in pairs],
        },
    )


def connections_text(connections: int, depth: int = 1) -> str:
    """So many connections, and requests under way on each, in words for a title."""
    clients = f"{connections * depth:,} clients over " if depth > 1 else ""
    return f"{clients}{connections:,} connection{'s' if connections > 1 else ''}"
