"""Whatever happens to their requests: what fenced writers put into the log is in the term of its claim, or not there.

The histories are judged against a model of the partition's leader (tests/support/model_partition.py).
"""

import asyncio
import enum
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_delivery import Delivery
from sharedlogkv_replica.log.kafka_fenced import KafkaFencedWriter
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from tests.support import virtual_time
from tests.support.model_partition import ADDRESS, Happening, ModelPartition

TIMEOUT_SECONDS = 5.0
LIMIT_BYTES = 1_000_000


class Failed(enum.Enum):
    """How a claim or an append failed."""

    NOT_WRITTEN = "nothing was written, nor will be"
    UNKNOWN = "OutcomeUnknown, or cancelled, or a claim that was refused"


class Act(enum.Enum):
    """What is done next."""

    CLAIM = "claim the log"
    APPEND = "append a batch of one record"
    APPEND_MORE = "append a batch of three records"
    DELIVER = "all that is late arrives"
    FORGET = "all that is late arrives, and the transactional id gets another producer id"


class Contest:
    """Two writers that do one thing after the other, and what became of each.

    Attributes:
        outcomes: by the number of the act.
        claim_of: by the number of an append, that of the claim under which it was sent.
    """

    def __init__(self, partition: ModelPartition) -> None:
        self.partition = partition
        self.counters = LogCounters()
        self.outcomes: dict[int, Offset | Failed] = {}
        self.claim_of: dict[int, int] = {}
        self._last_claim: dict[int, int] = {}
        self._names: dict[int, Writer] = {}
        self.writers = [self._new_writer(), self._new_writer()]

    def _new_writer(self) -> KafkaFencedWriter:
        continuity = Continuity("t", expected_id=None)
        link = LeaderLink([ADDRESS], "t", 0, connect=self.partition.connect, counters=self.counters)

        async def admit() -> int:
            return LIMIT_BYTES

        return KafkaFencedWriter(
            Delivery(link, "t", 0, broker_timeout_ms=1000, counters=self.counters),
            transactional_id="t",
            admit=admit,
            continuity=continuity,
            counters=self.counters,
        )

    async def act(self, number: int, who: int, act: Act, patience: float | None) -> None:
        """Does one thing; a claim or an append is cancelled after `patience` seconds."""
        match act:
            case Act.CLAIM:
                self._last_claim[who] = number
                self.outcomes[number] = await self._settle(self._claim(number, who), patience)
            case Act.APPEND | Act.APPEND_MORE:
                self.claim_of[number] = self._last_claim.get(who, -1)
                entries = [Entry(_spell(number), b"value")] * (1 if act is Act.APPEND else 3)
                appending = self.writers[who].append(entries, timeout_seconds=TIMEOUT_SECONDS)
                self.outcomes[number] = await self._settle(appending, patience)
            case Act.DELIVER:
                self.partition.deliver_late()
            case Act.FORGET:
                self.partition.deliver_late()
                self.partition.forget_producer()

    async def _claim(self, number: int, who: int) -> Offset:
        def compose(writer: Writer) -> list[Entry]:
            self._names[number] = writer
            return [Entry(b"\0P", b""), Entry(_spell(number), b"claim")]

        enlisted = {self._names[name].producer_id for _, name in self.found() if name in self._names}
        writer = self.writers[who]
        return (await writer.claim(compose, enlisted=enlisted, timeout_seconds=TIMEOUT_SECONDS)).offset

    async def _settle(self, work: Coroutine[Any, Any, Offset], patience: float | None) -> Offset | Failed:
        task = asyncio.create_task(work)
        await asyncio.wait([task], timeout=patience)
        task.cancel()
        try:
            return await task
        except (LogUnavailable, Fenced):
            return Failed.NOT_WRITTEN
        except (OutcomeUnknown, LogRefused, asyncio.CancelledError):
            return Failed.UNKNOWN

    def found(self) -> list[tuple[int, int]]:
        """Offset and number of the act of every batch in the log but barriers, in order; of a claim, its second one."""
        numbers = range(200)
        return [
            (offset + (number in self._names), number)
            for offset, batch in self.partition.batches
            for number in numbers
            if _spell(number) in batch
        ]

    def check(self) -> None:
        """Holds the log against what was said."""
        found = self.found()
        numbers = [number for _, number in found]
        assert len(set(numbers)) == len(numbers), "a batch is there twice"
        claim = -1
        for number in numbers:
            if number in self.claim_of:
                assert self.claim_of[number] == claim, f"batch {number} is in the term of claim {claim}"
            else:
                claim = number
        for number, outcome in self.outcomes.items():
            if outcome is Failed.NOT_WRITTEN:
                assert number not in numbers, "a batch is there that was said not to be written"
            elif not isinstance(outcome, Failed):
                assert (outcome, number) in found, "an acknowledged batch is not where it was said to be"


