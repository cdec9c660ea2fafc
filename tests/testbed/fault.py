"""Faults: the table of what `testbed fault` can break and mend, and how.

A fault acts on the state under the instance's lock. What takes a while to work again (a broker, a node, the API server)
is awaited after the lock is released, so that tests can mend two things at once.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from . import control_plane, kafka, layout, network, node
from .errors import TestbedError
from .hosts import Hosts

Act = Callable[[Hosts, list[str]], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, or the mending of one."""

    arguments: str  # as the help shows them: N is a number, HOST and PROCESS are names, [...] may be left out
    help: str
    act: Act
    wait: Act | None = None  # returns when what was mended works again

    def check(self, name: str, arguments: list[str]) -> None:
        """Refuses a wrong number of arguments."""
        words = self.arguments.split()
        least = sum(not word.startswith("[") for word in words)
        if not least <= len(arguments) <= len(words):
            raise TestbedError(f"usage: testbed fault {name} {self.arguments}")


def _number(arguments: list[str]) -> int:
    if not arguments[0].isdecimal():
        raise TestbedError(f"{arguments[0]!r} is no number: give that of a node or broker, such as 2")
    return int(arguments[0])


def _node(arguments: list[str]) -> str:
    return layout.node_name(_number(arguments))


def _broker(arguments: list[str]) -> str:
    return layout.broker_name(_number(arguments))


def _known(hosts: Hosts, name: str) -> str:
    if name not in hosts.state.hosts:
        raise TestbedError(f"there is no host {name}; there are {', '.join(hosts.state.hosts)}")
    return name


def _partition(hosts: Hosts, name: str) -> None:
    _known(hosts, name)
    network.cut(hosts.instance, name, [other for other in hosts.state.hosts if other != name])


def _cut(hosts: Hosts, names: list[str]) -> None:
    first, second = (_known(hosts, name) for name in names)
    network.cut(hosts.instance, first, [second])


def _heal(hosts: Hosts, names: list[str]) -> None:
    network.heal(hosts.instance, _known(hosts, names[0]) if names else None)


def _start_node(hosts: Hosts, arguments: list[str]) -> None:
    if hosts.state.hosts[_known(hosts, _node(arguments))].init.alive():
        raise TestbedError(f"{_node(arguments)} runs; pull its plug first, with node-kill")
    node.restart(hosts, _number(arguments))


def _signal(name: Callable[[list[str]], str], number: signal.Signals) -> Act:
    return lambda hosts, arguments: hosts.signal(name(arguments), number)


def _freeze(*, frozen: bool) -> Act:
    return lambda hosts, arguments: hosts.freeze(_known(hosts, _node(arguments)), frozen=frozen)


def _process(arguments: list[str]) -> str:
    return arguments[0]


def _api_server(_: list[str]) -> str:
    return "kube-apiserver"


_KILL, _TERM, _STOP, _CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT

FAULTS: dict[str, Fault] = {
    "broker-kill": Fault("N", "SIGKILL a broker", _signal(_broker, _KILL)),
    "broker-stop": Fault(
        "N", "SIGTERM a broker (controlled shutdown); returns when it has ended", _signal(_broker, _TERM)
    ),
    "broker-start": Fault(
        "N",
        "start a broker again on its data; returns when it accepts connections",
        lambda hosts, arguments: hosts.start(_broker(arguments)),
        lambda hosts, arguments: kafka.await_started(hosts, _number(arguments)),
    ),
    "broker-pause": Fault("N", "SIGSTOP a broker", _signal(_broker, _STOP)),
    "broker-resume": Fault("N", "SIGCONT a broker", _signal(_broker, _CONT)),
    "broker-partition": Fault("N", "no frame to or from a broker", lambda hosts, a: _partition(hosts, _broker(a))),
    "node-partition": Fault("N", "no frame to or from a node", lambda hosts, a: _partition(hosts, _node(a))),
    "node-pause": Fault("N", "freeze a node: kubelet, containerd and every pod", _freeze(frozen=True)),
    "node-resume": Fault("N", "thaw a node", _freeze(frozen=False)),
    "node-kill": Fault("N", "pull the plug of a node", lambda hosts, a: hosts.stop_host(_known(hosts, _node(a)))),
    "node-start": Fault(
        "N",
        "boot a node again on its disk; returns when it is Ready",
        _start_node,
        lambda hosts, arguments: node.await_ready(hosts, _number(arguments)),
    ),
    "apiserver-stop": Fault("", "SIGKILL the API server", _signal(_api_server, _KILL)),
    "apiserver-start": Fault(
        "",
        "start the API server again; returns when it is ready",
        lambda hosts, _: hosts.start("kube-apiserver"),
        lambda hosts, _: control_plane.await_api_server(hosts),
    ),
    "cut": Fault("HOST HOST", "no frame between two hosts (cp, client, nodeN, kafkaN, hostN)", _cut),
    "heal": Fault("[HOST]", "undo partitions and cuts: those of one host, or all", _heal),
    "proc-kill": Fault(
        "PROCESS", "SIGKILL a process that `status` lists, such as kubelet-node1", _signal(_process, _KILL)
    ),
    "proc-start": Fault("PROCESS", "start it again", lambda hosts, arguments: hosts.start(arguments[0])),
    "proc-pause": Fault("PROCESS", "SIGSTOP it", _signal(_process, _STOP)),
    "proc-resume": Fault("PROCESS", "SIGCONT it", _signal(_process, _CONT)),
}


def describe() -> str:
    """The table as the help shows it."""
    return "\n".join(f"  {f'{name} {fault.arguments}':24}{fault.help}" for name, fault in FAULTS.items())
