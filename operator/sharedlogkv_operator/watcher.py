"""Runs kopf in a thread and an event loop of its own.

kopf ends every task of its loop that was begun after it, and takes over the process's signals where it runs in the main
thread. In a loop of its own it can do neither to our reconciles, and neither side can hold up the other.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import kopf

from sharedlogkv_operator.errors import OperatorError
from sharedlogkv_operator.handlers import Enqueue, Login, build_registry, build_settings

STOP_SECONDS: Final = 10.0


class WatchEnded(OperatorError):
    """kopf ended by itself: events would be missed from here on."""


class Watcher:
    """Watches resources and Deployments, and has their keys enqueued in the loop that it was made in."""

    def __init__(self, enqueue: Enqueue, login: Login, *, namespaces: Sequence[str]) -> None:
        """Must be made in the event loop of the queue.

        Args:
            enqueue: takes the key of a resource that something happened to; called in that loop.
            login: says how to log in to Kubernetes; called in the watcher's thread.
            namespaces: where to watch; empty for the whole cluster.
        """
        self._loop = asyncio.get_running_loop()
        self._enqueue = enqueue
        self._login = login
        self._namespaces = tuple(namespaces)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._stop: Callable[[], None] | None = None
        self._is_stopping = False
        self.is_ready = False

    def start(self) -> None:
        """Begins to watch."""
        # It warns that signals are not its own here, which is as we want it.
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
        self._thread.start()

    async def wait(self) -> None:
        """Returns when the watcher was stopped.

        Raises:
            WatchEnded: it ended by itself.
        """
        await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Stops watching; returns when the thread has ended, or after a while."""
        self._is_stopping = True
        if self._stop is not None:
            self._stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch())
        except Exception as caught:  # noqa: BLE001 -- the thread's outermost loop: whatever it was, the operator must end
            error = caught
        _call_threadsafe(self._loop, self._end, error)

    async def _watch(self) -> None:
        loop, stop, ready = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._stop = lambda: _call_threadsafe(loop, stop.set)
        if self._is_stopping:
            return
        task = asyncio.create_task(self._tell_ready(ready))
        try:
            await kopf.operator(
                registry=build_registry(self._enqueue_threadsafe, self._login),
                settings=build_settings(),
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=stop,
                ready_flag=ready,
            )
        finally:
            task.cancel()

    async def _tell_ready(self, ready: asyncio.Event) -> None:
        await ready.wait()
        self.is_ready = True

    def _enqueue_threadsafe(self, key: str) -> None:
        _call_threadsafe(self._loop, self._enqueue, key)

    def _end(self, error: BaseException | None) -> None:
        if self._is_stopping:
            self._ended.set_result(None)
        else:
            failure = WatchEnded(f"watching the API server ended: {error or 'without an error'}")
            failure.__cause__ = error
            self._ended.set_exception(failure)


def _call_threadsafe(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """Calls in that loop; if it has ended, nobody is there any more to care."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)
