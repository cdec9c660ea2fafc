"""A replica as one starts it by hand, under measurement."""

import time
from collections.abc import Sequence
from typing import Any

from tests.bench.programs import Program, free_port
from tests.bench.site import Site
from tests.support.replica_http import ReplicaClient
from tests.support.waiting import wait_until

_READY_SECONDS = 120.0


class Replica(Program):
    """One replica, from its start; `await_ready` tells when it serves.

    Args:
        site: Where it runs.
        topic: What it follows.
        name: Its name.
        core: The processor that it must stay on; None for any.
        options: Further options of the command line.
    """

    def __init__(
        self,
        site: Site,
        topic: str,
        *,
        name: str = "replica",
        core: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self._admin_port = free_port()
        command = [*site.program, "--log", site.log_url(topic), "--host", "127.0.0.1", "--name", name]
        ports = ["--http-port", str(self.port), "--admin-port", str(self._admin_port)]
        quick = ["--drain-seconds", "0", "--stop-seconds", "5"]
        super().__init__(name, [*command, *ports, *quick, *options], log=site.folder / f"{name}.log", core=core)

    @property
    def url(self) -> str:
        """Of the data port."""
        return f"http://127.0.0.1:{self.port}"

    def admin(self) -> ReplicaClient:
        """A client of the admin port."""
        return ReplicaClient("127.0.0.1", self._admin_port)

    def await_ready(self) -> float:
        """Returns the seconds until it was Ready, from now; to within 10 ms.

        Raises:
            BenchError: The program ended.
        """
        begin = time.monotonic()

        def ready() -> bool:
            self.require_alive()
            with self.admin() as client:
                return client.request("GET", "/readyz").status == 200

        wait_until(ready, what=f"{self.name} to be Ready", timeout_seconds=_READY_SECONDS, every_seconds=0.01)
        return time.monotonic() - begin

    def status(self) -> dict[str, Any]:
        """The `/status` document."""
        with self.admin() as client:
            document: dict[str, Any] = client.request("GET", "/status").json()
        return document
