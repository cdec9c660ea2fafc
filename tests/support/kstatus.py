"""What kstatus says of an object, which helm and GitOps tools wait by: the real library, in a program of ours (`go/`).

    python -m tests.support.kstatus    build the program (needs Go, and its registry)

Source: sigs.k8s.io/cli-utils, pkg/kstatus/status.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.commands import run
from tests.support.go_program import build_go, cached

SOURCE: Final = Path(__file__).with_name("go") / "kstatus"
PROGRAM: Final = cached("sharedlogkv-tests/kstatus")


def compute_kstatus(*objects: Mapping[str, Any]) -> list[str]:
    """For each object `Current`, `InProgress`, `Failed` or `Terminating`.

    Raises:
        CommandFailed: An object is none that kstatus can read.
    """
    assert PROGRAM.exists(), "kstatus is not built: python -m tests.support.kstatus"
    output = run(str(PROGRAM), stdin="\n".join(json.dumps(each) for each in objects))
    return [str(json.loads(line)["status"]) for line in output.splitlines()]


if __name__ == "__main__":
    build_go(SOURCE, PROGRAM)
