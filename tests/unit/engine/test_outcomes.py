"""What the log tells a leader of its batches whose acknowledgement is missing."""

import asyncio

import pytest

from sharedlogkv_replica.core.batch_plan import Settled
from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Retired, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Write, WriteResult, Written
from sharedlogkv_replica.engine.outcomes import Outcomes, SentBatch
from sharedlogkv_replica.engine.write_queue import Pending
from sharedlogkv_replica.errors import NoLeader

OURS, OTHERS = 7, 8


class Open:
    """One batch of term 10 that is on its way, with one write."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.outcomes = Outcomes(timeout_seconds=5.0)
        self.answer: asyncio.Future[WriteResult] = loop.create_future()
        pending = Pending(Write(b"k", b"1"), self.answer, size=10, deadline=loop.time() + 5.0)
        batch = SentBatch(Term(10), 1, OURS, [(pending, Settled(Written(Offset(12)), is_read=False))])
        self.outcomes.await_outcome(batch)

    def observe(self, offset: int, record: LeadershipRecord) -> None:
        self.outcomes.observe(Offset(offset), record)

    def close(self) -> None:
        self.outcomes.lose("the test is over")


def claim_of(producer_id: int) -> Claim:
    return Claim(Writer(producer_id, 3), "other", "", 3000)


@pytest.mark.asyncio
async def test_its_stamp_says_that_a_batch_was_written() -> None:
    made = Open()
    made.observe(11, Stamp(Term(10), 1, 1))
    assert await made.answer == Written(Offset(12))
    made.close()


@pytest.mark.parametrize("record", [claim_of(OURS), Retired(OURS)])
@pytest.mark.asyncio
async def test_what_shuts_our_writer_out_says_that_a_batch_never_will_be_written(record: LeadershipRecord) -> None:
    made = Open()
    made.observe(20, record)
    with pytest.raises(NoLeader, match="nothing was written"):
        await made.answer
    made.close()


@pytest.mark.asyncio
async def test_a_claim_that_may_not_have_shut_us_out_says_nothing_and_the_batch_may_yet_come() -> None:
    made = Open()
    made.observe(20, claim_of(OTHERS))
    made.observe(21, Retired(OTHERS))
    assert not made.answer.done()
    made.observe(22, Stamp(Term(10), 1, 1))
    assert await made.answer == Written(Offset(12))
    made.close()
