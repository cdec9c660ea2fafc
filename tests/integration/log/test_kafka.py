"""The log in a topic of a real Kafka: the contract of every log, and what only Kafka has."""

import asyncio
from contextlib import aclosing

import pytest
from confluent_kafka import Producer

from sharedlogkv_replica.core.records import START, Entry, Position
from sharedlogkv_replica.errors import LogRefused, LogUnavailable
from sharedlogkv_replica.log.kafka import KafkaLog, parse_location
from tests.support.eventually import eventually
from tests.support.fenced_contract import FencedContract
from tests.support.kafka import COMPACTED, KafkaCluster, KafkaSite
from tests.support.log_contract import LogContract
from tests.support.log_site import DEADLINE_SECONDS, append, numbered, opened, read_to


class TestKafkaLog(LogContract):
    """The contract, on Kafka."""


class TestKafkaFencedWriter(FencedContract):
    """The contract of fenced writers, on Kafka."""


@pytest.mark.asyncio
async def test_opening_tells_the_limits_of_the_topic(site: KafkaSite) -> None:
    await site.delete()
    topic_id = await site.create({**COMPACTED, "max.message.bytes": "54321", "delete.retention.ms": "90000"})
    description = await site.handle().open()
    assert (description.batch_limit_bytes, description.tombstone_seconds) == (54_321, 90.0)
    assert description.identity.log_id == topic_id


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
@pytest.mark.asyncio
async def test_a_topic_that_drops_records_by_age_is_refused(site: KafkaSite, policy: str) -> None:
    await site.delete()
    await site.create({"cleanup.policy": policy})
    with pytest.raises(LogRefused, match=f"cleanup.policy={policy}"):
        await site.handle().open()


@pytest.mark.asyncio
async def test_a_topic_with_more_than_one_partition_is_refused(site: KafkaSite) -> None:
    await site.delete()
    await site.create(partitions=2)
    with pytest.raises(LogRefused, match="2 partitions"):
        await site.handle().open()


@pytest.mark.asyncio
async def test_where_nobody_listens_is_unavailable_and_says_where() -> None:
    log = KafkaLog(parse_location("kafka://127.0.0.1:1/topic"), query_timeout_seconds=0.3)
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        await log.open()
    with pytest.raises(LogUnavailable):
        await log.end()
    with pytest.raises(LogUnavailable):
        await log.identify()
    await log.close()


@pytest.mark.asyncio
async def test_reading_where_nobody_listens_waits_and_can_be_closed() -> None:
    log = KafkaLog(parse_location("kafka://127.0.0.1:1/topic"))

    async def follow() -> None:
        async with aclosing(log.read(START)) as reading:
            async for _ in reading:
                pass

    async with asyncio.timeout(DEADLINE_SECONDS):
        follower = asyncio.create_task(follow())
        await eventually(lambda: log.counters.read_outages > 0, what="the client to find nobody")
        await log.close()
        await follower
    assert log.counters.read_outages == 1


@pytest.mark.asyncio
async def test_a_deleted_topic_is_refused_by_every_call_and_stays_deleted(
    site: KafkaSite, kafka_cluster: KafkaCluster
) -> None:
    """Also where brokers create a topic for whoever asks for it: a lost log must never come back as an empty one."""
    log = await opened(site)
    await append(log, *numbered(1))
    reading = asyncio.create_task(read_to(log, Position(100)))
    await site.delete()
    with pytest.raises(LogRefused):
        await log.append(numbered(1), timeout_seconds=1.0)
    with pytest.raises(LogRefused):
        await log.end()
    with pytest.raises(LogRefused):
        await log.open()
    assert await log.identify() is None
    assert await asyncio.to_thread(kafka_cluster.topic_id, site.topic) is None
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.asyncio
async def test_records_of_an_open_transaction_are_not_read_but_counted_in_the_end(
    site: KafkaSite, kafka_cluster: KafkaCluster
) -> None:
    log = await opened(site)
    await append(log, Entry(b"before", b"1"))
    producer = Producer({"bootstrap.servers": kafka_cluster.bootstrap_servers, "transactional.id": site.topic})
    await asyncio.to_thread(producer.init_transactions, DEADLINE_SECONDS)
    producer.begin_transaction()
    producer.produce(site.topic, value=b"2", key=b"inside", partition=0)
    assert await asyncio.to_thread(producer.flush, DEADLINE_SECONDS) == 0
    after = await append(log, Entry(b"after", b"3"))
    assert await log.end() == after + 1
    reading = asyncio.create_task(read_to(log, Position(after + 1)))
    assert [key for _, key, _ in await read_to(await opened(site), Position(1))] == [b"before"]
    assert not reading.done()
    await asyncio.to_thread(producer.commit_transaction, DEADLINE_SECONDS)
    assert [key for _, key, _ in await reading] == [b"before", b"inside", b"after"]
