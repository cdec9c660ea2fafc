"""Hosts and the processes on them.

Killing the init of a host kills every process in its PID namespace and drops every mount it made: that pulls the plug
of a host in a fault, and lets `down` leave nothing behind. The client and the plain hosts have no PID namespace of
their own: what `testbed sh` runs there can signal the processes of the other hosts, and is signalled by the pid that
its starter knows.
"""

import contextlib
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import cgroup, layout
from .errors import TestbedError
from .layout import Instance
from .processes import ProcessId, send, wait_for
from .state import Host, Process, State

_START_SECONDS = 30
_STOP_SECONDS = 60
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Hosts:
    """Starts, signals and stops the hosts and processes of one instance; the caller saves `state`."""

    def __init__(self, instance: Instance, state: State) -> None:
        self.instance = instance
        self.state = state
        self._started: set[str] = set()

    def start_host(self, name: str, *, address: str, setup: str = "", own_pids: bool = True) -> None:
        """Starts the init of a host in its network namespace, which must be there.

        Args:
            name: The host.
            address: The address that its namespace has.
            setup: Shell commands that prepare its mounts.
            own_pids: Whether it gets a PID namespace.
        """
        group = self._group(name)
        cgroup.create(group)
        # Another host's namespaces are none of this one's business: a mount of them would keep them alive after `down`.
        hide_namespaces = "umount -R -l /run/netns" if own_pids else ":"
        init = f"exec {layout.BIN}/pause"
        script = "\n".join(["set -e", cgroup.join_script(group), f"hostname {name}", hide_namespaces, setup, init])
        command = ["nsenter", f"--net=/run/netns/{self.instance.namespace(name)}", "unshare", "--mount", "--uts"]
        command += ["--pid", "--fork", "--kill-child", "--mount-proc"] if own_pids else []
        starter = self._popen(name, [*command, "--", "sh", "-c", script], None)
        pid = self._await_program(starter, "pause", name, forked=own_pids)
        self.state.hosts[name] = Host(address, setup, own_pids, ProcessId.of(pid))

    def restart_host(self, name: str) -> None:
        """Boots a host again that was stopped; what ran on it is started by others."""
        old = self.state.hosts[name]
        self.start_host(name, address=old.address, setup=old.setup, own_pids=old.own_pids)

    def stop_host(self, name: str) -> None:
        """Pulls the plug: kills the init of a host, and with it everything on the host."""
        init = self.state.hosts[name].init
        if init.alive():
            send(init.pid, signal.SIGKILL)
        self.freeze(name, frozen=False)  # what is frozen does not even die
        wait_for(f"{name} to stop", lambda: not init.alive(), timeout_seconds=_STOP_SECONDS)

    def freeze(self, name: str, *, frozen: bool) -> None:
        """Stops or resumes everything on a host at once, pods included."""
        cgroup.freeze(f"{self.instance.cgroup}/{name}", frozen=frozen)

    def enter(self, name: str, *, pids: bool = True) -> list[str]:
        """The words that run a command on a host; without `pids` it keeps the caller's PID namespace."""
        host = self.state.hosts[name]
        # nsenter alone: `ip netns exec` would remount /sys and hide the cgroups from kubelet and containerd.
        return ["nsenter", "-t", str(host.init.pid), "-m", "-u", "-n", *(["-p"] if pids and host.own_pids else [])]

    def spawn(self, host: str, name: str, command: list[str], env: dict[str, str] | None = None) -> None:
        """Starts a program on a host and remembers how; its output goes to `log/NAME.log`."""
        self.state.processes[name] = Process(host, command, env or {}, ProcessId(0, -1))
        self.start(name)

    def start(self, name: str) -> None:
        """Starts a remembered program again, unless it runs."""
        process = self._process(name)
        if process.pid.alive():
            return
        log = self.instance.logs / f"{name}.log"
        process.log_start = log.stat().st_size if log.exists() else 0
        script = f'{cgroup.join_script(self._group(process.host))}; cd /; exec "$@"'
        env = {"PATH": f"{layout.PATH}:{_SYSTEM_PATH}", "HOME": "/root", "LANG": "C.UTF-8", **process.env}
        entrance = self._popen(name, [*self.enter(process.host), "--", "sh", "-c", script, "sh", *process.command], env)
        forked = self.state.hosts[process.host].own_pids
        pid = self._await_program(entrance, Path(process.command[0]).name, name, forked=forked)
        process.pid = ProcessId.of(pid)
        process.entrance = entrance.pid if forked else None
        self._started.add(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signals a program; after SIGKILL and SIGTERM, waits until it has ended.

        Raises:
            TestbedError: There is no such program, it does not run, or it does not end.
        """
        process = self._process(name)
        if not process.pid.alive():
            raise TestbedError(f"{name} does not run")
        send(process.pid.pid, number)
        if process.entrance is not None and number is not signal.SIGSTOP:
            # nsenter stops itself when its child stops, and a stopped nsenter reaps nothing.
            send(process.entrance, signal.SIGCONT)
        if number in (signal.SIGKILL, signal.SIGTERM):
            wait_for(f"{name} to end", lambda: not process.pid.alive(), timeout_seconds=_STOP_SECONDS)

    def wait_for(
        self, what: str, condition: Callable[[], bool], *, timeout_seconds: float, every_seconds: float = 0.05
    ) -> None:
        """Returns as soon as the condition holds; gives up at once when a program that was started here has ended.

        Raises:
            TestbedError: It does not hold; the message shows the end of the log of what has ended.
        """

        def holds() -> bool:
            for name in self._started:
                if not self.state.processes[name].pid.alive():
                    said = self.log_of_present_run(name).decode(errors="replace").strip()[-1000:]
                    raise TestbedError(f"{name} has ended, while waiting for {what}:\n{said}")
            return condition()

        wait_for(what, holds, timeout_seconds=timeout_seconds, every_seconds=every_seconds)

    def log_of_present_run(self, name: str) -> bytes:
        """What a program has logged since it was last started."""
        with (self.instance.logs / f"{name}.log").open("rb") as file:
            file.seek(self._process(name).log_start)
            return file.read()

    def _process(self, name: str) -> Process:
        if name not in self.state.processes:
            raise TestbedError(f"there is no {name}; there are {', '.join(self.state.processes)}")
        return self.state.processes[name]

    def _group(self, host: str) -> str:
        return f"{self.instance.cgroup}/{host}/sys"  # beside it the kubelet makes those of the pods

    def _popen(self, name: str, command: list[str], env: dict[str, str] | None) -> "subprocess.Popen[bytes]":
        with (self.instance.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _await_program(self, starter: "subprocess.Popen[bytes]", program: str, name: str, *, forked: bool) -> int:
        """The pid of the program itself, once it runs: of the starter, or where that forks and waits, of its child."""
        found: list[int] = []

        def runs() -> bool:
            if starter.poll() is not None:
                log = self.instance.logs / f"{name}.log"
                raise TestbedError(f"{name} ended at once with status {starter.returncode}: see {log}")
            with contextlib.suppress(OSError, ValueError, IndexError):
                children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children")
                pid = int(children.read_text().split()[0]) if forked else starter.pid
                if Path(f"/proc/{pid}/comm").read_text().strip() == program[:15]:
                    found.append(pid)
            return bool(found)

        wait_for(f"{name} to start", runs, timeout_seconds=_START_SECONDS, every_seconds=0.01)
        return found[-1]
