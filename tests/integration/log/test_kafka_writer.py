"""The batch writer against a real broker, with something bad in between: each batch once, or never, or unknown.

The rules under test are those of the table in kafka_writer's docstring.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from confluent_kafka import KafkaError

from sharedlogkv_replica.core.records import BARRIER_KEY, Entry, Offset
from sharedlogkv_replica.errors import LogUnavailable, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.held_claim import FENCE_EPOCH
from sharedlogkv_replica.log.kafka_wire import Producer
from sharedlogkv_replica.log.kafka_writer import BatchWriter
from tests.support.eventually import eventually
from tests.support.kafka import KafkaSite
from tests.support.log_site import DEADLINE_SECONDS, numbered, opened, read_to
from tests.support.proxied_partition import REQUEST_SECONDS, ProxiedPartition, proxied
from tests.support.tcp_proxy import PRODUCE

LIMIT_BYTES = 1_000_000


@dataclass
class Bench(ProxiedPartition):
    """A writer whose every connection goes through a proxy."""

    writer: BatchWriter

    async def append(self, *entries: Entry, timeout_seconds: float = DEADLINE_SECONDS) -> Offset:
        return await self.writer.append(entries, limit_bytes=LIMIT_BYTES, timeout_seconds=timeout_seconds)

    async def values(self) -> list[bytes | None]:
        """Every value in the log, in order, without our own records."""
        log = await opened(self.site)
        return [value for _, key, value in await read_to(log, await log.end()) if key != BARRIER_KEY]


@pytest_asyncio.fixture(name="bench")
async def _bench(site: KafkaSite) -> AsyncIterator[Bench]:
    async with proxied(site) as partition:
        continuity = Continuity(site.topic, expected_id=None)
        writer = BatchWriter(partition.delivery, continuity=continuity, counters=partition.counters)
        yield Bench(**vars(partition), writer=writer)
        await writer.close()


def entry(value: str) -> Entry:
    return Entry(b"key", value.encode())


@pytest.mark.asyncio
async def test_an_answer_that_is_lost_is_asked_for_again_and_the_batch_is_there_once(bench: Bench) -> None:
    await bench.append(entry("first"))
    bench.proxy.lose_answers_to = PRODUCE
    appending = asyncio.create_task(bench.append(entry("second"), entry("third")))
    await eventually(lambda: bench.counters.resends > 0, what="a resend")
    bench.proxy.lose_answers_to = None
    assert await appending == 1
    assert await bench.append(entry("fourth")) == 3
    assert await bench.values() == [b"first", b"second", b"third", b"fourth"]
    assert bench.counters.producer_ids == 1


@pytest.mark.asyncio
async def test_connections_that_break_again_and_again_lose_and_double_nothing(bench: Bench) -> None:
    for number in range(60):
        appending = asyncio.create_task(bench.append(entry(str(number))))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        bench.proxy.cut()
        await appending
    assert await bench.values() == [str(number).encode() for number in range(60)]


@pytest.mark.asyncio
async def test_a_connection_that_the_broker_closed_meanwhile_costs_nothing(bench: Bench) -> None:
    await bench.append(entry("first"))
    bench.proxy.cut()
    await eventually(lambda: not bench.link.alive, what="the news of the broken connection")
    await bench.append(entry("second"))
    assert bench.counters.resends == 0
    assert bench.counters.write_outages == 0


@pytest.mark.asyncio
async def test_a_batch_that_no_answer_comes_for_is_unknown_and_the_next_one_is_sent_behind_a_fence(
    bench: Bench,
) -> None:
    await bench.append(entry("first"))
    old = bench.writer.producer
    bench.proxy.lose_answers_to = PRODUCE
    with pytest.raises(OutcomeUnknown):
        await bench.append(entry("unknown"), timeout_seconds=0.2)
    bench.proxy.lose_answers_to = None
    await bench.append(entry("last"))
    new = bench.writer.producer
    assert new is not None
    assert new != old
    assert (bench.counters.abandoned_batches, bench.counters.fences, bench.counters.producer_ids) == (1, 1, 2)
    assert await bench.values() == [b"first", b"unknown", b"last"]


@pytest.mark.asyncio
async def test_an_abandoned_batch_that_arrives_after_a_later_acknowledged_one_is_refused(bench: Bench) -> None:
    """The scenario that the fence is for: the bytes were on the way all the time, and their connection lives on."""
    await bench.append(entry("first"))
    bench.proxy.hold_requests = True
    with pytest.raises(OutcomeUnknown):
        await bench.append(entry("abandoned"), timeout_seconds=0.2)
    assert bench.proxy.held_bytes > 0
    bench.proxy.hold_requests = False
    await bench.append(entry("acknowledged"))
    bench.proxy.deliver_held()
    await eventually(lambda: bench.proxy.late_answer_bytes > 0, what="the broker's answer to the late batch")
    assert await bench.values() == [b"first", b"acknowledged"]


@pytest.mark.asyncio
async def test_without_a_fence_such_a_batch_would_land(bench: Bench) -> None:
    """The fence is no ornament: this is what the broker does without it."""
    await bench.append(entry("first"))
    abandoned = bench.writer.producer
    assert abandoned is not None
    assert await bench.produce(Producer(abandoned.producer_id + 1_000_000, 0), 0, [entry("later")]) == 0
    assert await bench.produce(abandoned, 1, [entry("abandoned")]) == 0
    assert await bench.values() == [b"first", b"later", b"abandoned"]


@pytest.mark.asyncio
async def test_the_old_bytes_get_47_after_the_fence_also_for_a_producer_that_never_wrote(bench: Bench) -> None:
    connection = await bench.direct.connection()
    for wrote_before in (True, False):
        code, old = await connection.take_producer_id(None)
        assert code == 0
        sequence = 0
        if wrote_before:
            assert await bench.produce(old, 0, [entry("old")]) == 0
            sequence = 1
        assert await bench.produce(Producer(old.producer_id, FENCE_EPOCH), 0, [entry("fence")]) == 0
        assert await bench.produce(Producer(old.producer_id, FENCE_EPOCH), 0, [entry("fence")]) == 0, (
            "again is harmless"
        )
        assert await bench.produce(old, sequence, [entry("late")]) == KafkaError.INVALID_PRODUCER_EPOCH
    assert await bench.values() == [b"old", b"fence", b"fence"]


@pytest.mark.asyncio
async def test_a_fence_that_gets_no_answer_is_repeated_before_anything_else_is_sent(bench: Bench) -> None:
    await bench.append(entry("first"))
    bench.proxy.lose_answers_to = PRODUCE
    with pytest.raises(OutcomeUnknown):
        await bench.append(entry("unknown"), timeout_seconds=0.2)
    with pytest.raises(LogUnavailable):
        await bench.append(entry("never sent"), timeout_seconds=3 * REQUEST_SECONDS)
    assert bench.proxy.lost_answers >= 2, "that to the batch, and that to the fence"
    bench.proxy.lose_answers_to = None
    await bench.append(entry("last"))
    assert await bench.values() == [b"first", b"unknown", b"last"]
    assert bench.counters.fences == 1


@pytest.mark.asyncio
async def test_a_producer_that_was_fenced_by_somebody_goes_on_with_a_new_id(bench: Bench) -> None:
    await bench.append(entry("first"))
    producer = bench.writer.producer
    assert producer is not None
    assert await bench.produce(Producer(producer.producer_id, FENCE_EPOCH), 0, [entry("foreign")]) == 0
    await bench.append(entry("second"))
    assert await bench.values() == [b"first", b"foreign", b"second"]
    assert (bench.counters.producer_ids, bench.counters.abandoned_batches) == (2, 0)


@pytest.mark.asyncio
async def test_a_sequence_that_the_broker_finds_out_of_order_is_left_for_a_new_id(bench: Bench) -> None:
    await bench.append(entry("first"))
    producer = bench.writer.producer
    assert producer is not None
    assert await bench.produce(producer, 1, [entry("foreign"), entry("foreign")]) == 0
    await bench.append(entry("second"))
    assert await bench.values() == [b"first", b"foreign", b"foreign", b"second"]
    assert bench.counters.producer_ids == 2


@pytest.mark.asyncio
async def test_a_batch_that_was_never_sent_is_unavailable_and_needs_no_fence(bench: Bench) -> None:
    bench.proxy.hold_requests = True  # not even the API versions are answered, so nothing of ours is ever sent
    with pytest.raises(LogUnavailable):
        await bench.append(entry("never sent"), timeout_seconds=0.5)
    bench.proxy.hold_requests = False
    await bench.append(entry("first"))
    assert await bench.values() == [b"first"]
    assert (bench.counters.fences, bench.counters.producer_ids, bench.counters.write_outages) == (0, 1, 1)


@pytest.mark.asyncio
async def test_a_batch_that_only_the_broker_finds_too_large_is_refused_and_nothing_of_it_written(bench: Bench) -> None:
    await bench.site.recreate(batch_limit_bytes=10_000)
    with pytest.raises(RecordTooLarge):
        await bench.append(Entry(b"key", bytes(20_000)))
    await bench.append(entry("small"))
    assert await bench.values() == [b"small"]


@pytest.mark.asyncio
async def test_a_cancelled_append_is_abandoned_and_fenced(bench: Bench) -> None:
    await bench.append(entry("first"))
    bench.proxy.hold_requests = True
    appending = asyncio.create_task(bench.append(entry("cancelled")))
    await eventually(lambda: bench.proxy.held_bytes > 0, what="the batch on its way")
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    bench.proxy.hold_requests = False
    await bench.append(entry("second"))
    bench.proxy.deliver_held()
    await eventually(lambda: bench.proxy.late_answer_bytes > 0, what="the broker's answer to the late batch")
    assert await bench.values() == [b"first", b"second"]


@pytest.mark.asyncio
async def test_closing_ends_an_append_under_way_at_once(bench: Bench) -> None:
    await bench.append(entry("first"))
    bench.proxy.hold_requests = True
    appending = asyncio.create_task(bench.append(entry("under way")))
    await eventually(lambda: bench.proxy.held_bytes > 0, what="the batch on its way")
    async with asyncio.timeout(DEADLINE_SECONDS / 3):
        await bench.writer.close()
        with pytest.raises(OutcomeUnknown, match="closed"):
            await appending


@pytest.mark.asyncio
async def test_sequences_count_records(bench: Bench) -> None:
    """A slip would show as error 45 and a second producer id."""
    for count in (1, 500, 3, 1_000, 1):
        await bench.append(*numbered(count))
    assert bench.counters.producer_ids == 1
    assert len(await bench.values()) == 1_505
