"""Control groups, version 1: one hierarchy for each controller, and the same path in all of them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
NEEDED_CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
TESTBED_SHARES = 8 * 1024
"""Of the processor, for all testbeds together. By default they would weigh as much as one process beside them, and on a
busy machine the brokers and etcd would miss their heartbeats."""


def hierarchies() -> list[Path]:
    """The mounted hierarchies, also the nameless ones."""
    return [path for path in ROOT.iterdir() if (path / "cgroup.procs").exists()]


def create(path: str) -> None:
    """Makes a cgroup, and those above it, in every hierarchy."""
    for hierarchy in hierarchies():
        group = hierarchy
        for part in Path(path).parts:
            parent, group = group, group / part
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset is empty and takes no process until filled
                file = group / name
                if file.exists() and not file.read_text().strip():
                    file.write_text((parent / name).read_text())
    (ROOT / "cpu" / Path(path).parts[0] / "cpu.shares").write_text(str(TESTBED_SHARES))


def join_script(path: str) -> str:
    """A line of shell that moves the shell into a cgroup, in every hierarchy."""
    return f"for f in {ROOT}/*/{path}/cgroup.procs; do echo 0 > $f; done"


def pids(path: str) -> set[int]:
    """The processes in a cgroup and in those below it."""
    found: set[int] = set()
    for group in _groups(path):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def freeze(path: str, *, frozen: bool) -> None:
    """Stops or resumes every process of a cgroup at once, also those below it, like a paused virtual machine."""
    (ROOT / "freezer" / path / "freezer.state").write_text("FROZEN" if frozen else "THAWED")


def thaw_below(path: str) -> None:
    """Resumes whatever is frozen directly below a cgroup."""
    for file in (ROOT / "freezer" / path).glob("*/freezer.state"):
        file.write_text("THAWED")


def memory_bytes(path: str) -> int:
    """The memory in use by a cgroup, page cache included."""
    return _read_number(ROOT / "memory" / path / "memory.usage_in_bytes")


def cpu_seconds(path: str) -> float:
    """The processor time that a cgroup has used."""
    return _read_number(ROOT / "cpuacct" / path / "cpuacct.usage") / 1e9


def children(path: str) -> list[str]:
    """The names of the cgroups directly below one, in any hierarchy."""
    return sorted({group.name for h in hierarchies() for group in (h / path).glob("*") if group.is_dir()})


def remove(path: str) -> bool:
    """Removes a cgroup and those below it; False when some are not empty yet."""
    for group in _groups(path):
        with contextlib.suppress(OSError):
            group.rmdir()
    return not any((h / path).exists() for h in hierarchies())


def _read_number(file: Path) -> int:
    """A cgroup's number; 0 when the cgroup is gone, as all are after a boot."""
    return int(file.read_text()) if file.exists() else 0


def _groups(path: str) -> Iterator[Path]:
    """A cgroup and those below it, the deepest first."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / path, topdown=False):
            yield Path(folder)
