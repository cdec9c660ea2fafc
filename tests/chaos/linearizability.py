"""Whether each key of a history is linearizable, judged by Porcupine (`go/`): builds the program, runs it, tells.

Source: Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015; Porcupine carries that out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.commands import run
from tests.support.go_program import build_go, cached

SOURCE: Final = Path(__file__).with_name("go")
PROGRAM: Final = cached("sharedlogkv-chaos/linearizable")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker says.

    Attributes:
        keys: How many keys it has judged.
        operations: How many operations it has explained.
        failures: Each key that is not linearizable, or on which it gave up, in words.
    """

    keys: int
    operations: int
    failures: list[str]


def build() -> None:
    """Builds the checker; raises as `build_go`."""
    build_go(SOURCE, PROGRAM)


def check_linearizability(history: Path, *, seconds_per_key: float = 60.0) -> Verdict:
    """Judges a history; drawings of the keys that fail are left beside it.

    Raises:
        CommandFailed: The checker is not built, or the file is no history.
    """
    limits = ("-seconds", str(seconds_per_key), "-drawings", str(history.parent))
    report: dict[str, Any] = json.loads(run(str(PROGRAM), *limits, str(history), timeout_seconds=3600.0))
    return Verdict(report["keys"], report["operations"], [_describe(failure) for failure in report["failures"]])


def _describe(failure: dict[str, Any]) -> str:
    explained, unexplained = failure["explained"] or ["nothing"], failure["unexplained"] or ["nothing"]
    return "\n    ".join(
        [
            f"key {failure['key']} is {failure['verdict']}; the longest explanation ends in",
            *explained,
            "and can't take in",
            *unexplained,
        ]
    )
