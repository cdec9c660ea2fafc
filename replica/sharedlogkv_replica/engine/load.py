"""What the replica's work costs: the counters by which the operator scales.

CPU time is read from the clock of the event loop's thread around every batch, never for a request: what the thread
spent otherwise, it spent on serving. What other threads spent, they spent on fetching and decoding records.
"""

import time
from collections.abc import Callable

from sharedlogkv_replica.core.records import Batch
from sharedlogkv_replica.engine.cpu_limit import read_cpu_limit


class LoadMeter:
    """Counters of work; for use on the event loop's thread.

    Attributes:
        applied_bytes: keys and values of the records applied, estimated from one record of each batch.
        count_served: requests carried out so far; set by whoever serves.
        count_shed: reads turned away so far.
    """

    def __init__(self) -> None:
        self.applied_bytes = 0
        self.count_served: Callable[[], int] = lambda: 0
        self.count_shed: Callable[[], int] = lambda: 0
        self._started = time.monotonic()
        self._apply_seconds = 0.0
        self._waited_seconds = 0.0
        self._waiting_since: float | None = None
        self._began = 0.0

    def wait_for_batch(self) -> None:
        """Notes that the next batch is waited for from now on."""
        self._waiting_since = time.monotonic()

    def end_wait(self) -> None:
        """Notes that the batch is there."""
        self._waited_seconds = self.fetch_wait_seconds
        self._waiting_since = None

    def begin_batch(self) -> None:
        """Notes that a batch is applied from now on."""
        self._began = time.thread_time()

    def end_batch(self, batch: Batch) -> None:
        """Notes that the batch is applied."""
        self._apply_seconds += time.thread_time() - self._began
        if batch.records:
            _, key, value = batch.records[-1]
            self.applied_bytes += len(batch.records) * (len(key or b"") + len(value or b""))

    @property
    def fetch_wait_seconds(self) -> float:
        """The time in which no record was at hand, that under way included."""
        waiting = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        return self._waited_seconds + waiting

    @property
    def apply_cpu_seconds(self) -> float:
        """CPU spent on records: fetched, decoded and applied."""
        return self._apply_seconds + max(0.0, time.process_time() - time.thread_time())

    @property
    def serve_cpu_seconds(self) -> float:
        """CPU spent on everything else, which is mostly requests."""
        return max(0.0, time.thread_time() - self._apply_seconds)

    @property
    def uptime_seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._started

    def status(self, *, applied_records: int) -> dict[str, object]:
        """The part `load` of the `/status` document; `applied_records` are all since the start."""
        return {
            "uptimeSeconds": self.uptime_seconds,
            "cpuLimit": read_cpu_limit(),
            "applyCpuSeconds": self.apply_cpu_seconds,
            "appliedRecords": applied_records,
            "appliedBytes": self.applied_bytes,
            "fetchWaitSeconds": self.fetch_wait_seconds,
            "serveCpuSeconds": self.serve_cpu_seconds,
            "servedRequests": self.count_served(),
            "shedRequests": self.count_shed(),
        }
