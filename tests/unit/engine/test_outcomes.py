"""What the log tells a leader of its batches whose acknowledgement is missing."""

import asyncio

import pytest

from sharedlogkv_replica.core.batch_plan import Appended, Settled, SettledByBatch, Verdict
from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Retired, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import ConditionFailed, RequestMismatch, Write, WriteResult, Written
from sharedlogkv_replica.engine.outcomes import AnswerCounters, Outcomes, SentBatch
from sharedlogkv_replica.engine.promise import Promise, Turn
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


@pytest.mark.asyncio
async def test_what_the_log_has_told_of_a_batch_is_not_told_again_since_its_writes_may_be_on_their_way_to_another() -> (
    None
):
    loop = asyncio.get_running_loop()
    outcomes, promise = Outcomes(timeout_seconds=5.0), Promise[WriteResult](Turn())
    taken_over: list[str] = []
    promise.recover(lambda _, error: taken_over.append(str(error)))  # as the forwarder does
    pending = Pending(Write(b"k", b"1"), promise, size=10, deadline=loop.time() + 5.0)
    batch = SentBatch(Term(10), 1, OURS, [(pending, Appended(0))])
    outcomes.await_outcome(batch)
    outcomes.observe(Offset(20), claim_of(OURS))
    await asyncio.sleep(0)
    assert len(taken_over) == 1
    outcomes.fail(batch, NoLeader("the broker says so, too"))
    outcomes.settle(batch, Offset(30))
    assert not promise.done()
    outcomes.lose("the test is over")


@pytest.mark.asyncio
async def test_each_write_of_a_batch_has_its_own_answer_and_is_counted_by_what_became_of_it() -> None:
    loop, outcomes = asyncio.get_running_loop(), Outcomes(timeout_seconds=5.0)
    verdicts: dict[Verdict, WriteResult] = {
        Appended(0): Written(Offset(21)),
        Appended(1): Written(Offset(22)),
        SettledByBatch(1, is_repetition=True, records=2): Written(Offset(22), repeated=True),
        SettledByBatch(0, is_repetition=False, records=2): ConditionFailed(Offset(21), Offset(22)),
        Settled(RequestMismatch(), is_read=False): RequestMismatch(),
        Appended(2): Written(Offset(23)),
    }
    answers: list[asyncio.Future[WriteResult]] = [loop.create_future() for _ in verdicts]
    answers[-1].cancel()
    pending = [Pending(Write(b"k", b"1"), answer, size=10, deadline=loop.time() + 5.0) for answer in answers]
    batch = SentBatch(Term(10), 1, OURS, list(zip(pending, verdicts, strict=True)))
    outcomes.await_outcome(batch)
    outcomes.settle(batch, Offset(20))
    assert [answer.result() for answer in answers[:-1]] == list(verdicts.values())[:-1]
    assert outcomes.counters == AnswerCounters(written=2, repeated=1, condition_failures=1, mismatches=1)
    outcomes.lose("the test is over")
