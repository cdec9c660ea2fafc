"""The replicas of a run: real processes, each on a plain host of the testbed, so that its network can be cut.

All calls block; the run makes them in threads. The commands work inside `testbed sh`, where the processes of all hosts
can be signalled.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.http_client import ADMIN_PORT, HTTP_PORT
from tests.support.replica_http import ReplicaClient
from tests.support.replica_program import replica_program
from tests.support.waiting import wait_until
from tests.testbed import layout

PEER_PORT: Final = 8081
_READY_SECONDS = 120.0
_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How all replicas of a run are started.

    Attributes:
        testbed: The program of the testbed.
        log: Where the log is, as the replica's configuration names it.
        log_id: The only log id that they follow.
        write_mode: `Leader` or `Leaderless`.
        folder: For what they print, and for the secret that they share.
        program: The words that start one; its flags follow.
        lease_seconds: Of the leader.
    """

    testbed: str
    log: str
    log_id: str
    write_mode: str
    folder: Path
    program: Sequence[str] = field(default_factory=replica_program)
    lease_seconds: float = 3.0

    def flags(self, name: str, address: str) -> list[str]:
        """The replica's command line."""
        ports = ["--http-port", str(HTTP_PORT), "--admin-port", str(ADMIN_PORT)]
        flags = ["--log", self.log, "--topic-id", self.log_id, "--name", name, "--write-mode", self.write_mode, *ports]
        flags += ["--drain-seconds", "0", "--stop-seconds", "5"]
        if self.write_mode == "Leader":
            secret = self.folder / "peer-secret"
            secret.write_text("shared by the replicas of one run\n")
            flags += ["--peer-port", str(PEER_PORT), "--peer-address", f"{address}:{PEER_PORT}"]
            flags += ["--peer-secret-file", str(secret), "--lease-seconds", str(self.lease_seconds)]
        return flags


class Replica:
    """One replica, which may be started again and again.

    Attributes:
        name: As in `/status` and in the log.
        host: The testbed's host that it runs on.
        address: Of that host.
    """

    def __init__(self, setting: Setting, number: int) -> None:
        self.name = f"replica{number}"
        self.host = layout.host_name(number)
        self.address = layout.host_ip(number)
        self._setting = setting
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `await_ready` tells when it serves."""
        setting = self._setting
        there = [setting.testbed, "sh", "--host", self.host]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SLKV_REPLICA_")}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*there, *setting.program, *setting.flags(self.name, self.address)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
            )

    @property
    def output(self) -> Path:
        """What it has printed."""
        return self._setting.folder / f"{self.name}.log"

    @property
    def runs(self) -> bool:
        """Whether there is a process of it, be it stopped."""
        return self._process is not None and self._process.poll() is None

    def await_ready(self) -> None:
        """Returns once it serves.

        Raises:
            AssertionError: It ended, or is not Ready in time.
        """

        def ready() -> bool:
            if not self.runs:
                end = "\n".join(self.output.read_text().splitlines()[-20:])
                raise SystemError(f"{self.name} has ended:\n{end}")
            with ReplicaClient(self.address, ADMIN_PORT, timeout_seconds=2) as client:
                return client.request("GET", "/readyz").status == 200

        wait_until(ready, what=f"{self.name} to be Ready", timeout_seconds=_READY_SECONDS)

    def status(self) -> Mapping[str, Any]:
        """The `/status` document; empty where it does not answer."""
        try:
            with ReplicaClient(self.address, ADMIN_PORT, timeout_seconds=1) as client:
                document: Mapping[str, Any] = json.loads(client.request("GET", "/status").body)
        except (OSError, ValueError):
            return {}
        return document

    @property
    def role(self) -> str:
        """What it takes itself for: `leader`, `follower`, `candidate`, `none`; `silent` where it does not answer."""
        status = self.status()
        return str(status.get("leader", {}).get("role", "none")) if status else "silent"

    def items(self) -> Mapping[str, tuple[int, str]]:
        """Its whole map: version and value by key."""
        with ReplicaClient(self.address, HTTP_PORT) as client:
            return {item["key"]: (item["version"], item["value"]) for item in client.items()}

    def signal(self, number: signal.Signals) -> None:
        """Signals it; after one that ends it, returns when it has ended.

        Raises:
            subprocess.TimeoutExpired: It did not end.
        """
        assert self._process is not None
        assert self.runs, f"{self.name} does not run"
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(_STOP_SECONDS)

    def end(self) -> None:
        """Ends it, in whatever state it is."""
        if self._process is not None and self.runs:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)


def leaders(replicas: Sequence[Replica]) -> list[Replica]:
    """Those that take themselves for the leader, and answer."""
    return [replica for replica in replicas if replica.runs and replica.role == "leader"]
