"""A store with a leader as real processes on this machine: replicas on loopback addresses of their own, and one log.

All calls block. Replicas are named by numbers from 1 on; each has an address of 127.0.0.0/8 to itself, so that all can
have the same ports, and no other test has it.
"""

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.replica_http import ReplicaClient
from tests.support.replica_program import replica_program
from tests.support.waiting import wait_until

HTTP_PORT: Final = 8080
ADMIN_PORT: Final = 9090
PEER_PORT: Final = 8081
LEASE_SECONDS: Final = 2.0
WRITE_SECONDS: Final = 1.0
"""Below the lease by more than a beat: so a write that begins as the leader dies ends before the next one leads."""

READY_SECONDS: Final = 60.0


class LedReplica:
    """One replica, which may be started again and again.

    Attributes:
        name: as in `/status` and in the log.
        host: the address that it listens on.
    """

    def __init__(self, number: int, *, store: int, log: str, folder: Path, secret: str) -> None:
        self.name = f"replica{number}"
        self.host = f"127.{os.getpid() >> 8 & 127 | 128}.{os.getpid() & 255}.{10 * store + number}"
        self._folder = folder
        self._secret_file = folder / f"{self.name}.secret"
        self._secret_file.write_text(secret)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `await_ready` tells when it serves."""
        options = {
            "log": self._log, "write-mode": "Leader", "name": self.name, "host": self.host, "http-port": HTTP_PORT,
            "admin-port": ADMIN_PORT, "peer-port": PEER_PORT, "peer-secret-file": self._secret_file,
            "lease-seconds": LEASE_SECONDS, "write-timeout-seconds": WRITE_SECONDS, "drain-seconds": 0,
        }  # fmt: skip
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SLKV_REPLICA_")}
        with self._output.open("ab") as output:
            self._process = subprocess.Popen([*replica_program(), *flags], stdout=output, stderr=output, env=environ)

    @property
    def _output(self) -> Path:
        return self._folder / f"{self.name}.log"

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines that it has logged with this message."""
        lines = [json.loads(line) for line in self._output.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    @contextmanager
    def client(self, *, timeout_seconds: float = 15.0) -> Iterator[ReplicaClient]:
        """A connection to its data port."""
        with ReplicaClient(self.host, HTTP_PORT, timeout_seconds=timeout_seconds) as client:
            yield client

    def _page(self, path: str) -> bytes:
        with ReplicaClient(self.host, ADMIN_PORT, timeout_seconds=2.0) as client:
            return client.request("GET", path).body

    def status(self) -> Mapping[str, Any]:
        """The `/status` document."""
        document: Mapping[str, Any] = json.loads(self._page("/status"))
        return document

    def metric(self, name: str, labels: str = "") -> float:
        """The value of one metric; 0 where there is none with these labels."""
        series = f"{name}{labels} "
        lines = (line for line in self._page("/metrics").decode().splitlines() if line.startswith(series))
        return float(next(lines, f"{series}0").removeprefix(series))

    def await_ready(self) -> None:
        """Returns once it serves.

        Raises:
            AssertionError: it does not in time.
            SystemError: it has ended.
        """

        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                end = "\n".join(self._output.read_text().splitlines()[-5:])
                raise SystemError(f"{self.name} has ended:\n{end}")
            return bool(self.status()["ready"])

        wait_until(ready, what=f"{self.name} to be ready", timeout_seconds=READY_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Signals it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it as a crash does; does nothing where it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def runs(self) -> bool:
        """Whether there is a process of it."""
        return self._process is not None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It is stopped while the context lasts."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


class LedStore:
    """Three replicas, and a secret that they share.

    Attributes:
        replicas: all of them, stopped ones too.
    """

    SECRET: Final = "shared by the replicas of one store"
    _numbers = itertools.count()

    def __init__(self, log: str, folder: Path) -> None:
        self._number = next(self._numbers)
        self._log = log
        self._folder = folder
        self.replicas = [self._replica(number, secret=self.SECRET) for number in (1, 2, 3)]

    def _replica(self, number: int, *, secret: str) -> LedReplica:
        return LedReplica(number, store=self._number, log=self._log, folder=self._folder, secret=secret)

    def start(self) -> None:
        """Starts those that don't run, and returns once all serve and agree on a leader."""
        for replica in self.replicas:
            if not replica.runs:
                replica.start()
        for replica in self.replicas:
            replica.await_ready()
        self.leader()

    def stop(self) -> None:
        """Ends all of them."""
        for replica in self.replicas:
            replica.kill()

    def stranger(self, *, secret: str) -> LedReplica:
        """One more replica of the same log, with another secret; not started."""
        return self._replica(9, secret=secret)

    def leader(self) -> LedReplica:
        """Who leads, once all that run agree on it and are connected to it."""

        def agreed() -> LedReplica:
            running = [replica for replica in self.replicas if replica.runs]
            names = {replica.status()["leader"]["name"] for replica in running}
            leaders = [replica for replica in running if replica.name in names]
            assert len(names) == len(leaders) == 1, names
            [leader] = leaders
            assert leader.status()["leader"]["leaseHolds"]
            links = [replica.metric("slkv_replica_peer_link_connected") for replica in running if replica is not leader]
            assert all(links), links
            return leader

        return wait_until(agreed, what="one leader", timeout_seconds=30.0, every_seconds=0.05)

    def followers(self) -> list[LedReplica]:
        """The others."""
        leader = self.leader()
        return [replica for replica in self.replicas if replica.runs and replica is not leader]
