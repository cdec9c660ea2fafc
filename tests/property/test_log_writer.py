"""Whatever happens to its requests: the batch writer loses nothing acknowledged, doubles nothing, and never lies.

The histories are judged against a model of the partition's leader (tests/support/model_partition.py).
"""

import asyncio
import enum

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka_delivery import Delivery
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from sharedlogkv_replica.log.kafka_writer import BatchWriter
from tests.support import virtual_time
from tests.support.model_partition import ADDRESS, Happening, ModelPartition

TIMEOUT_SECONDS = 5.0
LIMIT_BYTES = 1_000_000


class Failed(enum.Enum):
    """How an append failed."""

    NOT_WRITTEN = "LogUnavailable, or LogRefused"
    UNKNOWN = "OutcomeUnknown, or cancelled"


async def write(
    partition: ModelPartition,
    appends: list[tuple[int, float | None]],
    late_after: set[int],
    *,
    counters: LogCounters | None = None,
) -> list[Offset | Failed]:
    """Appends one batch after the other: (number of records, seconds after which it is cancelled)."""
    counters = counters or LogCounters()
    link = LeaderLink([ADDRESS], "t", 0, connect=partition.connect, counters=counters)
    continuity = Continuity("t", expected_id=None)
    delivery = Delivery(link, "t", 0, broker_timeout_ms=1000, counters=counters)
    writer = BatchWriter(delivery, continuity=continuity, counters=counters)
    outcomes: list[Offset | Failed] = []
    for number, (count, patience) in enumerate(appends):
        batch = [Entry(f"<act {number}>".encode(), b"value")] * count
        appending = asyncio.create_task(writer.append(batch, limit_bytes=LIMIT_BYTES, timeout_seconds=TIMEOUT_SECONDS))
        await asyncio.wait([appending], timeout=patience)
        appending.cancel()
        try:
            outcomes.append(await appending)
        except (LogUnavailable, LogRefused):
            outcomes.append(Failed.NOT_WRITTEN)
        except (OutcomeUnknown, asyncio.CancelledError):
            outcomes.append(Failed.UNKNOWN)
        if number in late_after:
            partition.deliver_late()
    partition.deliver_late()
    await writer.close()
    return outcomes


@settings(deadline=None, max_examples=400)
@given(
    script=st.lists(st.sampled_from(Happening), max_size=40),
    appends=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([None, None, None, 0.0, 0.01, 1.0])), min_size=1, max_size=8
    ),
    late_after=st.sets(st.integers(0, 7)),
)
@example(  # the batch that arrives after a later one was acknowledged
    script=[Happening.ANSWERED] * 3 + [Happening.HANGS_LATE], appends=[(1, None), (1, None)], late_after={1}
)
@example(  # a batch that is on its way, while every further attempt is plainly refused
    script=[Happening.ANSWERED] * 3 + [Happening.LATE] + [Happening.ANSWERED] * 2 + [Happening.TOO_FEW_REPLICAS] * 30,
    appends=[(1, None), (1, None)],
    late_after={0},
)
@example(  # a batch that is in the log, and no rights any more to ask who leads
    script=[Happening.ANSWERED] * 3 + [Happening.ANSWER_LOST, Happening.DENIED], appends=[(1, None)], late_after=set()
)
def test_every_history_is_exactly_once_and_in_order(
    script: list[Happening], appends: list[tuple[int, float | None]], late_after: set[int]
) -> None:
    partition = ModelPartition(script)
    outcomes = virtual_time.run(write(partition, appends, late_after))
    found: list[tuple[int, int]] = []  # (offset, number of the append) of every batch of ours, in the log's order
    for offset, batch in partition.batches:
        found += [(offset, number) for number in range(len(appends)) if f"<act {number}>".encode() in batch]
    numbers = [number for _, number in found]
    assert len(set(numbers)) == len(numbers), "a batch is there twice"
    assert numbers == sorted(numbers), "a batch came after a later one"
    for number, outcome in enumerate(outcomes):
        match outcome:
            case Failed.NOT_WRITTEN:
                assert number not in numbers, "a batch is there that was said not to be written"
            case Failed.UNKNOWN:
                pass
            case offset:
                assert (offset, number) in found, "an acknowledged batch is not where it was said to be"


def test_a_refusal_after_a_batch_was_sent_is_no_answer_to_it_and_counts_as_an_outage() -> None:
    counters = LogCounters()
    partition = ModelPartition([Happening.ANSWERED] * 3 + [Happening.ANSWER_LOST, Happening.DENIED])
    outcomes = virtual_time.run(write(partition, [(1, None), (1, None)], set(), counters=counters))
    assert outcomes == [Failed.UNKNOWN, 2], "between them is the fence"
    assert (counters.abandoned_batches, counters.fences, counters.write_outages) == (1, 1, 1)


@given(st.lists(st.tuples(st.integers(1, 3), st.none()), min_size=1))
def test_without_faults_each_batch_is_sent_once_by_one_producer(appends: list[tuple[int, None]]) -> None:
    counters = LogCounters()
    outcomes = virtual_time.run(write(ModelPartition([]), list(appends), set(), counters=counters))
    assert outcomes == [sum(count for count, _ in appends[:index]) for index in range(len(appends))]
    assert (counters.producer_ids, counters.resends, counters.connections) == (1, 0, 2)


@settings(deadline=None)
@given(script=st.lists(st.sampled_from(Happening), max_size=40))
def test_once_all_is_well_again_a_new_append_succeeds(script: list[Happening]) -> None:
    partition = ModelPartition(script)

    async def write_until_well() -> Offset | Failed:
        return (await write(partition, [(1, None)] * (len(script) + 1), set()))[-1]

    assert not isinstance(virtual_time.run(write_until_well()), Failed)
