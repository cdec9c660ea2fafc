"""An operator that is killed at any step of a pass: its successor makes the same of it, over the real things.

A step is a call to the API server or to Kafka. It is cut off before it or right after it, when the call has acted and
its answer is lost; then another operator, which knows nothing of the first, makes its passes.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.kafka_security import NO_LOGIN, Login
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.reconcile import Reconciler
from sharedlogkv_operator.replica_client import HttpReplicaClient
from sharedlogkv_operator.scaling import ScalingBoard
from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, build_store, condition, unique

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

CHILDREN = ("Deployment", "Service", "PodDisruptionBudget")
PASSES = 3


class Killed(BaseException):
    """The process ended here."""


class Steps:
    """Counts the moments before and after each call, and ends at the chosen one; 0: never."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.passed = 0

    def pass_moment(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            raise Killed


class Counted:
    """Stands before a client: each of its coroutines is a step."""

    def __init__(self, client: object, steps: Steps) -> None:
        self._client = client
        self._steps = steps

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, getattr(self._client, name))

    async def _call(self, method: Callable[..., Awaitable[object]], *arguments: object, **named: object) -> object:
        self._steps.pass_moment()
        answer = await method(*arguments, **named)
        self._steps.pass_moment()
        return answer


class Clusters:
    """`KafkaClusters` of the one real cluster."""

    def __init__(self, admin: Any) -> None:
        self._admin = admin

    @asynccontextmanager
    async def lease(self, bootstrap_servers: str, login: Login = NO_LOGIN) -> AsyncIterator[Any]:
        del bootstrap_servers, login
        yield self._admin


class Operators:
    """Makes operators, each as after a start, and kills them."""

    def __init__(self, api_server: ApiServer, admin: ConfluentAdmin, replica_client: HttpReplicaClient) -> None:
        self._api_server = api_server
        self._admin = admin
        self._replica_client = replica_client

    async def run(self, namespace: str, name: str, *, last_step: int = 0) -> bool:
        """One operator's passes over the store; whether they came to their end."""
        steps = Steps(last_step)
        reconciler = Reconciler(
            Counted(self._api_server, steps),
            Clusters(Counted(self._admin, steps)),
            replica_client=self._replica_client,
            scalings=ScalingBoard(),
            default_image="localhost/sharedlogkv-absent:0",
            instance="operator",
            now=lambda: datetime.now(UTC),
        )
        try:
            for _ in range(PASSES):
                await reconciler.reconcile(namespace, name)
        except Killed:
            return False
        return True


@pytest_asyncio.fixture
async def operators(api_server: ApiServer, admin: ConfluentAdmin) -> AsyncIterator[Operators]:
    """Operators on the real things."""
    replica_client = HttpReplicaClient(request_seconds=0.5)
    yield Operators(api_server, admin, replica_client)
    await replica_client.close()


async def test_an_operator_killed_at_any_step_of_making_a_store_leaves_it_to_the_next_one(
    cluster: Cluster,
    environment: Environment,
    api: KubeApi,
    operators: Operators,
    admin: ConfluentAdmin,
    namespace: str,
) -> None:
    for step in itertools.count(1):
        name, topic = f"store-{step}", unique("kills")
        try:
            await create(api, environment, namespace, name, topic)
            was_whole = await operators.run(namespace, name, last_step=step)
            made = await admin.describe_topic(topic)
            assert await operators.run(namespace, name)
            body = await api.get("SharedLogKV", namespace, name)
            assert body is not None
            found = await admin.describe_topic(topic)
            assert found is not None
            assert made is None or made.id == found.id, "a topic that was there is never another"
            assert body["status"]["topic"]["id"] == found.id
            assert condition(body, "TopicReady")["status"] == "True"
            assert condition(body, "Stalled")["status"] == "False"
            for kind in CHILDREN:
                assert await api.get(kind, namespace, name) is not None, (step, kind)
        finally:
            await admin.delete_topic(topic)
        if was_whole:
            break
    assert step > 20, "there were too few steps to be true"


async def test_an_operator_killed_at_any_step_of_a_deletion_leaves_it_to_the_next_one(
    cluster: Cluster,
    environment: Environment,
    api: KubeApi,
    operators: Operators,
    admin: ConfluentAdmin,
    namespace: str,
) -> None:
    for step in itertools.count(1):
        name, topic = f"store-{step}", unique("kills")
        try:
            await create(api, environment, namespace, name, topic, reclaimPolicy="Delete", allowDataLoss=True)
            assert await operators.run(namespace, name)
            body = await api.get("SharedLogKV", namespace, name)
            assert body is not None
            assert body["status"]["topic"]["origin"] == "Created"
            await api.delete("SharedLogKV", namespace, name)
            was_whole = await operators.run(namespace, name, last_step=step)
            assert await operators.run(namespace, name)
            assert await api.get("SharedLogKV", namespace, name) is None
            assert await admin.describe_topic(topic) is None
        finally:
            await admin.delete_topic(topic)
        if was_whole:
            break
    assert step > 6, "there were too few steps to be true"


async def create(
    api: KubeApi, environment: Environment, namespace: str, name: str, topic: str, **fields: object
) -> None:
    spec = {"name": topic, "replicationFactor": 1, "minInSyncReplicas": 1, **fields}
    await api.create("SharedLogKV", build_store(namespace, name, servers=environment.kafka, topic=spec, replicas=2))
