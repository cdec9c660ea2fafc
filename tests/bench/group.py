"""Replicas of one store in write mode Leader, as one starts them by hand: they elect one that writes."""

import secrets
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from tests.bench.errors import BenchError
from tests.bench.programs import free_port
from tests.bench.replica import Replica
from tests.bench.site import Site
from tests.support.waiting import wait_until

_LEADER_SECONDS: Final = 60.0


class Group:
    """A led store, which runs while the context lasts.

    Args:
        site: Where it runs.
        topic: What it follows.
        name: What the names of its replicas begin with.
        size: How many there are.
    """

    def __init__(self, site: Site, topic: str, *, name: str, size: int) -> None:
        self._secret = secrets.token_urlsafe(32)
        secret_file = site.folder / f"{name}.secret"
        secret_file.write_text(self._secret)
        self.replicas = [
            Replica(site, topic, name=f"{name}-{number}", options=_peer_options(str(secret_file)))
            for number in range(1, size + 1)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for replica in self.replicas:
            self._stack.enter_context(replica)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """All replicas, as the load generator names them."""
        return ",".join(replica.url for replica in self.replicas)

    def cpu_seconds(self) -> float:
        """The processor time that all replicas have used so far."""
        return sum(replica.cpu_seconds() for replica in self.replicas)

    def await_ready(self) -> None:
        """Returns once all serve, and one leads."""
        for replica in self.replicas:
            replica.await_ready()
        self.await_leader()

    def await_leader(self, *, after: int = -1, gone: Replica | None = None) -> tuple[Replica, int]:
        """Returns who leads, and in which term, once all that run agree on it and its lease holds.

        Args:
            after: The term must be later than this one.
            gone: A replica that does not run.
        """
        running = [replica for replica in self.replicas if replica is not gone]

        def elected() -> tuple[Replica, int] | None:
            seen = {replica.name: replica.status()["leader"] for replica in running}
            terms = {leader["term"] for leader in seen.values()}
            leading = [one for one in running if seen[one.name]["role"] == "leader" and seen[one.name]["leaseHolds"]]
            if len(terms) != 1 or None in terms or len(leading) != 1:
                return None
            (term,) = terms
            return (leading[0], term) if term > after else None

        return wait_until(elected, what="all replicas to agree on a leader", timeout_seconds=_LEADER_SECONDS)

    def followers(self) -> list[Replica]:
        """The replicas that do not lead."""
        leader, _ = self.await_leader()
        return [replica for replica in self.replicas if replica is not leader]

    def hand_over(self, leader: Replica) -> None:
        """Asks the leader to hand over to whom it thinks best placed; returns once it has resigned.

        Raises:
            BenchError: It did not.
        """
        with leader.admin() as client:
            reply = client.request(
                "POST", "/leader/transfer", headers={"Authorization": f"Bearer {self._secret}"}, body=b""
            )
        if reply.status != 200:
            raise BenchError(f"{leader.name} did not hand over: {reply.body.decode(errors='replace')}")


def _peer_options(secret_file: str) -> list[str]:
    port = str(free_port())
    address = ["--peer-port", port, "--peer-address", f"127.0.0.1:{port}"]
    return ["--write-mode", "Leader", "--peer-secret-file", secret_file, *address]
