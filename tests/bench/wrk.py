"""Runs wrk, and reads what it says."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.bench.errors import BenchError
from tests.bench.programs import pinned, require_program
from tests.support.commands import run

_KEYS_SCRIPT = Path(__file__).with_name("keys.lua")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one run of wrk measured; latencies in milliseconds."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def drive_reads(port: int, *, keys: int, connections: int, seconds: int, core: int | None) -> Throughput:
    """Reads random keys over kept-alive connections, each with one request under way.

    Raises:
        BenchError: A connection failed, or an answer was no success: such a figure is void.
    """
    target = f"http://127.0.0.1:{port}"
    load = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    command = [require_program("wrk"), *load, "--script", str(_KEYS_SCRIPT), target, "--", str(keys)]
    return parse_report(run(*pinned(command, core), timeout_seconds=seconds + 30))


def parse_report(report: str) -> Throughput:
    """What a report of wrk says.

    Raises:
        BenchError: It tells of errors, or not what we look for.
    """
    if "Socket errors" in report or "Non-2xx" in report:
        raise BenchError(f"wrk met errors:\n{report}")
    requests = re.search(r"(\d+) requests in", report)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    latencies = {share: _milliseconds(text) for share, text in re.findall(r"(\d+)%\s+([\d.]+[a-z]+)", report)}
    if not requests or not rate or not {"50", "99"} <= latencies.keys():
        raise BenchError(f"can't read wrk's report:\n{report}")
    return Throughput(int(requests[1]), float(rate[1]), latencies["50"], latencies["99"])


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr] # findall matched it
    return float(number) * _MILLISECONDS[unit]
