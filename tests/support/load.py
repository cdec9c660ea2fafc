"""Steady load on a store while something happens to it, by clients that retry as a sane one does, and no more.

Each client writes keys of its own and reads every write back with its token, and again without one, which may find
any that it wrote. It sends a request again when the connection broke, and after a 503 or 504 that asks for it or leaves
the outcome open, and counts why; anything else that goes wrong is a violation, and ends it.
"""

import http.client
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from tests.support.client_threads import ClientThreads
from tests.support.replica_http import ReplicaClient, Reply

RETRY_SECONDS = 0.2
GIVE_UP_SECONDS = 90.0
NOT_FOUND = 404
WRITES_PER_CONNECTION = 25  # a new connection may reach another replica

# Why a request was sent again, beside the statuses. A server may close a connection between two requests; one that was
# just made, and nothing came of it, was made to a server that was no longer there.
REUSED = "a used connection was closed"
FRESH = "a new connection failed"


class Violation(Exception):
    """Something that no client needs to put up with."""


@dataclass(slots=True)
class Record:
    """What one client saw.

    Attributes:
        acknowledged: The last acknowledged value of each of its keys.
        requests: How many requests were answered.
        retried: How many were sent again, by the reason.
        read_tries: How often the read was sent that was sent most often.
        violation: What ended it, if anything did.
    """

    acknowledged: dict[bytes, bytes] = field(default_factory=dict)
    requests: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    read_tries: int = 0
    violation: Exception | None = None


class Load(ClientThreads):
    """Several clients, running while the context lasts."""

    def __init__(self, connect: Callable[[], AbstractContextManager[ReplicaClient]], *, clients: int) -> None:
        """`connect` yields a client of the store that has no connection yet."""
        self._connect = connect
        self.records = [Record() for _ in range(clients)]
        super().__init__("load", [partial(self._run, number, record) for number, record in enumerate(self.records)])

    @property
    def requests(self) -> int:
        """How many requests were answered until now."""
        return sum(record.requests for record in self.records)

    @property
    def violations(self) -> list[Exception]:
        """What ended clients."""
        return [record.violation for record in self.records if record.violation]

    @property
    def retried(self) -> Counter[str]:
        """How many requests were sent again, by the reason."""
        return sum((record.retried for record in self.records), Counter())

    @property
    def read_tries(self) -> int:
        """How often the read was sent that was sent most often."""
        return max(record.read_tries for record in self.records)

    def _run(self, number: int, record: Record) -> None:
        count = 0
        try:
            while not self._stop.is_set():
                with self._connect() as client:
                    sender = _Sender(client, record)
                    for _ in range(WRITES_PER_CONNECTION):
                        key, value = b"load-%d-%d" % (number, count % 100), b"%d" % count
                        count += 1
                        token = sender.send("PUT", key, value=value).token
                        record.acknowledged[key] = value
                        read = sender.send("GET", key, token=token)
                        if read.body != value:
                            raise Violation(f"{key!r} was acknowledged as {value!r} and read back as {read}")
                        seen = sender.send("GET", key)
                        if seen.status != NOT_FOUND and int(seen.body) not in range(int(value) % 100, count, 100):
                            raise Violation(f"{key!r} was last {value!r}, and an eventual read found {seen}")
        except (Violation, OSError, AssertionError) as error:
            record.violation = error


class _Sender:
    """Sends requests on one client until they are answered with success."""

    def __init__(self, client: ReplicaClient, record: Record) -> None:
        self._client = client
        self._record = record
        self._is_fresh = True

    def send(self, method: str, key: bytes, *, value: bytes | None = None, token: str | None = None) -> Reply:
        deadline, tries = time.monotonic() + GIVE_UP_SECONDS, 0
        while True:
            tries += 1
            if method == "GET":
                self._record.read_tries = max(self._record.read_tries, tries)
            try:
                reply = self._client.send(method, key, value=value, token=token)
            except (OSError, http.client.HTTPException) as error:
                reason = FRESH if self._is_fresh else REUSED
                self._is_fresh = True
                last: object = error
            else:
                self._is_fresh = False
                if reply.status in (200, 204) or (reply.status == NOT_FOUND and method == "GET" and token is None):
                    self._record.requests += 1
                    return reply
                reason = str(reply.status)
                last = reply
                if not _may_be_sent_again(reply):
                    raise Violation(f"{method} {key!r}: {reply}")
            self._record.retried[reason] += 1
            if time.monotonic() > deadline:
                raise Violation(f"{method} {key!r}: not done after {GIVE_UP_SECONDS} s; last: {last!r}")
            if reason != REUSED:
                time.sleep(RETRY_SECONDS)


def _may_be_sent_again(reply: Reply) -> bool:
    """Whether the answer asks for it, or leaves open what became of a write that is the same when it is done twice."""
    if reply.status not in (503, 504):
        return False
    return "retry-after" in reply.headers or reply.json()["type"].endswith("/outcome-unknown")
