"""Clients that read a store over and over, through its Service, until they are told to stop.

A new connection every few requests may reach another replica, as most clients' connections do in the end. An answer
that a sane client retries is retried, and counted; anything else is a failure.
"""

import http.client
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.support.client_threads import ClientThreads
from tests.support.replica_http import ReplicaClient, Reply

READS_PER_CONNECTION = 5


class Readers(ClientThreads):
    """Readers of one path, running while the context lasts.

    Attributes:
        rest: For how many seconds each rests between two reads; may be changed at any time.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[ReplicaClient]],
        path: str,
        *,
        clients: int,
        rest: float = 0.0,
    ) -> None:
        """Reads `path` by `clients` clients.

        `connect` yields a client that has no connection yet.
        """
        super().__init__("reader", [self._run] * clients)
        self._connect = connect
        self._path = path
        self.rest = rest
        self.answered = 0
        self.retried: Counter[str] = Counter()
        self.failures: list[object] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._connect() as client:
                for number in range(READS_PER_CONNECTION):
                    if self._stop.wait(self.rest):
                        return
                    try:
                        self._judge(client.request("GET", self._path))
                    except (OSError, http.client.HTTPException) as error:
                        # A server may close a connection between two requests; one that was just made must be served.
                        (self.failures.append(error) if number == 0 else self.retried.update(["closed"]))
                        break

    def _judge(self, reply: Reply) -> None:
        if reply.status == 200:
            self.answered += 1
        elif reply.status in (503, 504) and "retry-after" in reply.headers:
            self.retried.update([str(reply.status)])
        else:
            self.failures.append(reply)
