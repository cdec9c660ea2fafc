"""Property test: however often, and in whatever order, a leader hears of a batch, each of its writes is told once.

What became of a batch may be told by the append, by the log and by the clock, and some of them tell it again. A write
whose error was taken over (`Promise.recover`) is with the next leader by then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.batch_plan import Appended, SettledByBatch, Verdict
from sharedlogkv_replica.core.leadership import Claim, Retired, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import Write, WriteResult
from sharedlogkv_replica.engine.outcomes import Outcomes, SentBatch
from sharedlogkv_replica.engine.promise import Promise, Turn
from sharedlogkv_replica.engine.write_queue import Pending
from sharedlogkv_replica.errors import LogUnavailable, NoLeader
from tests.support import virtual_time

TERM, OURS = Term(10), 7
VERDICTS: tuple[Verdict, ...] = (Appended(0), SettledByBatch(0, is_repetition=True, records=1))

NEWS: dict[str, Callable[[Outcomes, SentBatch], object]] = {
    "acknowledged": lambda outcomes, batch: outcomes.settle(batch, Offset(30)),
    "fenced": lambda outcomes, batch: outcomes.fail(batch, NoLeader("fenced")),
    "refused": lambda outcomes, batch: outcomes.fail(batch, LogUnavailable("refused")),
    "its stamp": lambda outcomes, batch: outcomes.observe(Offset(20), Stamp(TERM, batch.number, 1)),
    "a claim": lambda outcomes, _: outcomes.observe(Offset(25), Claim(Writer(OURS, 2), "other", "", 3000)),
    "shut out": lambda outcomes, _: outcomes.observe(Offset(25), Retired(OURS)),
    "map lost": lambda outcomes, _: outcomes.lose("the map was lost"),
}


@dataclass(slots=True)
class Heard:
    """What one write was told."""

    ends: int = 0
    errors: list[BaseException] = field(default_factory=list)

    def note_end(self, _: object) -> None:
        self.ends += 1

    def take_over(self, _: object, error: BaseException) -> None:
        self.errors.append(error)


def sent(number: int, taken_over: list[bool], turn: Turn) -> tuple[SentBatch, list[Heard]]:
    """A batch of as many writes, and what each of them is told; of some, somebody takes over the error."""
    heard = [Heard() for _ in taken_over]
    batch = SentBatch(TERM, number, OURS)
    for index, (write, is_taken_over) in enumerate(zip(heard, taken_over, strict=True)):
        promise: Promise[WriteResult] = Promise(turn)
        promise.add_done_callback(write.note_end)
        if is_taken_over:
            promise.recover(write.take_over)
        deadline = 2.0 * number + index
        batch.riders.append((Pending(Write(b"k", b"v"), promise, deadline, 10), VERDICTS[index % len(VERDICTS)]))
    return batch, heard


@given(
    batches=st.lists(st.lists(st.booleans(), max_size=3), min_size=1, max_size=3),
    news=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(sorted(NEWS)), st.none() | st.floats(0, 3)), max_size=8),
)
def test_each_write_is_told_once_whatever_is_heard_of_its_batch(
    batches: list[list[bool]], news: list[tuple[int, str, float | None]]
) -> None:
    async def main() -> None:
        outcomes, turn = Outcomes(timeout_seconds=2.0), Turn()
        under_way = [sent(number, taken_over, turn) for number, taken_over in enumerate(batches, 1)]
        for batch, _ in under_way:
            outcomes.await_outcome(batch)
        for index, name, pause_seconds in news:
            NEWS[name](outcomes, under_way[index % len(under_way)][0])
            if pause_seconds is not None:
                await asyncio.sleep(pause_seconds)
        outcomes.lose("the test is over")
        await asyncio.sleep(0)
        told = [write.ends + len(write.errors) for _, heard in under_way for write in heard]
        assert told == [1] * len(told)

    virtual_time.run(main())
