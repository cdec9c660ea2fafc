"""How much CPU the kernel lets this process have, by the limit of its control group.

Source: Linux, "Control Group v2" (`cpu.max`), "CFS Bandwidth Control" (version 1: `cpu.cfs_quota_us`).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOST_CPUS: Final = 1.0
"""What one event loop can use."""
_GROUPS: Final = Path("proc/self/cgroup")
_MOUNT: Final = Path("sys/fs/cgroup")


def read_cpu_limit(root: Path = Path("/")) -> float:
    """CPUs that this process can use: its control group's limit, at most `MOST_CPUS`, which is also when there is none.

    Args:
        root: where `proc` and `sys` are.
    """
    for directory in _find_directories(root):
        with contextlib.suppress(OSError, ValueError):
            return min(MOST_CPUS, _read_quota(directory))
    return MOST_CPUS


def _find_directories(root: Path) -> Iterator[Path]:
    """Where the limit may stand: in the group's directory, and, inside a container, in the one that is mounted."""
    try:
        lines = (root / _GROUPS).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounted = root / _MOUNT
        if controllers:  # version 1: one hierarchy for each set of controllers
            if "cpu" not in controllers.split(","):
                continue
            mounted /= controllers if (root / _MOUNT / controllers).exists() else "cpu"
        yield mounted / path.lstrip("/")
        yield mounted


def _read_quota(directory: Path) -> float:
    """The CPUs that the directory's files allow.

    Raises:
        OSError, ValueError: they are not there, or hold something else.
    """
    if (directory / "cpu.max").exists():
        quota, period = (directory / "cpu.max").read_text().split()
    else:
        quota = (directory / "cpu.cfs_quota_us").read_text().strip()
        period = (directory / "cpu.cfs_period_us").read_text().strip()
    return MOST_CPUS if quota in ("max", "-1") else int(quota) / int(period)
