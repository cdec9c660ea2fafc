"""Fixtures of the operator's integration tests: clients as the operator uses them, and names that nobody else has."""

from collections.abc import AsyncIterator

import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.metrics import Metrics
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, connect, load_configuration, unique


@pytest_asyncio.fixture
async def api(environment: Environment) -> AsyncIterator[KubeApi]:
    """The API server, past the operator."""
    async with connect(environment.kubeconfig) as api:
        yield api


@pytest_asyncio.fixture
async def api_server(environment: Environment) -> AsyncIterator[ApiServer]:
    """The API server as the operator uses it."""
    server = ApiServer(await load_configuration(environment.kubeconfig), metrics=Metrics())
    yield server
    await server.close()


@pytest_asyncio.fixture
async def admin(environment: Environment) -> AsyncIterator[ConfluentAdmin]:
    """Kafka as the operator uses it."""
    admin = ConfluentAdmin(environment.kafka, metrics=Metrics(), request_seconds=10)
    yield admin
    await admin.close()


@pytest_asyncio.fixture
async def topic(admin: ConfluentAdmin) -> AsyncIterator[str]:
    """The name of a topic of the test's own, removed afterwards."""
    name = unique("operator")
    yield name
    await admin.delete_topic(name)
