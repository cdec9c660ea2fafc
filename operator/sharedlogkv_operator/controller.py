"""Runs reconciles: workers that take keys from the work queue, and what becomes of each pass.

A key is `namespace/name`. Whatever a pass ends with, its key comes back: after the usual interval when all is well,
after a growing back-off when it failed. So nothing is forgotten, and one resource's trouble is its own.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from sharedlogkv_operator.errors import OperatorError
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.reconcile import Reconciler, Result
from sharedlogkv_operator.status import Condition
from sharedlogkv_operator.workqueue import Backoff, QueueStopped, WorkQueue

BACKOFF: Final = Backoff(base_seconds=0.5, limit_seconds=30.0)
PASS_SECONDS: Final = 60.0
"""The longest a pass may take; every call in it has a shorter deadline of its own."""

STUCK_SECONDS: Final = 120.0
"""A pass that runs, or a key that waits, for so long means that the operator is stuck."""

STOP_SECONDS: Final = 8.0
RESYNC_JITTER: Final = 0.2


class Controller:
    """Workers on a queue."""

    def __init__(
        self,
        reconciler: Reconciler,
        *,
        metrics: Metrics,
        workers: int,
        resync_seconds: float,
        chance: Callable[[], float],
    ) -> None:
        """Must be made in the event loop.

        Args:
            reconciler: makes the passes.
            metrics: where passes are counted.
            workers: how many passes may be under way.
            resync_seconds: how long until a settled resource is looked at again, give or take.
            chance: draws a number from 0 to 1.
        """
        self.queue = WorkQueue(
            backoff=BACKOFF, chance=chance, on_add=metrics.queue_adds.inc, on_retry=metrics.queue_retries.inc
        )
        self._reconciler = reconciler
        self._metrics = metrics
        self._workers = workers
        self._resync_seconds = resync_seconds
        self._chance = chance
        self._conditions: dict[str, tuple[Condition, ...]] = {}
        self._clock = asyncio.get_running_loop().time
        self._ticked_at = self._clock()

    async def run(self) -> None:
        """Works until `stop`. A worker never fails; should one all the same, by a bug, the others end too.

        Raises:
            ExceptionGroup: a worker met a bug outside its passes.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    def stop(self) -> None:
        """Lets passes under way end, and begins no other; `run` then returns."""
        self.queue.stop()

    def find_stall(self) -> str | None:
        """What shows that the operator is stuck; None when nothing does."""
        if self.queue.longest_run_seconds > STUCK_SECONDS:
            return f"a reconcile has run for {self.queue.longest_run_seconds:.0f} s"
        if self.queue.oldest_wait_seconds > STUCK_SECONDS:
            return f"a resource has waited for {self.queue.oldest_wait_seconds:.0f} s"
        # Every resource comes back, so that where there is one, passes end again and again.
        silence = self._clock() - self._ticked_at
        if self._conditions and silence > max(STUCK_SECONDS, 2 * self._resync_seconds):
            return f"no reconcile has ended for {silence:.0f} s"
        return None

    def show_metrics(self) -> None:
        """Brings the metrics that are states up to date."""
        self._metrics.show_queue(self.queue)
        self._metrics.show_resources(self._conditions.values())

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueStopped:
                return
            started = time.monotonic()
            try:
                self._settle(key, await self._pass(key))
            finally:
                self._ticked_at = self._clock()
                self._metrics.reconcile_seconds.observe(time.monotonic() - started)
                self.queue.done(key)

    async def _pass(self, key: str) -> Result | None:
        """One pass; None if it failed."""
        namespace, _, name = key.partition("/")
        try:
            async with asyncio.timeout(PASS_SECONDS):
                return await self._reconciler.reconcile(namespace, name)
        except (OperatorError, TimeoutError) as error:
            log.warning("a reconcile failed", resource=key, error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 -- the supervising loop: a bug in one pass must not end the others
            log.exception("a reconcile met a bug", error, resource=key)
            await self._report_bug(key, error)
        return None

    async def _report_bug(self, key: str, error: Exception) -> None:
        namespace, _, name = key.partition("/")
        try:
            async with asyncio.timeout(PASS_SECONDS):
                await self._reconciler.report_bug(namespace, name, error)
        except (OperatorError, TimeoutError) as second:
            log.warning("the bug is not shown in the status", resource=key, error=str(second))
        except Exception as second:  # noqa: BLE001 -- as above: what trips a pass may well trip its report
            log.exception("the bug is not shown in the status", second, resource=key)

    def _settle(self, key: str, result: Result | None) -> None:
        """Says when the key comes back."""
        if result is None:
            self._metrics.reconciles.labels("error").inc()
            self._metrics.reconcile_errors.inc()
            self.queue.add_backed_off(key)
            return
        if result.conditions is None:
            self._metrics.reconciles.labels("success").inc()
            self._conditions.pop(key, None)
            self.queue.forget(key)
            return
        self._conditions[key] = result.conditions
        if result.backs_off:
            self._metrics.reconciles.labels("requeue").inc()
            self.queue.add_backed_off(key)
            return
        self._metrics.reconciles.labels("success" if result.after_seconds is None else "requeue").inc()
        if result.was_tried:
            self.queue.forget(key)
        seconds = self._resync_seconds if result.after_seconds is None else result.after_seconds
        # Spread, so that resources which were settled together are not looked at together for ever.
        self.queue.add_after(key, seconds * (1 + RESYNC_JITTER * (2 * self._chance() - 1)))
