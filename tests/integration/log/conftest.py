"""Fixtures of the tests of the log on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.commands import run
from tests.support.environment import Environment
from tests.support.faults import Break
from tests.support.kafka import KafkaCluster, KafkaSite


@pytest.fixture(scope="session")
def kafka_cluster(environment: Environment) -> KafkaCluster:
    """The Kafka of the environment, with all rights."""
    return KafkaCluster(environment.kafka)


@pytest_asyncio.fixture
async def site(kafka_cluster: KafkaCluster) -> AsyncIterator[KafkaSite]:
    """An empty log in a topic of the test's own; the topic goes afterwards."""
    site = KafkaSite(kafka_cluster)
    await site.create()
    yield site
    await site.close()


@pytest.fixture
def fault(environment: Environment) -> Break:
    """Breaks or mends something of the testbed, by the words of its command `fault`."""
    testbed = environment.testbed
    if testbed is None:
        pytest.fail("this breaks brokers, so it needs the testbed: deselect it on a Kafka of yours by -m 'not faults'")

    async def act(*words: str) -> None:
        await asyncio.to_thread(run, testbed, "fault", *words, timeout_seconds=90)

    return act


@pytest_asyncio.fixture(name="replicated")
async def _replicated(kafka_cluster: KafkaCluster) -> AsyncIterator[KafkaSite]:
    """A log with as many copies as there are brokers, three at most, of which two must be there."""
    brokers = await asyncio.to_thread(kafka_cluster.broker_count)
    site = KafkaSite(kafka_cluster, replication_factor=min(3, brokers))
    await site.create()
    if brokers > 1:
        await asyncio.to_thread(kafka_cluster.configure_topic, site.topic, {"min.insync.replicas": "2"})
    yield site
    await site.close()
