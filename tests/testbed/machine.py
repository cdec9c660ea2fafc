"""Whether this machine can carry a testbed; said at once, and with what to do instead."""

import os
import sys

from . import cgroup, network
from .errors import TestbedError

_INSTEAD = (
    "Use a cluster and a Kafka of your own instead: set KUBECONFIG to the cluster's kubeconfig and SLKV_KAFKA to\n"
    "bootstrap servers (host:port) that pods reach; the demo and the end-to-end tests then run there."
)
# Source: capabilities(7), numbers from <linux/capability.h>.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}


def require() -> None:
    """Returns when this machine can carry a testbed.

    Raises:
        TestbedError: It can't; the message names every reason.
    """
    if not sys.platform.startswith("linux"):
        raise TestbedError(f"The testbed runs on Linux alone: it is made of namespaces and cgroups.\n{_INSTEAD}")
    problems = _problems()
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        raise TestbedError(f"This machine can't carry the testbed:\n{listed}\n{_INSTEAD}")


def require_outside() -> None:
    """Returns when this process is not itself inside a testbed.

    Raises:
        TestbedError: It is: mounts and namespaces made or removed from there would be the client host's alone.
    """
    if network.inside():
        raise TestbedError("this is inside `testbed sh`: start and stop testbeds from outside")


def _problems() -> list[str]:
    if os.geteuid() != 0:
        return [f"it takes root (this is user {os.geteuid()}): namespaces, cgroups, mounts"]
    problems = []
    effective = next(line for line in open("/proc/self/status") if line.startswith("CapEff:"))  # noqa: SIM115, PTH123
    held = int(effective.split()[1], 16)
    lacking = [name for name, number in _CAPABILITIES.items() if not held >> number & 1]
    if lacking:
        problems.append(f"this root lacks {', '.join(lacking)}: a container must be a privileged one")
    if (cgroup.ROOT / "cgroup.controllers").exists():
        problems.append(
            "its cgroups are version 2 alone; the testbed needs version 1 "
            "(boot with systemd.unified_cgroup_hierarchy=0, or use a machine with version 1)"
        )
    else:
        absent = [name for name in cgroup.NEEDED_CONTROLLERS if not os.access(cgroup.ROOT / name, os.W_OK)]
        if absent:
            problems.append(f"no writable cgroup hierarchy at {cgroup.ROOT} for {', '.join(absent)}")
    return problems
