"""Waiting for a state, with a deadline: tests never sleep for a guess."""

import asyncio
import time
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, timeout_seconds: float = 10.0, what: str = "") -> None:
    """Returns once `condition()` is true.

    Raises:
        AssertionError: it was not within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what or condition}"
        await asyncio.sleep(0.005)
