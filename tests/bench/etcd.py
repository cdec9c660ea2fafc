"""etcd as the peer of writes: one member, as it is shipped, which means with an fsync before it acknowledges."""

import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.programs import Program, free_port, require_program


class Etcd(Program):
    """One member with its data in a folder.

    Args:
        folder: For the data and the output.
        options: Further options of the command line.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        client, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        addresses = [
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]
        # The history of the bench's own puts would trip the quota's alarm, which has nothing to do with its speed.
        quota = f"--quota-backend-bytes={8 << 30}"
        data = f"--data-dir={folder / 'etcd'}"
        command = [require_program("etcd"), data, *addresses, quota, "--log-level=warn", *options]
        super().__init__("etcd", command, log=folder / "etcd.log")

    def await_ready(self) -> float:
        """Returns the seconds until it took requests, from now."""
        begin = time.monotonic()
        self.await_port(self.port)
        return time.monotonic() - begin

    @property
    def url(self) -> str:
        """As the load generator names it."""
        return f"etcd://127.0.0.1:{self.port}"
