"""The operator's clients keep their contracts against a real API server and a real Kafka, and say what fails."""

import asyncio
import gc
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sharedlogkv_operator.errors import KafkaSilent, KubeRefused, KubeUnavailable
from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.metrics import Metrics
from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kafka_contract import KafkaAdminContract
from tests.support.kube_contract import KubeContract, KubeSite
from tests.support.kubernetes import KubeApi, build_store, load_configuration

Manifest = dict[str, Any]


class RealSite:
    """A namespace of a real cluster with the resource `store`."""

    def __init__(self, api: KubeApi, kube: ApiServer, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self._api = api

    async def read(self, kind: str, name: str) -> Manifest | None:
        """See `KubeSite`."""
        return await self._api.get(kind, self.namespace, name)

    async def annotate(self, annotations: dict[str, str]) -> None:
        """See `KubeSite`."""
        change = {"metadata": {"annotations": annotations}}
        await self._api.patch("SharedLogKV", self.namespace, "store", change)

    async def recreate(self) -> None:
        """See `KubeSite`."""
        await self._api.delete("SharedLogKV", self.namespace, "store")
        await self._api.create("SharedLogKV", build_store(self.namespace))


class TestApiServer(KubeContract):
    """The real API server."""

    @pytest_asyncio.fixture
    async def site(self, cluster: Cluster, api: KubeApi, api_server: ApiServer, namespace: str) -> KubeSite:
        await api.create("SharedLogKV", build_store(namespace))
        return RealSite(api, api_server, namespace)


class TestKafka(KafkaAdminContract):
    """The real Kafka; its fixtures are those of this folder."""


@pytest.mark.asyncio
async def test_what_the_api_server_refuses_is_refused_with_its_words(api_server: ApiServer, namespace: str) -> None:
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "bad"},
        "spec": {"ports": [{"port": 0}]},
    }
    with pytest.raises(KubeRefused, match="must be between 1 and 65535"):
        await api_server.apply_child(service)


@pytest.mark.asyncio
async def test_the_crd_is_found_where_it_is_installed(cluster: Cluster, api_server: ApiServer) -> None:
    assert await api_server.is_served()


@pytest.mark.asyncio
async def test_an_api_server_out_of_reach_is_told_as_such(environment: Environment) -> None:
    configuration = await load_configuration(environment.kubeconfig)
    with closed_port() as port:
        configuration.host = f"https://127.0.0.1:{port}"
        server = ApiServer(configuration, metrics=Metrics())
        with pytest.raises(KubeUnavailable, match="gave no answer to GET"):
            await server.get_resource("default", "store")
        await server.close()


class closed_port:  # noqa: N801 -- reads as the function it is used as
    """A port on loopback that refuses connections, kept from others meanwhile."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound, and not listening
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.asyncio
async def test_a_broker_that_refuses_connections_is_told_in_time_with_the_reason() -> None:
    with closed_port() as port:
        metrics = Metrics()
        admin = ConfluentAdmin(f"127.0.0.1:{port}", metrics=metrics, request_seconds=1)
        began = time.monotonic()
        with pytest.raises(KafkaSilent, match=f"127.0.0.1:{port}.*Connection refused$"):
            await admin.describe_topic("any")
        assert time.monotonic() - began < 2.5
        failures = metrics.registry.get_sample_value(
            "slkv_operator_kafka_request_failures_total", {"operation": "describe_topics"}
        )
        assert failures == 1
        await admin.close()


@pytest.mark.asyncio
async def test_a_broker_that_accepts_and_never_answers_holds_nobody_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        admin = ConfluentAdmin(f"127.0.0.1:{silent.getsockname()[1]}", metrics=Metrics(), request_seconds=1)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        began = time.monotonic()
        with pytest.raises(KafkaSilent, match="no answer"):
            await admin.count_brokers()
        assert time.monotonic() - began < 2.5
        assert ticks > 50, "the event loop was blocked"
        ticking.cancel()
        await admin.close()


@pytest.mark.asyncio
async def test_a_name_that_does_not_resolve_is_told_as_such() -> None:
    admin = ConfluentAdmin("kafka.invalid:9092", metrics=Metrics(), request_seconds=1)
    with pytest.raises(KafkaSilent, match="Failed to resolve"):
        await admin.count_brokers()
    await admin.close()


def kafka_threads() -> set[str]:
    """Librdkafka's threads in this process; clients of other tests may have some."""
    gc.collect()  # a failed test before this one may hold a client by its traceback
    tasks = Path("/proc/self/task").iterdir()
    return {task.name for task in tasks if task.joinpath("comm").read_text().startswith("rdk:")}


@pytest.mark.asyncio
async def test_a_closed_client_leaves_no_thread_behind(environment: Environment) -> None:
    before = kafka_threads()
    admin = ConfluentAdmin(environment.kafka, metrics=Metrics())
    assert await admin.count_brokers() >= 1
    assert kafka_threads() - before
    await admin.close()
    assert not kafka_threads() - before
