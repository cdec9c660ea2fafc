"""What kstatus says of an object, which helm and GitOps tools wait by: the real library, in a program of ours (`go/`).

    python -m tests.support.kstatus    build the program (needs Go, and its registry)

Source: sigs.k8s.io/cli-utils, pkg/kstatus/status.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.commands import run

SOURCE: Final = Path(__file__).with_name("go") / "kstatus"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sharedlogkv-tests"
PROGRAM: Final = _CACHE / "kstatus"
_BUILD_SECONDS = 600.0


def build() -> None:
    """Builds the program, unless nothing has changed (Go's cache knows).

    Raises:
        CommandFailed: There is no fit Go, or no way to its registry.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    words = ("go", "build", "-C", str(SOURCE), "-trimpath", "-o", str(PROGRAM), ".")
    run(*words, environ=os.environ, timeout_seconds=_BUILD_SECONDS)


def compute_kstatus(*objects: Mapping[str, Any]) -> list[str]:
    """For each object `Current`, `InProgress`, `Failed` or `Terminating`.

    Raises:
        CommandFailed: An object is none that kstatus can read.
    """
    assert PROGRAM.exists(), "kstatus is not built: python -m tests.support.kstatus"
    output = run(str(PROGRAM), stdin="\n".join(json.dumps(each) for each in objects))
    return [str(json.loads(line)["status"]) for line in output.splitlines()]


if __name__ == "__main__":
    build()