def _spell(number: int) -> bytes:
    """What no checksum or time stamp of a batch is by chance."""
    return f"<act {number}>".encode()


async def contend(partition: ModelPartition, acts: Sequence[tuple[int, Act, float | None]]) -> Contest:
    """Two writers do what `acts` say."""
    contest = Contest(partition)
    for number, (who, act, patience) in enumerate(acts):
        await contest.act(number, who, act, patience)
    partition.deliver_late()
    for writer in contest.writers:
        await writer.close()
    return contest


ACTS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(Act), st.sampled_from([None, None, None, 0.0, 0.01, 1.0])),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=400)
@given(script=st.lists(st.sampled_from(Happening), max_size=60), acts=ACTS)
@example(  # an append that arrives after the other's claim
    script=[*[Happening.ANSWERED] * 10, Happening.HANGS_LATE],
    acts=[(0, Act.CLAIM, None), (0, Act.APPEND, None), (1, Act.CLAIM, None)],
)
@example(  # an append that is written, whose resend meets the other's claim
    script=[*[Happening.ANSWERED] * 10, Happening.HANGS],
    acts=[(0, Act.CLAIM, None), (0, Act.APPEND, 1.0), (1, Act.CLAIM, None), (0, Act.APPEND, None)],
)
@example(  # a claim that is in the log, and no answer to the test of the fence
    script=[*[Happening.ANSWERED] * 9, Happening.HANGS], acts=[(0, Act.CLAIM, None), (0, Act.APPEND, None)]
)
@example(  # another producer id, and an old leader that still has the epoch of its own
    script=[],
    acts=[(0, Act.CLAIM, None), (0, Act.FORGET, None), (1, Act.CLAIM, None), (0, Act.APPEND, None)],
)
def test_every_batch_is_there_once_in_the_term_of_its_claim_or_never(
    script: list[Happening], acts: list[tuple[int, Act, float | None]]
) -> None:
    virtual_time.run(contend(ModelPartition(script), acts)).check()


@settings(deadline=None)
@given(script=st.lists(st.sampled_from([*set(Happening) - {Happening.FENCED}]), max_size=40))
def test_once_all_is_well_again_a_claim_succeeds_and_an_append_under_it(script: list[Happening]) -> None:
    acts = [(0, Act.CLAIM, None)] * (len(script) + 1) + [(0, Act.APPEND, None)]
    contest = virtual_time.run(contend(ModelPartition(script), acts))
    contest.check()
    assert not any(isinstance(contest.outcomes[number], Failed) for number in (len(acts) - 2, len(acts) - 1))


@given(st.integers(1, 5))
def test_without_faults_a_batch_is_one_request_and_nothing_is_sent_twice(batches: int) -> None:
    contest = virtual_time.run(contend(ModelPartition([]), [(0, Act.CLAIM, None), *[(0, Act.APPEND, None)] * batches]))
    assert [outcome for _, outcome in sorted(contest.outcomes.items())] == list(range(1, batches + 2))
    assert (contest.counters.resends, contest.counters.producer_ids) == (0, 0)


def test_a_log_that_takes_batches_of_an_earlier_claim_is_refused_and_the_claim_does_not_hold() -> None:
    partition = ModelPartition([])
    partition.fences = False
    contest = virtual_time.run(contend(partition, [(0, Act.CLAIM, None), (0, Act.APPEND, None)]))
    assert list(contest.outcomes.values()) == [Failed.UNKNOWN, Failed.NOT_WRITTEN]
    assert (contest.counters.claim_refused, contest.counters.fence_test_failures) == (1, 1)


def test_the_checks_find_a_log_that_does_not_fence() -> None:
    async def contend_unfenced() -> Contest:
        partition = ModelPartition([])
        contest = Contest(partition)
        await contest.act(0, 0, Act.CLAIM, None)
        await contest.act(1, 1, Act.CLAIM, None)
        partition.fences = False
        await contest.act(2, 0, Act.APPEND, None)
        return contest

    with pytest.raises(AssertionError, match="in the term of claim 1"):
        virtual_time.run(contend_unfenced()).check()
