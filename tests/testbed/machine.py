"""The machine as a whole: whether it can carry a testbed, and what the instances on it share.

They share one limit. The kernel lets a user have 128 inotify instances, and a testbed of three nodes takes 40: with
three side by side, kubelets and proxies would end with "too many open files". The first instance raises the limit, the
last one puts it back.
"""

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from . import cgroup, layout, network
from .errors import TestbedError
from .layout import Instance
from .processes import lock

_INSTEAD = (
    "Use a cluster and a Kafka of your own instead: set KUBECONFIG to the cluster's kubeconfig and SLKV_KAFKA to\n"
    "bootstrap servers (host:port) that pods reach; the demo and the end-to-end tests then run there."
)
# Source: capabilities(7), numbers from <linux/capability.h>.
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}

_INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_WANTED = 4096
_INOTIFY_BEFORE = Path("/run/sharedlogkv-testbed.inotify")  # like the limit itself, it does not outlive a boot


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


def instances() -> list[str]:
    """The names of the instances of which something is there."""
    return cgroup.children(layout.CGROUP_ROOT)


def reserve(instance: Instance) -> None:
    """Takes an instance into account, before anything of it starts."""
    with _sharing():
        cgroup.create(instance.cgroup)
        before = int(_INOTIFY_LIMIT.read_text())
        if before < _INOTIFY_WANTED:
            _INOTIFY_BEFORE.write_text(str(before))
            _INOTIFY_LIMIT.write_text(str(_INOTIFY_WANTED))


def release() -> None:
    """Puts everything back when no instance is left."""
    with _sharing():
        if instances():
            return
        cgroup.remove(layout.CGROUP_ROOT)
        if _INOTIFY_BEFORE.exists():
            _INOTIFY_LIMIT.write_text(_INOTIFY_BEFORE.read_text())
            _INOTIFY_BEFORE.unlink()


def _sharing() -> AbstractContextManager[None]:
    return lock(layout.CACHE / "locks/.machine", "another command changes what the testbeds share")


def _problems() -> list[str]:
    if os.geteuid() != 0:
        return [f"it takes root (this is user {os.geteuid()}): namespaces, cgroups, mounts"]
    problems = []
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
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
