"""Fixtures of the operator's integration tests: clients as the operator uses them, and names that nobody else has."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.kafka_pool import KafkaPool
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.reconcile import Reconciler
from sharedlogkv_operator.replica_client import HttpReplicaClient
from sharedlogkv_operator.scaling import ScalingBoard
from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, connect, load_configuration, unique
from tests.support.live_store import Store


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


@pytest_asyncio.fixture
async def reconciler(cluster: Cluster, api_server: ApiServer) -> AsyncIterator[Reconciler]:
    """A reconciler on the real things: an API server that knows the CRD, and any Kafka that a resource names."""
    metrics = Metrics()
    pool = KafkaPool(
        lambda servers, login: ConfluentAdmin(servers, metrics=metrics, login=login, request_seconds=3), leases_limit=4
    )
    replica_client = HttpReplicaClient(request_seconds=0.5)
    yield Reconciler(
        api_server,
        pool,
        replica_client=replica_client,
        default_image="localhost/sharedlogkv-absent:0",
        scalings=ScalingBoard(),
        instance="operator-1",
        now=lambda: datetime.now(UTC),
    )
    await replica_client.close()
    await pool.close()


@pytest.fixture
def store(environment: Environment, api: KubeApi, reconciler: Reconciler, namespace: str, topic: str) -> Store:
    """A store and who reconciles it; the resource is not created yet."""
    return Store(api, reconciler, namespace=namespace, topic=topic, servers=environment.kafka)
