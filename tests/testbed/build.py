"""Makes everything that a testbed is started from, into the cache: the machinery; `steps` says what there is to make.

A step makes one output under a temporary name, which then gets its own: an interrupted step leaves nothing half-made,
and `build` goes on where it was. A stamp beside the output tells what it was made from: when that has changed, or when
another output that it was made from was made anew, it is made again.
"""

import contextlib
import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import layout
from .errors import TestbedError
from .processes import lock

_LIFE_SIGN_SECONDS = 30
_SCRATCH = layout.SCRATCH
_STAMPS = layout.CACHE / "stamps"
_LOCK = layout.CACHE / "locks/.build"  # no instance can bear this name


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to make.

    Attributes:
        name: What the progress lines call it.
        output: The file or folder that it makes.
        make: Makes the output at the path that it is given.
        inputs: Files and texts that the output depends on.
        after: The steps whose outputs it is made from.
    """

    name: str
    output: Path
    make: Callable[[Path], None]
    inputs: tuple[Path | str, ...] = ()
    after: tuple["Step", ...] = ()

    @property
    def stamp(self) -> Path:
        """The file that tells what the present output was made from."""
        return _STAMPS / self.name.replace(" ", "-")

    def digest(self) -> str:
        """Identifies the inputs as they are now."""
        digest = hashlib.sha256()
        for entry in self.inputs:
            content = entry.read_bytes() if isinstance(entry, Path) else entry.encode()
            digest.update(hashlib.sha256(content).digest())
        for step in self.after:
            digest.update(hashlib.sha256(_read(step.stamp).encode()).digest())
        return digest.hexdigest()

    def is_current(self) -> bool:
        """Whether the output is there and was made from the inputs as they are now."""
        return self.output.exists() and _read(self.stamp).startswith(self.digest())


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def require_built(steps: Sequence[Step]) -> None:
    """Returns when every output is there and current.

    Raises:
        TestbedError: Some are not; the message names them.
    """
    missing = [step.name for step in steps if not step.is_current()]
    if missing:
        raise TestbedError(f"not built yet, or out of date: {', '.join(missing)}: run `testbed build` first")


def build(steps: Sequence[Step], *, running: Sequence[str]) -> None:
    """Makes what is missing or out of date, in order, and prints a line for each step.

    Args:
        steps: Each stands after those that it is made from.
        running: The instances that are up: outputs are not replaced under them.

    Raises:
        TestbedError: A step failed, or an output to be replaced is in use.
    """
    begin = time.monotonic()
    with lock(_LOCK, "another `testbed build` is at work"):
        _remove(_SCRATCH)  # a build that was killed may have left something
        _SCRATCH.mkdir(parents=True)
        for number, step in enumerate(steps, 1):
            label = f"[{number:2}/{len(steps)}] {step.name:20}"
            if step.is_current():
                print(f"{label} there", flush=True)
                continue
            if step.output.exists() and running:
                raise TestbedError(
                    f"{step.name} must be made again, and {', '.join(running)} run on it: take them down first"
                )
            with progress(label):
                _carry_out(step)
    print(f"built after {time.monotonic() - begin:.1f} s, in {layout.CACHE}")


def _carry_out(step: Step) -> None:
    digest = step.digest()
    new = step.output.with_name(f".new-{step.output.name}")
    _remove(new)
    new.parent.mkdir(parents=True, exist_ok=True)
    step.make(new)
    step.stamp.unlink(missing_ok=True)
    _remove(step.output)
    new.rename(step.output)
    step.stamp.parent.mkdir(exist_ok=True)
    # The random part makes every output unlike the one before, for the steps after it.
    step.stamp.write_text(f"{digest} {secrets.token_hex(8)}\n")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def progress(label: str) -> Iterator[None]:
    """Prints how long the block took, and while it runs a sign of life twice a minute."""
    begin = time.monotonic()
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_LIFE_SIGN_SECONDS):
            print(f"{label} ... {time.monotonic() - begin:4.0f} s", flush=True)

    print(f"{label} ...", flush=True)
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    print(f"{label} done after {time.monotonic() - begin:.1f} s", flush=True)
