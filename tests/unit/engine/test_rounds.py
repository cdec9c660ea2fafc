"""Reads that ask the same question together."""

import asyncio

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.engine.rounds import Rounds
from sharedlogkv_replica.engine.waiters import Waiters
from sharedlogkv_replica.errors import LogUnavailable, WaitTimeout
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio


class Oracle:
    """Answers when told to.

    Attributes:
        asked: the questions so far, as the futures of their answers.
    """

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Offset]] = []

    async def ask(self) -> Offset:
        """One question."""
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]


async def test_reads_that_come_together_share_one_question_and_wait_for_its_answer() -> None:
    oracle, waiters = Oracle(), Waiters()
    rounds = Rounds(oracle.ask, waiters)
    reads = [rounds.join(None, timeout_seconds=60) for _ in range(1000)]
    await eventually(lambda: len(oracle.asked) == 1)
    oracle.asked[0].set_result(Offset(7))
    await eventually(lambda: waiters.heap_size == 1000)
    assert not any(read.done() for read in reads)
    waiters.release(Position(8))
    await asyncio.gather(*reads)
    assert len(oracle.asked) == 1


async def test_a_read_that_comes_after_the_question_left_shares_the_next_one() -> None:
    oracle, waiters = Oracle(), Waiters()
    rounds = Rounds(oracle.ask, waiters)
    waiters.release(Position(100))
    early = rounds.join(None, timeout_seconds=60)
    await eventually(lambda: len(oracle.asked) == 1)
    late = [rounds.join(None, timeout_seconds=60) for _ in range(2)]
    oracle.asked[0].set_result(Offset(7))
    await early
    await eventually(lambda: len(oracle.asked) == 2)
    assert not any(read.done() for read in late)
    oracle.asked[1].set_result(Offset(9))
    await asyncio.gather(*late)


async def test_each_read_waits_for_its_own_token_too() -> None:
    oracle, waiters = Oracle(), Waiters()
    rounds = Rounds(oracle.ask, waiters)
    waiters.release(Position(8))
    low, high = rounds.join(Offset(3), timeout_seconds=60), rounds.join(Offset(8), timeout_seconds=60)
    await eventually(lambda: len(oracle.asked) == 1)
    oracle.asked[0].set_result(Offset(7))
    await low
    assert not high.done()
    waiters.release(Position(9))
    await high


@pytest.mark.parametrize("error", [LogUnavailable("out of reach"), ZeroDivisionError("a bug")])
async def test_a_question_without_an_answer_ends_the_reads_that_asked_and_no_others(error: Exception) -> None:
    oracle, waiters = Oracle(), Waiters()
    rounds = Rounds(oracle.ask, waiters)
    reads = [rounds.join(None, timeout_seconds=60) for _ in range(3)]
    await eventually(lambda: len(oracle.asked) == 1)
    later = rounds.join(None, timeout_seconds=60)
    oracle.asked[0].set_exception(error)
    for read in reads:
        with pytest.raises(type(error), match=str(error)):
            await read
    await eventually(lambda: len(oracle.asked) == 2)
    oracle.asked[1].set_result(Offset(-1))
    await later


async def test_a_read_does_not_wait_for_the_answer_beyond_its_deadline() -> None:
    oracle, waiters = Oracle(), Waiters()
    rounds = Rounds(oracle.ask, waiters)
    with pytest.raises(WaitTimeout):
        await rounds.join(None, timeout_seconds=0.01)
    oracle.asked[0].set_result(Offset(7))
    await eventually(lambda: len(waiters) == 0)
    assert waiters.heap_size == 0
