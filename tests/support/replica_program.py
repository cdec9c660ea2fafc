"""The replica as users run it, its data path compiled: built into `build/compiled/`, and the words that start it.

    python -m tests.support.replica_program     build it, unless it is that of the sources (`make compiled`)

Whatever starts a replica as a process takes the words from here. A replica that is altered on purpose runs from the
sources, since compiled code can't be replaced from outside.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
COMPILED: Final = REPOSITORY / "build/compiled"
_PACKAGE: Final = REPOSITORY / "replica/sharedlogkv_replica"
DIGEST: Final = "digest"


class NotCompiled(Exception):
    """There is no compiled replica, or it is that of other sources."""


@functools.cache
def replica_program() -> tuple[str, ...]:
    """The words that start a replica; its options follow.

    Raises:
        NotCompiled: `make compiled` has not been run since the sources were changed.
    """
    require_compiled()
    return ("env", f"PYTHONPATH={COMPILED}", sys.executable, "-m", _PACKAGE.name)


def require_compiled(folder: Path = COMPILED) -> None:
    """Does nothing when a folder holds the compiled replica of the sources as they are.

    Raises:
        NotCompiled: It is not.
    """
    if not _holds(folder, digest_of_sources()):
        raise NotCompiled(f"{folder} does not hold the replica of these sources: run `make compiled`")


def compile_replica() -> None:
    """Builds `build/compiled/` anew when it is not that of the sources.

    Raises:
        subprocess.CalledProcessError: What the compilation needs is missing, or mypyc refuses the sources.
    """
    digest = digest_of_sources()
    if _holds(COMPILED, digest):
        return
    new = COMPILED.with_name("compiled.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(_PACKAGE, new / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", str(new)]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "SHAREDLOGKV_COMPILE": "1"}, check=True)
    (new / DIGEST).write_text(digest)
    shutil.rmtree(COMPILED, ignore_errors=True)
    new.rename(COMPILED)


def _holds(folder: Path, digest: str) -> bool:
    known = folder / DIGEST
    return known.exists() and known.read_text() == digest


def digest_of_sources() -> str:
    """Identifies what the compiled replica depends on: sources, mypy and its settings, Python."""
    digest = hashlib.sha256(sys.version.encode())
    for file in _inputs():
        digest.update(f"{file.relative_to(REPOSITORY)}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _inputs() -> Iterator[Path]:
    yield from (REPOSITORY / "constraints.txt", REPOSITORY / "setup.py")
    yield from sorted(file for file in _PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


if __name__ == "__main__":
    try:
        compile_replica()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
