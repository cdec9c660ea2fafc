"""What a write's caller holds until its outcome is known: a future for one listener, without the loop's costs.

An `asyncio.Future` costs the loop one callback for each listener, with a context of its own; to a leader, which ends
hundreds of writes at once, two futures a write were a third of its work. Here all that ended in one turn of the loop is
told by one callback in the next (`Turn`). Else a promise keeps to what a future does, and can be awaited like one.
And a promise may be passed on as it is, where a second one would only repeat the first: `recover` lets whoever passes
it on have the errors, and every other end goes straight to its listener.

Invariants:
    1. A promise ends once: with a result, an error, or cancelled by whoever waited for it.
    2. Its listener is called once, in a later turn than it ended and was listened to, and in the order in which they
       ended. So whoever ends one is never called back in the middle of its work.
    3. Whoever ends one with an error has no more business with it: it may go on in other hands (`recover`).
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Turn:
    """Tells the listeners of all promises that ended in one turn of the loop, in the next."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: list[Promise[Any]] = []

    def note(self, promise: "Promise[Any]") -> None:
        """Has the listener of `promise` called, which has ended."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._tell)
        self._ended.append(promise)

    def _tell(self) -> None:
        """Calls every listener; those of promises that end meanwhile as well."""
        ended = self._ended
        try:
            for promise in ended:  # a list that grows is gone through to its new end
                promise.tell()
        finally:
            ended.clear()


class Promise(Generic[T]):
    """The outcome of one piece of work, known later; for use on one event loop.

    Args:
        turn: by which its listener is called.

    Attributes:
        value: its result, for whom it makes no difference why there is none; None without one.
    """

    __slots__ = ("_ended", "_error", "_listener", "_recover", "_turn", "value")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._ended = False
        self.value: T | None = None
        self._error: BaseException | None = None
        self._listener: Callable[[Promise[T]], object] | None = None
        self._recover: Callable[[Promise[T], BaseException], object] | None = None

    def done(self) -> bool:
        """Whether it has ended."""
        return self._ended

    def cancelled(self) -> bool:
        """Whether its caller gave it up."""
        return isinstance(self._error, asyncio.CancelledError)

    def result(self) -> T:
        """The result, once it has ended.

        Raises:
            BaseException: what it ended with instead.
        """
        assert self._ended, "it has not ended yet"
        if self._error is not None:
            raise self._error
        return cast("T", self.value)

    def exception(self) -> BaseException | None:
        """What it ended with instead of a result; None where there is one."""
        assert self._ended, "it has not ended yet"
        if isinstance(self._error, asyncio.CancelledError):
            raise self._error
        return self._error

    def set_result(self, result: T) -> None:
        """Ends it."""
        assert not self._ended, "a promise ends once"
        self._ended, self.value = True, result
        if self._listener is not None:
            self._turn.note(self)

    def set_exception(self, error: BaseException) -> None:
        """Ends it with an error; or has somebody told who recovers from that, and ends it later."""
        assert not self._ended, "a promise ends once"
        if self._recover is not None and not isinstance(error, asyncio.CancelledError):
            recover, self._recover = self._recover, None
            asyncio.get_running_loop().call_soon(recover, self, error)
            return
        self._ended, self._error = True, error
        if self._listener is not None:
            self._turn.note(self)

    def cancel(self) -> bool:
        """Gives it up, unless it has ended; returns whether it had not."""
        if self._ended:
            return False
        self.set_exception(asyncio.CancelledError())
        return True

    def recover(self, take_over: "Callable[[Promise[T], BaseException], object]") -> None:
        """Has `take_over` called with this promise and the first error that it is given, in a later turn.

        It has not ended then, unless it was given up meanwhile, and `take_over` is to see to its end.
        """
        assert not self._ended, "it is too late"
        self._recover = take_over

    def add_done_callback(self, listener: "Callable[[Promise[T]], object]") -> None:
        """Has `listener` called with this promise once it has ended; there may be one."""
        assert self._listener is None, "somebody listens already"
        self._listener = listener
        if self._ended:
            self._turn.note(self)

    def tell(self) -> None:
        """Calls the listener; for `Turn`. A bug of one listener must not cost the others their turn."""
        listener = self._listener
        assert listener is not None
        try:
            listener(self)
        except Exception as error:  # noqa: BLE001 # the loop reports it, as it does for its own callbacks
            context = {"message": "a promise's listener failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def __await__(self) -> Generator[Any, None, T]:
        """The result; whoever is cancelled while it waits gives the promise up."""
        if not self._ended:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.add_done_callback(lambda _: None if told.done() else told.set_result(None))
            try:
                yield from told
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()
