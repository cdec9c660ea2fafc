"""A namespace that is deleted with a store in it: whoever holds it up, and who does not."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from tests.support.chart_rights import log_in_as_operator
from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, build_store, condition, until
from tests.support.live_store import is_absent
from tests.support.operator_process import running

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

NAMESPACES = "/api/v1/namespaces"
DELETE = {"reclaimPolicy": "Delete", "allowDataLoss": True}
GONE_SECONDS = 60

Create = Callable[..., Awaitable[None]]
LogIn = Callable[..., Awaitable[Path]]


@pytest_asyncio.fixture
async def doomed(cluster: Cluster, api: KubeApi) -> AsyncIterator[str]:
    """A namespace that the test deletes; whatever is left of it is freed afterwards."""
    name = f"slkv-integration-{uuid.uuid4().hex[:8]}"
    await api.call("POST", NAMESPACES, body={"metadata": {"name": name}})
    yield name
    if (await api.request("GET", f"{NAMESPACES}/{name}"))[0] == 200:
        await api.request("DELETE", f"{NAMESPACES}/{name}")
        for store in await api.list("SharedLogKV", name):
            await api.patch("SharedLogKV", name, store["metadata"]["name"], {"metadata": {"finalizers": None}})


@pytest.fixture
def create(environment: Environment, api: KubeApi, doomed: str, topic: str) -> Create:
    """Creates the store in the doomed namespace; done when its topic is there."""

    async def create(**policy: object) -> None:
        fields = {"name": topic, "replicationFactor": 1, "minInSyncReplicas": 1, **policy}
        await api.create("SharedLogKV", build_store(doomed, servers=environment.kafka, topic=fields, replicas=2))

        async def is_bound() -> bool:
            body = await api.get("SharedLogKV", doomed, "store")
            return condition(body, "TopicReady").get("status") == "True"

        await until(is_bound, what="a topic")

    return create


@pytest.fixture
def log_in(cluster: Cluster, api: KubeApi, namespace: str, doomed: str, tmp_path: Path) -> Iterator[LogIn]:
    """Logs in as the chart's account in a namespace of its own, with rights in the doomed one, which may outlive it."""

    async def log_in(*, outlives: bool) -> Path:
        values = {
            "watchNamespaces": f'["{doomed}"]',
            "rbac__aggregateRoles": "false",
            "rbac__outliveNamespaces": str(outlives).lower(),
        }
        return await log_in_as_operator(cluster, api, tmp_path, release_namespace=namespace, **values)

    yield log_in
    selector = f"--selector=app.kubernetes.io/instance={namespace}"
    cluster.kubectl("delete", "clusterroles,clusterrolebindings", selector)


async def delete(api: KubeApi, namespace: str) -> None:
    await api.call("DELETE", f"{NAMESPACES}/{namespace}")


async def until_gone(api: KubeApi, namespace: str) -> None:
    async def is_gone() -> bool:
        return (await api.request("GET", f"{NAMESPACES}/{namespace}"))[0] == 404

    await until(is_gone, what=f"the end of {namespace}", timeout_seconds=GONE_SECONDS, every_seconds=0.5)


async def test_with_the_operator_gone_a_namespace_goes_within_a_minute_where_topics_are_kept(
    environment: Environment, api: KubeApi, create: Create, doomed: str, topic: str, admin: ConfluentAdmin
) -> None:
    async with running(environment.kubeconfig, namespaces=doomed) as operator:
        await create()
        await operator.stop()
    await delete(api, doomed)
    await until_gone(api, doomed)
    assert not await is_absent(admin, topic)


async def test_an_operator_of_the_whole_cluster_deletes_the_topic_of_a_namespace_that_goes_where_that_is_wanted(
    environment: Environment, api: KubeApi, create: Create, doomed: str, topic: str, admin: ConfluentAdmin
) -> None:
    async with running(environment.kubeconfig):
        await create(**DELETE)
        await delete(api, doomed)
        await until_gone(api, doomed)
    assert await is_absent(admin, topic)


async def test_an_operator_of_single_namespaces_does_so_too_where_its_rights_outlive_them(
    cluster: Cluster, api: KubeApi, log_in: LogIn, create: Create, doomed: str, topic: str, admin: ConfluentAdmin
) -> None:
    async with running(await log_in(outlives=True), namespaces=doomed):
        await create(**DELETE)
        # The worst of the orders in which a namespace loses what is in it.
        cluster.kubectl("delete", "rolebindings,roles", "--all", namespace=doomed)
        await delete(api, doomed)
        await until_gone(api, doomed)
    assert await is_absent(admin, topic)


async def test_where_they_do_not_the_namespace_waits_until_a_person_takes_the_finalizer_off(
    cluster: Cluster, api: KubeApi, log_in: LogIn, create: Create, doomed: str, topic: str, admin: ConfluentAdmin
) -> None:
    async with running(await log_in(outlives=False), namespaces=doomed) as operator:
        await create(**DELETE)
        cluster.kubectl("delete", "rolebindings,roles", "--all", namespace=doomed)
        await delete(api, doomed)

        async def has_complained() -> bool:
            return any("forbidden" in str(line.get("error")) for line in operator.lines)

        await until(has_complained, what="a word about the missing rights")
        body = await api.get("SharedLogKV", doomed, "store")
        assert body is not None
        assert body["metadata"]["finalizers"] == ["sharedlog.dev/topic"]
        # As docs/operations.md has it.
        patch = ("patch", "slkv", "store", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        await asyncio.to_thread(cluster.kubectl, *patch, namespace=doomed)
        await until_gone(api, doomed)
        assert (await operator.get("/healthz"))[0] == 200
    assert not await is_absent(admin, topic)
