"""`make chaos`: real replicas on a real Kafka of three brokers, under faults, and the proof that no promise was broken.

    python -m tests.chaos prepare                            build the checker (needs Go, and its registry)
    python -m tests.chaos run --seconds 1800                 all nemeses, round after round
    python -m tests.chaos run --seed 7 --nemesis race        one of them, once, with the clients of that seed
    python -m tests.chaos check FOLDER/history.jsonl         judge a history once more

`run` works inside `testbed sh` of a testbed with `--brokers 3 --hosts 4`. A run can be repeated with its seed: clients
want the same, and the nemesis does the same; what comes of it depends on the machine's timing.
"""

import argparse
import asyncio
import os
import random
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos import linearizability
from tests.chaos.answers import check_answers
from tests.chaos.history import operations, read
from tests.chaos.nemeses import NEMESES
from tests.chaos.run import Options, run
from tests.chaos.trouble import Report
from tests.support.replica_program import replica_program

RESULTS = Path("build/chaos")
_SHOWN = 20


def main() -> int:
    """Does what the command line asks for; returns the exit status."""
    options = _parser().parse_args()
    status: int = options.act(options)
    return status


def _prepare(_: argparse.Namespace) -> int:
    linearizability.build()
    return 0


def _check(options: argparse.Namespace) -> int:
    verdict = linearizability.check_linearizability(options.history)
    return _tell([*verdict.failures, *check_answers(operations(read(options.history)))])


def _run(options: argparse.Namespace) -> int:
    if "TESTBED" not in os.environ or "SLKV_KAFKA" not in os.environ:
        print("chaos: run `make chaos`: this breaks brokers, so it needs a testbed of its own", file=sys.stderr)
        return 2
    begin = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {what}", flush=True)

    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    say(f"seed {seed}: `make chaos SEED={seed}` repeats this run")
    report = asyncio.run(
        run(
            Options(
                testbed=os.environ["TESTBED"],
                bootstrap_servers=os.environ["SLKV_KAFKA"],
                folder=options.folder,
                seed=seed,
                seconds=options.seconds,
                write_mode=options.write_mode,
                nemeses=options.nemesis,
                recreation=not options.no_recreation,
                clients=options.clients,
                program=options.program or replica_program(),
                say=say,
            )
        )
    )
    say(f"seed {seed}; history, drawings and output of the replicas are in {report.folder}")
    return conclude(report, say=say)


def conclude(report: Report, *, say: Callable[[str], None]) -> int:
    """Tells what came of a run; returns the exit status, which is 0 only if nothing is to be said against it."""
    for fact in report.facts:
        say(fact)
    return _tell(report.breaches)


def _tell(breaches: list[str]) -> int:
    for breach in breaches[:_SHOWN]:
        print(f"BREACH: {breach}", file=sys.stderr)
    if len(breaches) > _SHOWN:
        print(f"... and {len(breaches) - _SHOWN} more", file=sys.stderr)
    print("no breach" if not breaches else f"{len(breaches)} breaches")
    return 1 if breaches else 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__, formatter_class=raw)
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    actions.add_parser("prepare", help="build the checker").set_defaults(act=_prepare)
    check = actions.add_parser("check", help="judge a history")
    check.add_argument("history", type=Path, metavar="FILE")
    check.set_defaults(act=_check)
    start = actions.add_parser("run", help="make trouble, and judge")
    start.add_argument("--seed", type=int, help="what to repeat (default: a new one)")
    start.add_argument("--seconds", type=float, help="go on for so long (default: the quick nemeses, once)")
    start.add_argument("--nemesis", action="append", default=[], choices=NEMESES, help="only this; may be repeated")
    start.add_argument("--write-mode", default="Leader", choices=("Leader", "Leaderless"), help="default: Leader")
    start.add_argument("--no-recreation", action="store_true", help="leave the topic alone at the end")
    start.add_argument("--clients", type=int, default=10, help="how many at a time (default: 10)")
    start.add_argument("--program", type=shlex.split, help="what starts a replica (default: the compiled one)")
    start.add_argument("--folder", type=Path, default=RESULTS, help=f"for what is left (default: {RESULTS})")
    start.set_defaults(act=_run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
