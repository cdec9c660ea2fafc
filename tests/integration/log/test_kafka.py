"""The log in a topic of a real Kafka: the contract of every log, and what only Kafka has."""

import os
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.environment import parse_environment
from tests.support.kafka import KafkaCluster, KafkaSite
from tests.support.log_contract import LogContract


@pytest_asyncio.fixture(name="site")
async def _site() -> AsyncIterator[KafkaSite]:
    site = KafkaSite(KafkaCluster(parse_environment(os.environ).kafka))
    await site.create()
    yield site
    await site.close()


class TestKafkaLog(LogContract):
    """The contract, on Kafka."""
