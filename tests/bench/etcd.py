"""etcd as the peer, as it is shipped, which means with an fsync before it acknowledges: one member, or several."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.errors import BenchError
from tests.bench.programs import Program, free_port, require_program
from tests.support.replica_http import ReplicaClient


@dataclass(frozen=True, slots=True)
class Member:
    """Who a member is, and where it is reached."""

    name: str = "default"
    port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)

    @property
    def peer_url(self) -> str:
        """For the other members."""
        return f"http://127.0.0.1:{self.peer_port}"


class Etcd(Program):
    """One member with its data in a folder.

    Args:
        folder: For the data and the output.
        options: Further options of the command line.
        member: Who it is.
        others: The members of its cluster beside itself.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        *,
        member: Member | None = None,
        others: Sequence[Member] = (),
    ) -> None:
        member = member or Member()
        self.port = member.port
        client, peer = f"http://127.0.0.1:{member.port}", member.peer_url
        addresses = [
            f"--name={member.name}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={','.join(f'{one.name}={one.peer_url}' for one in (member, *others))}",
        ]
        # The history of the bench's own puts would trip the quota's alarm, which has nothing to do with its speed.
        quota = f"--quota-backend-bytes={8 << 30}"
        data = f"--data-dir={folder / member.name}"
        command = [require_program("etcd"), data, *addresses, quota, "--log-level=warn", *options]
        super().__init__("etcd", command, log=folder / f"{member.name}.log")

    def await_ready(self) -> float:
        """Returns the seconds until it took requests, from now."""
        begin = time.monotonic()
        self.await_port(self.port)
        return time.monotonic() - begin

    @property
    def url(self) -> str:
        """As the load generator names it."""
        return f"etcd://127.0.0.1:{self.port}"

    def leads(self) -> bool:
        """Whether it is the leader of its cluster."""
        with ReplicaClient("127.0.0.1", self.port) as client:
            status = client.request("POST", "/v3/maintenance/status", body=b"{}").json()
        return bool(status["header"]["member_id"] == status["leader"])


class EtcdCluster:
    """Members of one cluster, which run while the context lasts.

    Args:
        folder: For the data and the output.
        options: Further options of the command line.
        size: How many.
    """

    def __init__(self, folder: Path, options: Sequence[str] = (), *, size: int) -> None:
        members = [Member(f"member-{number}") for number in range(1, size + 1)]
        self._members = [
            Etcd(folder, options, member=member, others=[other for other in members if other is not member])
            for member in members
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for member in self._members:
            self._stack.enter_context(member)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cpu_seconds(self) -> float:
        """The processor time that all members have used so far."""
        return sum(member.cpu_seconds() for member in self._members)

    def await_ready(self) -> None:
        """Returns once all take requests."""
        for member in self._members:
            member.await_ready()

    @property
    def url(self) -> str:
        """All members, as the load generator names them."""
        return ",".join(member.url for member in self._members)

    def follower(self) -> Etcd:
        """A member that does not lead.

        Raises:
            BenchError: There is none.
        """
        for member in self._members:
            if not member.leads():
                return member
        raise BenchError("etcd has no follower")
