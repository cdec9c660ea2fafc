"""Work that goes on while a test does something to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def in_background(*jobs: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs the jobs meanwhile, and fails when one of them does."""
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, asyncio.CancelledError), f"it ended by itself: {outcome!r}"
