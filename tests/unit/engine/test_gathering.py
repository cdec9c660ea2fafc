"""How long a batch waits for more writes, in virtual time."""

import asyncio
from collections.abc import Coroutine

import pytest

from sharedlogkv_replica.engine.gathering import Gathering
from tests.support import virtual_time

MOMENT = 0.001


def run(main: Coroutine[None, None, None]) -> None:
    virtual_time.run(main)


def gathering() -> tuple[Gathering, asyncio.Event]:
    wake = asyncio.Event()
    return Gathering(wake), wake


async def waited_seconds(gathered: Gathering, wake: asyncio.Event) -> float:
    """Wait for more, and return for how long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with gathered:
        await wake.wait()
    return loop.time() - began


@pytest.mark.parametrize(
    ("writes", "queued", "then", "lacks"),
    [
        (32, 32, 32, True),
        (32, 32, 59, True),
        (32, 32, 60, False),  # some client may have gone meanwhile
        (2, 0, 1, False),
        (500, 500, 480, False),  # no more than fit into one batch
        (500, 10, 477, True),
    ],
)
def test_about_as_many_are_expected_as_were_answered_or_waited(
    writes: int, queued: int, then: int, lacks: bool
) -> None:
    gathered, _ = gathering()
    gathered.note_batch(writes, queued=queued, seconds=0)
    assert gathered.lacks(then) == lacks


def test_a_lone_client_never_waits() -> None:
    gathered, _ = gathering()
    assert not gathered.lacks(1)
    gathered.note_batch(1, queued=0, seconds=0)
    assert not gathered.lacks(1)
    gathered.note_batch(1, queued=30, seconds=0)  # those are there already, and the one alone is not worth it
    assert not gathered.lacks(30)


def test_the_wait_ends_when_those_expected_have_come() -> None:
    async def main() -> None:
        gathered, wake = gathering()
        gathered.note_batch(8, queued=0, seconds=MOMENT)
        waiting = asyncio.create_task(waited_seconds(gathered, wake))
        await asyncio.sleep(MOMENT / 2)
        gathered.note_arrival(6)
        await asyncio.sleep(0)
        assert not wake.is_set()
        gathered.note_arrival(7)
        assert await waiting == pytest.approx(MOMENT / 2)

    run(main())


@pytest.mark.parametrize(
    ("writes", "took", "waits"),
    [(64, 0.0001, 1), (64, 0.003, 1), (200, 5.0, 3), (500, 0.005, 5), (500, 5.0, 8)],
    ids=["few, quick", "few", "some, slow", "a crowd", "a crowd, slow"],
)
def test_clients_that_do_not_come_cost_a_moment_and_no_more_than_the_last_batch_and_are_expected_no_more(
    writes: int, took: float, waits: int
) -> None:
    async def main() -> None:
        gathered, wake = gathering()
        gathered.note_batch(writes, queued=0, seconds=took)
        assert await waited_seconds(gathered, wake) == pytest.approx(waits * MOMENT)
        assert not gathered.lacks(1)

    run(main())


def test_other_work_ends_the_wait() -> None:
    async def main() -> None:
        gathered, wake = gathering()
        gathered.note_batch(8, queued=0, seconds=MOMENT)
        asyncio.get_running_loop().call_later(MOMENT / 4, wake.set)
        assert await waited_seconds(gathered, wake) == pytest.approx(MOMENT / 4)

    run(main())
