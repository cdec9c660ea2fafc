"""Who is told that its deadline has come, and when; in virtual time."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass

import pytest
import uvloop

from sharedlogkv_replica.engine.deadlines import Deadlines
from tests.support import virtual_time


@dataclass(eq=False)
class Item:
    """One thing with a deadline, in seconds from the beginning of a test."""

    after: float

    @property
    def deadline(self) -> float:
        return self.after


def run(main: Coroutine[None, None, None]) -> None:
    virtual_time.run(main)


def open_at(*seconds: float) -> tuple[Deadlines[Item], list[Item], list[tuple[float, float]]]:
    """Items with these deadlines, from now; and who was told when."""
    loop = asyncio.get_running_loop()
    told = list[tuple[float, float]]()
    began = loop.time()
    items = [Item(began + after) for after in seconds]
    deadlines = Deadlines[Item](lambda item: told.append((item.deadline - began, loop.time() - began)))
    for item in items:
        deadlines.add(item)
    return deadlines, items, told


@pytest.mark.parametrize("seconds", [(1.0, 2.0, 3.0), (3.0, 1.0, 2.0), (2.0, 3.0, 1.0)], ids=repr)
def test_each_is_told_at_its_deadline_in_whatever_order_they_came(seconds: tuple[float, ...]) -> None:
    async def main() -> None:
        deadlines, _, told = open_at(*seconds)
        await asyncio.sleep(4)
        assert [due for due, _ in told] == [1.0, 2.0, 3.0]
        assert [at for _, at in told] == pytest.approx([1.0, 2.0, 3.0])
        assert len(deadlines) == 0

    run(main())


def test_what_has_ended_is_not_told_also_where_somebody_who_is_told_ends_it() -> None:
    async def main() -> None:
        told = list[Item]()

        def end_both(item: Item) -> None:
            told.append(item)
            deadlines.discard(twin)

        deadlines = Deadlines[Item](end_both)
        now = asyncio.get_running_loop().time()
        first, twin, gone, last = (Item(now + after) for after in (1.0, 1.0, 2.0, 3.0))
        for item in (first, twin, gone, last):
            deadlines.add(item)
        deadlines.discard(gone)
        await asyncio.sleep(4)
        assert told == [first, last]
        assert first not in deadlines

    run(main())


def test_once_stopped_it_tells_nobody_until_something_is_added() -> None:
    async def main() -> None:
        deadlines, items, told = open_at(1.0, 2.0)
        deadlines.stop()
        await asyncio.sleep(3)
        assert told == []
        assert list(deadlines) == items
        deadlines.add(Item(asyncio.get_running_loop().time()))
        await asyncio.sleep(0.1)
        assert len(told) == 3

    run(main())


def test_a_deadline_that_is_past_already_is_told_soon_on_the_loop_that_replicas_run_on_and_later_ones_in_time() -> None:
    """A process that was stopped finds deadlines past; and uvloop gives another kind of handle for these."""

    async def main() -> None:
        _, _, told = open_at(-1.0, -2.0, 0.02)
        assert told == []
        await asyncio.sleep(0.1)
        assert [due for due, _ in told] == pytest.approx([-2.0, -1.0, 0.02])

    uvloop.run(main())
