"""The wires of an instance: a switch, a network namespace for each host, and cuts between hosts.

The switch is a bridge in a namespace of its own, where the port to a host bears the host's name. No namespace has a
default route, and the root namespace gets an `unreachable` route for the testbed's range: no packet leaves the machine.
"""

import contextlib
import ctypes
import json
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from . import layout
from .layout import Instance
from .processes import run, succeeds

_NAMESPACES = Path("/run/netns")
_SWITCH = "sw"
_CLONE_NEWNET = 0x40000000
_CUTS = """table bridge cuts {
  set pairs { type ifname . ifname; }
  chain forward { type filter hook forward priority 0; iifname . oifname @pairs drop; }
}"""

T = TypeVar("T")


def enter(instance: Instance, host: str) -> list[str]:
    """The words that run a command in the network namespace of a host, and change nothing else for it."""
    # Not `ip netns exec`: that also remounts /sys, which hides the cgroups.
    return ["nsenter", f"--net={_NAMESPACES / instance.namespace(host)}", "--"]


def close_way_out(instance: Instance) -> None:
    """Makes the root namespace refuse the testbed's range, which else would leave by its default route."""
    run("ip", "route", "replace", "unreachable", layout.WHOLE_NET, "metric", str(instance.route_metric))


def create_switch(instance: Instance) -> None:
    """Makes the bridge, and the table that drops every frame between two ports in the set of cut pairs."""
    switch = instance.namespace(_SWITCH)
    run("ip", "netns", "add", switch)
    run("ip", "-n", switch, "-batch", "-", stdin="link add br0 type bridge\nlink set br0 up\n")
    run(*enter(instance, _SWITCH), "nft", "-f", "-", stdin=_CUTS)


def create_namespace(instance: Instance, host: str, *, address: str, routes: Iterable[tuple[str, str]]) -> None:
    """Makes the namespace of a host, wired to the switch.

    Args:
        instance: The testbed.
        host: The host's name, at most 15 characters long.
        address: Its IPv4 address.
        routes: Further networks that it reaches, each with the address of the host in between.
    """
    namespace, switch = instance.namespace(host), instance.namespace(_SWITCH)
    lines = [
        f"link add eth0 type veth peer name {host} netns {switch}",
        "link set lo up",
        "link set eth0 up",
        f"addr add {address}/24 dev eth0",
        # Service addresses need some route, or the kernel refuses them before kube-proxy's rules see them.
        # A bridge without ports, as not every kernel has dummy links.
        "link add svc0 type bridge",
        "link set svc0 up",
        f"route add {layout.SERVICE_NET} dev svc0",
        *(f"route add {network} via {via}" for network, via in routes),
    ]
    run("ip", "netns", "add", namespace)
    run("ip", "-n", namespace, "-batch", "-", stdin="\n".join(lines) + "\n")
    run("ip", "-n", switch, "-batch", "-", stdin=f"link set {host} master br0\nlink set {host} up\n")


def namespaces(instance: Instance) -> list[Path]:
    """The network namespaces of an instance."""
    return sorted(_NAMESPACES.glob(instance.namespace("*")))


def inside() -> bool:
    """Whether this very process runs in a network namespace of some instance, as under `testbed sh`."""
    mine = Path("/proc/self/ns/net").stat().st_ino
    return any(path.stat().st_ino == mine for path in _NAMESPACES.glob(f"{layout.NAMESPACE_PREFIX}*"))


def pids(instance: Instance) -> set[int]:
    """The processes in the network namespaces of an instance. Those of pods are not: pods have their own."""
    ours = {path.stat().st_ino for path in namespaces(instance)}
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "ns/net").stat().st_ino in ours:
                found.add(int(folder.name))
    return found


def remove(instance: Instance) -> None:
    """Removes the namespaces of an instance, with everything in them, and its `unreachable` route."""
    for path in namespaces(instance):
        run("ip", "netns", "del", path.name)
    succeeds("ip", "route", "del", "unreachable", layout.WHOLE_NET, "metric", str(instance.route_metric))


def call_in(instance: Instance, host: str, function: Callable[[], T]) -> T:
    """Calls a function in a thread that has joined the network namespace of a host: only its sockets are there."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            with (_NAMESPACES / instance.namespace(host)).open() as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  (it is raised again in the calling thread)
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def cut(instance: Instance, host: str, others: Iterable[str]) -> None:
    """Lets no frame pass between a host and each of the others, in either direction."""
    pairs = ", ".join(f"{host} . {other}, {other} . {host}" for other in others)
    _nft(instance, f"add element bridge cuts pairs {{ {pairs} }}")


def heal(instance: Instance, host: str | None = None) -> None:
    """Undoes every cut of a host, or all of them."""
    if host is None:
        _nft(instance, "flush set bridge cuts pairs")
        return
    pairs = [f"{a} . {b}" for a, b in _cut_pairs(instance) if host in (a, b)]
    if pairs:
        _nft(instance, f"delete element bridge cuts pairs {{ {', '.join(pairs)} }}")


def _cut_pairs(instance: Instance) -> list[tuple[str, str]]:
    listed: dict[str, Any] = json.loads(_nft(instance, "-j list set bridge cuts pairs"))
    elements = next(entry["set"] for entry in listed["nftables"] if "set" in entry).get("elem", [])
    return [(element["concat"][0], element["concat"][1]) for element in elements]


def _nft(instance: Instance, command: str) -> str:
    return run(*enter(instance, _SWITCH), "nft", *command.split())
