"""Fixtures of the tests of the log on a real Kafka."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.environment import Environment
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
