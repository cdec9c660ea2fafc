"""Wires a replica to its peers: who it is, the links that it makes, and the port at which others reach it."""

from collections.abc import Callable
from pathlib import Path

from sharedlogkv_replica.engine.peer_handshake import Identifier
from sharedlogkv_replica.engine.peer_link import PeerDialer
from sharedlogkv_replica.engine.peer_wire import frame_limit_bytes
from sharedlogkv_replica.engine.peers import PeerCounters, PeerLimits, PeerService, Report
from sharedlogkv_replica.errors import PeerRefused
from sharedlogkv_replica.server.peer_server import PeerServer


class Peering:
    """What one replica has to do with the others, apart from its own work.

    Attributes:
        dialer: makes the links to leaders.
        asking: counts what goes over those.
        answering: counts what goes over the peer port.
    """

    def __init__(
        self, name: str, secret_file: Path, *, log_id: Callable[[], str | None], report: Callable[[], Report]
    ) -> None:
        """Connects to nobody.

        Args:
            name: the replica's.
            secret_file: holds the secret that all replicas share.
            log_id: gives the id of the log that is followed; None while there is none.
            report: what to tell a leader once a second.
        """
        self._identifier = Identifier(name, log_id, secret_file)
        self.asking, self.answering = PeerCounters(), PeerCounters()
        self.dialer = PeerDialer(self._identifier, report, counters=self.asking)

    def build_server(self, service: PeerService, *, value_limit_bytes: int) -> PeerServer:
        """The peer port, which does not listen yet."""
        return PeerServer(
            service,
            identify=self._identifier,
            frame_limit_bytes=frame_limit_bytes(value_limit_bytes),
            limits=PeerLimits(),
            counters=self.answering,
        )

    def read_secret(self) -> bytes | None:
        """The secret as it is now; None where there is none, or no log is followed yet."""
        try:
            return self._identifier().secret
        except PeerRefused:
            return None
