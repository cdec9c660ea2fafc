"""Waiting for a state of a real system, with a deadline: tests never sleep for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlinePassed(AssertionError):
    """A state was not reached in time."""


def wait_until(probe: Callable[[], T | None], *, what: str, timeout_seconds: float, every_seconds: float = 0.1) -> T:
    """Call `probe` until what it returns is true, and return that.

    An assertion that fails inside the probe, and a refused or broken connection, mean "not yet".

    Raises:
        DeadlinePassed: It was not within `timeout_seconds`; the message says what was seen last.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        last: object
        try:
            if result := probe():
                return result
            last = result
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            raise DeadlinePassed(f"not within {timeout_seconds} s: {what}; last seen: {last!r}")
        time.sleep(every_seconds)
