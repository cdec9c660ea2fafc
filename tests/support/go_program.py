"""Programs of ours in Go, which are built where they are needed and kept in the user's cache."""

import os
from pathlib import Path
from typing import Final

from tests.support.commands import run

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_BUILD_SECONDS: Final = 600.0


def cached(name: str) -> Path:
    """Where the program `name` is kept, which may hold slashes; it may not be there yet."""
    return _CACHE / name


def build_go(source: Path, program: Path) -> None:
    """Builds the module in the folder `source`, unless nothing has changed (Go's cache knows).

    Raises:
        CommandFailed: There is no fit Go, or no way to its registry.
    """
    program.parent.mkdir(parents=True, exist_ok=True)
    words = ("go", "build", "-C", str(source), "-trimpath", "-o", str(program), ".")
    run(*words, environ=os.environ, timeout_seconds=_BUILD_SECONDS)
