"""Whether a leader's batch is on its way, and who waits for its end: `with` it, the batch is sent."""

from types import TracebackType

from sharedlogkv_replica.engine.promise import Promise, Turn


class Flight:
    """One batch after the other.

    Args:
        turn: by which those that wait are told.

    Attributes:
        is_on: a batch is on its way. Others may have its records in their maps, while nobody here knows.
    """

    def __init__(self, turn: Turn) -> None:
        self.is_on = False
        self._turn = turn
        self._waiting: list[Promise[None]] = []

    def __enter__(self) -> None:
        self.is_on = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_on = False
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)

    def settled(self) -> Promise[None]:
        """Ends when the batch that is on its way now has ended, one way or the other; at once where there is none."""
        settled: Promise[None] = Promise(self._turn)
        if self.is_on:
            self._waiting.append(settled)
        else:
            settled.set_result(None)
        return settled
