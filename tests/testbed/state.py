"""What is remembered of a running testbed between two commands: its size, its hosts and its processes."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import TestbedError
from .layout import Instance
from .processes import ProcessId


@dataclass(frozen=True, slots=True)
class Size:
    """How many nodes, brokers and plain hosts a testbed has; each may be 0."""

    nodes: int
    brokers: int
    hosts: int = 0

    def __str__(self) -> str:
        """The size as people say it."""
        hosts = f", and {self.hosts} plain host{'s'[: self.hosts != 1]}" if self.hosts else ""
        return f"{self.nodes} node{'s'[: self.nodes != 1]} and {self.brokers} broker{'s'[: self.brokers != 1]}{hosts}"


@dataclass(slots=True)
class Host:
    """A network namespace with a mount, a UTS and (but for the client) a PID namespace, held by a tiny init."""

    address: str
    setup: str  # shell commands that the init's shell runs first
    own_pids: bool
    init: ProcessId


@dataclass(slots=True)
class Process:
    """A program on a host, and how to start it again."""

    host: str
    command: list[str]
    env: dict[str, str]
    pid: ProcessId
    entrance: int | None = None  # the pid of the nsenter that waits for it, where there is one
    log_start: int = 0  # where in its log file the present run begins, in bytes


@dataclass(slots=True)
class State:
    """The hosts and processes of an instance, by name."""

    size: Size
    complete: bool = False  # `up` has come to its end
    hosts: dict[str, Host] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)

    def dead(self) -> list[str]:
        """The hosts and processes that were started and do not run."""
        hosts = [name for name, host in self.hosts.items() if not host.init.alive()]
        return hosts + [name for name, process in self.processes.items() if not process.pid.alive()]


def save(instance: Instance, state: State) -> None:
    """Writes the state in one step: another command reads the old one or the new one."""
    new = instance.run / "state.json.new"
    new.write_text(json.dumps(asdict(state), indent=1))
    new.rename(instance.run / "state.json")


def load(instance: Instance) -> State:
    """Reads the state of an instance.

    Raises:
        TestbedError: It is not up.
    """
    try:
        data = json.loads((instance.run / "state.json").read_text())
    except FileNotFoundError as error:
        raise TestbedError(f"testbed {instance.name!r} is not up: start it with `testbed up`") from error
    return State(
        size=Size(**data["size"]),
        complete=data["complete"],
        hosts={name: Host(**_with_id(host, "init")) for name, host in data["hosts"].items()},
        processes={name: Process(**_with_id(process, "pid")) for name, process in data["processes"].items()},
    )


def _with_id(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {**data, key: ProcessId(**data[key])}
