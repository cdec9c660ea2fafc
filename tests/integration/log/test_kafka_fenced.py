"""The fenced writer against a real broker, with something bad in between, and the fence itself.

The rules under test are those of kafka_fenced's docstring.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio
from confluent_kafka import KafkaError

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.base import Claimed
from sharedlogkv_replica.log.continuity import Continuity
from sharedlogkv_replica.log.kafka_fenced import KafkaFencedWriter
from sharedlogkv_replica.log.kafka_wire import Address, Producer
from tests.support.eventually import eventually
from tests.support.fenced_contract import CLAIM_KEY, claim, contents
from tests.support.kafka import COMPACTED, KafkaSite
from tests.support.log_site import DEADLINE_SECONDS, numbered, opened
from tests.support.proxied_partition import ProxiedPartition, connect_directly, proxied
from tests.support.tcp_proxy import PRODUCE

LIMIT_BYTES = 1_000_000
LAST_EPOCH = 32_766
"""The highest epoch that a coordinator hands out."""


@dataclass
class Bench(ProxiedPartition):
    """A fenced writer whose every connection goes through a proxy."""

    writer: KafkaFencedWriter

    async def claim(self, name: str = "a", enlisted: Collection[int] = ()) -> Claimed:
        return await claim(self.writer, name, enlisted)

    async def append(self, *values: str, timeout_seconds: float = DEADLINE_SECONDS) -> Offset:
        return await self.writer.append([entry(value) for value in values], timeout_seconds=timeout_seconds)

    async def values(self) -> list[str]:
        """Every value in the log, in order, without our own barriers."""
        return [(value or b"").decode() for _, _, value in await contents(await opened(self.site))]

    async def send(self, writer: Writer, sequence: int, entries: Sequence[Entry]) -> int:
        """Sends a batch in somebody's name; returns the broker's error code."""
        return await self.produce(Producer(writer.producer_id, writer.epoch), sequence, entries)

    async def coordinator(self) -> Address:
        """Where the book of the log's transactional id is kept."""
        connection = await self.direct.connection()
        code, address = await connection.find_coordinator(transactional_id(self.site))
        assert code == 0
        return address

    async def raise_epoch(self) -> Writer:
        """Does what a candidate does before it appends its claim."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                code, producer = await self.direct.raise_epoch(transactional_id(self.site))
                if code == 0:
                    return Writer(producer.producer_id, producer.epoch)


def transactional_id(site: KafkaSite) -> str:
    return f"sharedlogkv-{site.topic}"


def entry(value: str) -> Entry:
    return Entry(b"key", value.encode())


@pytest_asyncio.fixture(name="bench")
async def _bench(site: KafkaSite) -> AsyncIterator[Bench]:
    async def admit() -> int:
        return LIMIT_BYTES

    async with proxied(site) as partition:
        writer = KafkaFencedWriter(
            partition.delivery,
            transactional_id=transactional_id(site),
            admit=admit,
            continuity=Continuity(site.topic, expected_id=None),
            counters=partition.counters,
        )
        yield Bench(**vars(partition), writer=writer)
        await writer.close()


@pytest.mark.asyncio
async def test_an_answer_that_is_lost_is_asked_for_again_and_the_batch_is_there_once(bench: Bench) -> None:
    await bench.claim()
    bench.proxy.lose_answers_to = PRODUCE
    appending = asyncio.create_task(bench.append("first", "second"))
    await eventually(lambda: bench.counters.resends > 0, what="a resend")
    bench.proxy.lose_answers_to = None
    first = await appending
    assert await bench.append("third") == first + 2
    assert await bench.values() == ["a", "first", "second", "third"]


@pytest.mark.asyncio
async def test_a_claim_whose_answer_is_lost_is_there_once_and_holds(bench: Bench) -> None:
    bench.proxy.lose_answers_to = PRODUCE
    claiming = asyncio.create_task(bench.claim())
    await eventually(lambda: bench.counters.resends > 0, what="a resend")
    bench.proxy.lose_answers_to = None
    await claiming
    await bench.append("first")
    assert await bench.values() == ["a", "first"]


@pytest.mark.asyncio
async def test_connections_that_break_again_and_again_lose_and_double_nothing_and_cost_no_claim(bench: Bench) -> None:
    await bench.claim()
    for number in range(40):
        appending = asyncio.create_task(bench.append(str(number)))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        bench.proxy.cut()
        await appending
    assert await bench.values() == ["a", *map(str, range(40))]


@pytest.mark.asyncio
async def test_claims_through_connections_that_break_again_and_again_all_hold(bench: Bench) -> None:
    for number in range(20):
        claiming = asyncio.create_task(bench.claim(str(number)))
        for _ in range(number):
            await asyncio.sleep(0)
            bench.proxy.cut()
        await claiming
        await bench.append("led")
    assert [value for value in await bench.values() if value != "led"] == [str(number) for number in range(20)]


@pytest.mark.asyncio
async def test_a_batch_on_its_way_that_arrives_after_the_next_claim_is_refused(bench: Bench) -> None:
    """The scenario that the fence is for: the bytes were on the way all the time, and their connection lives on."""
    await bench.claim()
    await bench.append("first")
    bench.proxy.hold_requests = True
    with pytest.raises(OutcomeUnknown):
        await bench.append("abandoned", timeout_seconds=0.2)
    assert bench.proxy.held_bytes > 0
    bench.proxy.hold_requests = False
    with pytest.raises(Fenced):
        await bench.append("late")
    await bench.claim("b")
    bench.proxy.deliver_held()
    await eventually(lambda: bench.proxy.late_answer_bytes > 0, what="the broker's answer to the late batch")
    await bench.append("last")
    assert await bench.values() == ["a", "first", "b", "last"]
    assert bench.counters.abandoned_batches == 1


@pytest.mark.asyncio
async def test_without_a_claim_in_between_such_a_batch_lands(bench: Bench) -> None:
    """The claim is what fences, not the raised epoch."""
    first = (await bench.claim()).writer
    await bench.raise_epoch()
    assert await bench.send(first, 1, [entry("late")]) == 0
    assert await bench.values() == ["a", "late"]


@pytest.mark.asyncio
async def test_a_claim_that_gets_no_answer_is_unknown_and_holds_once_it_is_in_the_log(bench: Bench) -> None:
    first = (await bench.claim()).writer
    bench.proxy.lose_answers_to = PRODUCE
    with pytest.raises(OutcomeUnknown):
        await bench.writer.claim(lambda _: [Entry(CLAIM_KEY, b"b")], enlisted=[first.producer_id], timeout_seconds=0.3)
    bench.proxy.lose_answers_to = None
    assert await bench.values() == ["a", "b"]
    assert await bench.send(first, 1, [entry("late")]) == KafkaError.INVALID_PRODUCER_EPOCH
    with pytest.raises(Fenced):
        await bench.append("first")


@pytest.mark.asyncio
async def test_a_candidate_that_was_overtaken_before_it_could_append_its_claim_is_fenced(bench: Bench) -> None:
    slow = await bench.raise_epoch()
    await bench.claim()
    assert await bench.send(slow, 0, [entry("slow")]) == KafkaError.INVALID_PRODUCER_EPOCH
    quick = await bench.raise_epoch()
    await bench.append("first")
    assert await bench.send(quick, 0, [entry("quick")]) == 0
    with pytest.raises(Fenced, match="INVALID_PRODUCER_EPOCH"):
        await bench.append("second")
    assert await bench.values() == ["a", "first", "quick"]


@pytest.mark.asyncio
async def test_a_sequence_that_the_broker_finds_out_of_order_spends_the_claim_and_the_next_one_holds(
    bench: Bench,
) -> None:
    writer = (await bench.claim()).writer
    assert await bench.send(writer, 1, [entry("foreign"), entry("foreign")]) == 0
    with pytest.raises(Fenced, match="sequence"):
        await bench.append("first")
    await bench.claim("b")
    await bench.append("second")
    assert await bench.values() == ["a", "foreign", "foreign", "b", "second"]


@pytest.mark.asyncio
async def test_what_was_never_sent_is_unavailable_and_the_claim_still_holds(bench: Bench) -> None:
    await bench.claim()
    bench.proxy.cut()
    bench.proxy.hold_requests = True  # not even the API versions are answered, so nothing of ours is ever sent
    await eventually(lambda: not bench.link.alive, what="the news of the broken connection")
    with pytest.raises(LogUnavailable):
        await bench.append("never sent", timeout_seconds=0.5)
    with pytest.raises(LogUnavailable):
        await bench.writer.claim(lambda _: [entry("never sent")], enlisted=(), timeout_seconds=0.5)
    bench.proxy.hold_requests = False
    await bench.claim("b")
    await bench.append("first")
    assert await bench.values() == ["a", "b", "first"]


@pytest.mark.asyncio
async def test_closing_ends_an_append_under_way_at_once(bench: Bench) -> None:
    await bench.claim()
    bench.proxy.hold_requests = True
    appending = asyncio.create_task(bench.append("under way"))
    await eventually(lambda: bench.proxy.held_bytes > 0, what="the batch on its way")
    async with asyncio.timeout(DEADLINE_SECONDS / 3):
        await bench.writer.close()
        with pytest.raises(OutcomeUnknown, match="closed"):
            await appending


@pytest.mark.asyncio
async def test_sequences_count_records(bench: Bench) -> None:
    """A slip would show as error 45 and a spent claim."""
    await bench.claim()
    for count in (1, 500, 3, 1_000, 1):
        await bench.writer.append(numbered(count), timeout_seconds=DEADLINE_SECONDS)
    assert len(await bench.values()) == 1_506


@pytest.mark.timeout(300)
@pytest.mark.asyncio
async def test_when_the_epochs_are_used_up_the_claim_shuts_out_the_old_producer_id(bench: Bench) -> None:
    """Nobody else's claim can: the new producer id begins with epochs of its own."""
    leader = (await bench.claim()).writer
    connection = await connect_directly(await bench.coordinator())
    slow = leader
    while slow.epoch < LAST_EPOCH:
        code, producer = await connection.take_producer_id(transactional_id(bench.site))
        if code == 0:
            slow = Writer(producer.producer_id, producer.epoch)
        assert slow.producer_id == leader.producer_id
    connection.abort()
    assert await bench.send(leader, 1, [entry("still leads")]) == 0
    claimed = await bench.claim("b", enlisted=[leader.producer_id])
    assert claimed.writer.producer_id != leader.producer_id
    assert claimed.writer.epoch == 1, "the first epoch of an id has none before it, against which the fence is tested"
    assert await bench.send(leader, 2, [entry("late")]) == KafkaError.INVALID_PRODUCER_EPOCH
    assert await bench.send(slow, 0, [entry("slow claim")]) == KafkaError.INVALID_PRODUCER_EPOCH
    await bench.append("first")
    assert await bench.values() == ["a", "still leads", "b", "first"]
    assert bench.counters.fences == 1


@pytest.mark.asyncio
async def test_a_topic_that_takes_its_timestamps_from_whoever_writes_is_not_claimed(site: KafkaSite) -> None:
    await site.delete()
    await site.create({**COMPACTED, "message.timestamp.type": "CreateTime"})
    log = await opened(site)
    with pytest.raises(LogRefused, match="LogAppendTime"):
        await claim(log.fenced_writer())
    assert await log.end() == 0
