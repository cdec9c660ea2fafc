"""`make bench`: measures a replica, beside its peers, on this machine.

    python -m tests.bench prepare               install and build what is needed: wrk, nginx, the load generator
    python -m tests.bench run                   measure everything
    python -m tests.bench run reads failover    measure some
    python -m tests.bench run --check           and exit with 1 when a target is missed

`run` needs `SLKV_KAFKA` (a testbed's shell sets it) and `etcd` on PATH, and `prepare` a way to the package registries.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import (
    consistent_reads,
    failover,
    follower_reads,
    footprint,
    image,
    load,
    puts,
    reads,
    replay,
    visibility,
)
from tests.bench.errors import BenchError
from tests.bench.figures import Figure, format_table, unmet
from tests.bench.programs import find_program
from tests.bench.site import Site
from tests.support.commands import run
from tests.support.replica_program import replica_program

MEASUREMENTS: dict[str, Callable[[Site], Iterable[Figure]]] = {
    "reads": reads.measure,
    "replay": replay.measure,
    "led-puts": puts.measure_led,
    "leaderless-puts": puts.measure_leaderless,
    "consistent-reads": consistent_reads.measure,
    "follower-reads": follower_reads.measure,
    "failover": failover.measure,
    "visibility": visibility.measure,
    "footprint": footprint.measure,
    "image": image.measure,
}
RESULTS = Path("build/bench.jsonl")
_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk"}  # a program, and the Debian package that brings it
_INSTALLER = Path(__file__).parents[1] / "support/install-debian-packages"


def main() -> int:
    """Runs what the command line asks for; returns the exit status."""
    options = _parser().parse_args()
    try:
        status: int = options.act(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return status


def _prepare(_: argparse.Namespace) -> int:
    missing = [package for program, package in _PACKAGES.items() if find_program(program) is None]
    if missing:
        print(f"bench: installing what Debian calls {' and '.join(missing)}", flush=True)
        subprocess.run([_INSTALLER, *missing], check=True)
    print("bench: building the load generator", flush=True)
    load.build()
    return 0


def _run(options: argparse.Namespace) -> int:
    bootstrap_servers = os.environ.get("SLKV_KAFKA")
    if not bootstrap_servers:
        raise BenchError("SLKV_KAFKA is not set: run `make bench`, or set it to host:port of a Kafka for benchmarks")
    if (os.cpu_count() or 1) < 2:
        raise BenchError("two processors are needed: one for the server, one for the load generator")
    begin = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {what}", flush=True)

    machine = describe_machine(options.python)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    with options.output.open("w") as output, tempfile.TemporaryDirectory(prefix="slkv-bench-") as folder:
        output.write(json.dumps({"machine": machine}) + "\n")
        program = _replica_program(options.python)
        site = Site(bootstrap_servers, python=options.python, program=program, folder=Path(folder), say=say)
        try:
            site.warm_up()
            for name in options.measurements or MEASUREMENTS:
                say(f"== {name} (load of the machine: {os.getloadavg()[0]:.1f})")
                for figure in MEASUREMENTS[name](site):
                    figures.append(figure)
                    output.write(figure.to_json() + "\n")
                    output.flush()
        finally:
            site.close()
    print(f"\n{machine}\n\n{format_table(figures)}\n\n{options.output} holds the details.")
    missed = unmet(figures)
    for figure in missed:
        print(f"target missed: {figure.title}", file=sys.stderr)
    return 1 if missed and options.check else 0


def describe_machine(python: Path) -> str:
    """The machine in general terms, and the Python that is measured."""
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    version = run(str(python), "-c", "import platform; print(platform.python_version())").strip()
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB, Linux {kernel}, Python {version}"


def _replica_program(python: Path) -> tuple[str, ...]:
    """The words that start the replica that is measured: the compiled one, or that of another environment."""
    return replica_program() if python == Path(sys.executable) else (str(python.with_name("sharedlogkv-replica")),)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__, formatter_class=raw)
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    actions.add_parser("prepare", help="install and build what is needed").set_defaults(act=_prepare)
    measure = actions.add_parser("run", help="measure")
    names = ", ".join(MEASUREMENTS)
    measure.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=f"of {names} (default: all)")
    text = "the Python of the virtual environment whose replica is measured (default: this one)"
    measure.add_argument("--python", type=Path, default=Path(sys.executable), help=text)
    measure.add_argument("--output", type=Path, default=RESULTS, help=f"for JSON lines (default: {RESULTS})")
    measure.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    measure.set_defaults(act=_run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
