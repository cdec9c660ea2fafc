"""Reads: GET of one of a million keys, against nginx serving a static reply.

Each server is alone on one processor, wrk on another; a run of nginx and a run of ours make a pair. Beside the ratio of
throughputs there is that of requests for each second of the server's processor time: when the two agree, it was the
server that was measured, and not the load generator.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench import wrk
from tests.bench.figures import Figure, Target, paired_ratio
from tests.bench.nginx import Nginx
from tests.bench.programs import CLIENT_CORE, SERVER_CORE, Program
from tests.bench.replica import Replica
from tests.bench.site import KEYS, Site

PAIRS: Final = 7
SECONDS: Final = 4
CONNECTIONS: Final = 64
TARGET: Final = Target("ratio", "at least", 0.70)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of wrk against one server.

    Attributes:
        load: What wrk saw.
        per_cpu_second: Requests for each second of the server's processor time.
        busy: The share of its processor that the server used.
    """

    load: wrk.Throughput
    per_cpu_second: float
    busy: float


def measure(site: Site) -> list[Figure]:
    """The figure of reads."""
    topic = site.million_keys
    with Nginx(site, core=SERVER_CORE) as nginx, Replica(site, topic, core=SERVER_CORE) as replica:
        nginx.await_ready()
        replica.await_ready()
        site.say(f"{PAIRS} pairs of reads, {SECONDS} s each")
        for port in (nginx.port, replica.port):
            wrk.drive_reads(port, keys=KEYS, connections=CONNECTIONS, seconds=1, core=CLIENT_CORE)
        pairs = [(_run(nginx, nginx.port), _run(replica, replica.port)) for _ in range(PAIRS)]
    peers, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        Figure(
            name="http-get",
            title=f"GET of 100 B, 1M keys, {CONNECTIONS} connections, one core",
            unit="/s",
            ours=_median(ours, lambda run: run.load.per_second),
            peer="nginx, static",
            peers=_median(peers, lambda run: run.load.per_second),
            ratio=paired_ratio(
                _each(ours, lambda run: run.load.per_second), _each(peers, lambda run: run.load.per_second)
            ),
            target=TARGET,
            details={
                "pair_ratios": [our.load.per_second / peer.load.per_second for peer, our in pairs],
                "cpu_ratio": paired_ratio(
                    _each(ours, lambda run: run.per_cpu_second), _each(peers, lambda run: run.per_cpu_second)
                ),
                "our_busy": _median(ours, lambda run: run.busy),
                "peer_busy": _median(peers, lambda run: run.busy),
                "our_p50_ms": _median(ours, lambda run: run.load.p50_ms),
                "our_p99_ms": _median(ours, lambda run: run.load.p99_ms),
                "peer_p50_ms": _median(peers, lambda run: run.load.p50_ms),
                "peer_p99_ms": _median(peers, lambda run: run.load.p99_ms),
            },
        )
    ]


def _run(server: Program, port: int) -> Run:
    before = server.usage().cpu_seconds
    load = wrk.drive_reads(port, keys=KEYS, connections=CONNECTIONS, seconds=SECONDS, core=CLIENT_CORE)
    used = server.usage().cpu_seconds - before
    return Run(load, load.requests / used, used / SECONDS)


def _each(runs: Sequence[Run], of: Callable[[Run], float]) -> list[float]:
    return [of(run) for run in runs]


def _median(runs: Sequence[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(_each(runs, of))
