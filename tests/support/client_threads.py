"""Clients in threads of their own, which run while a context lasts."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self


class ClientThreads:
    """Starts its clients with the context, and at its end tells them to stop and waits for them."""

    def __init__(self, name: str, clients: Sequence[Callable[[], None]]) -> None:
        """Each of `clients` runs until `_stop` is set, in a thread that bears the name and a number."""
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=client, name=f"{name}-{number}") for number, client in enumerate(clients)
        ]

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self._threads)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
