"""Many stores on one operator: what it takes of memory, and how soon it sees to each.

A hundred, or as many as the variable STORES says: docs/performance.md tells of 500. The bounds are wide, for machines
that are busy with other things. There need be no nodes: stores whose pods never run are the most work.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from statistics import median

import pytest
import pytest_asyncio
from confluent_kafka.admin import AdminClient

from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, build_store, condition, until
from tests.support.operator_process import Running, running

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

STORES = int(os.environ.get("STORES", "100"))
AT_ONCE = 16
LIMIT_MIB = 256
"""The memory limit of the chart."""

RESYNC_SECONDS = 15
LATENCY_SECONDS = 30


@pytest_asyncio.fixture
async def names(environment: Environment, namespace: str) -> AsyncIterator[list[str]]:
    """The names of the stores; their topics, which bear the same after the namespace's, are removed afterwards."""
    names = [f"store-{number}" for number in range(STORES)]
    yield names
    kafka = AdminClient({"bootstrap.servers": environment.kafka})
    topics = [topic for topic in kafka.list_topics(timeout=10).topics if topic.startswith(f"{namespace}.")]
    if topics:
        for deleted in kafka.delete_topics(topics, operation_timeout=60).values():
            await asyncio.to_thread(deleted.result, 90)


async def test_many_stores_are_seen_to_within_the_memory_and_the_time_that_are_promised(
    cluster: Cluster,
    environment: Environment,
    api: KubeApi,
    namespace: str,
    names: list[str],
    record_property: Callable[[str, object], None],
) -> None:
    async with running(environment.kubeconfig, namespaces=namespace, resync_seconds=RESYNC_SECONDS) as operator:
        await until(operator.is_ready, what="a ready operator")
        began = time.monotonic()
        await at_once(create(api, environment, namespace, name) for name in names)
        created = time.monotonic() - began

        async def count_bound() -> int:
            stores = await api.list("SharedLogKV", namespace)
            return sum(condition(store, "TopicReady").get("status") == "True" for store in stores)

        async def are_all_bound() -> bool:
            return await count_bound() == STORES

        await until(are_all_bound, what="every topic", timeout_seconds=600, every_seconds=2)
        bound = time.monotonic() - began
        for kind in ("Deployment", "Service", "Secret"):
            assert len(await api.list(kind, namespace)) == STORES, kind

        before = passes(await metrics(operator))
        settled = time.monotonic()
        latencies = [await scale(api, namespace, name) for name in names[:: max(1, STORES // 10)]]
        rate = (passes(await metrics(operator)) - before) / (time.monotonic() - settled)
        peak_mib = peak_of(operator)
        figures = {
            "created_seconds": round(created, 1),
            "bound_seconds": round(bound, 1),
            "median_latency_seconds": round(median(latencies), 2),
            "worst_latency_seconds": round(max(latencies), 2),
            "passes_per_second": round(rate, 1),
            "peak_mib": round(peak_mib),
        }
        print(figures)
        for name, value in figures.items():
            record_property(name, value)
        assert peak_mib < LIMIT_MIB, figures
        assert median(latencies) < LATENCY_SECONDS, figures
        text = await metrics(operator)
        assert sample(text, "slkv_operator_reconcile_errors_total") == 0
        assert (await operator.get("/healthz"))[0] == 200


async def create(api: KubeApi, environment: Environment, namespace: str, name: str) -> None:
    await api.create("SharedLogKV", build_store(namespace, name, servers=environment.kafka, replicas=1))


async def scale(api: KubeApi, namespace: str, name: str) -> float:
    """Scales a store; the seconds until its Deployment follows."""
    began = time.monotonic()
    await api.patch("SharedLogKV", namespace, name, {"spec": {"replicas": 2}})

    async def follows() -> bool:
        deployment = await api.get("Deployment", namespace, name)
        return deployment is not None and deployment["spec"]["replicas"] == 2

    await until(follows, what=f"the Deployment of {name}", timeout_seconds=120)
    return time.monotonic() - began


async def at_once(jobs: Iterable[Awaitable[None]]) -> None:
    """Runs the jobs, so many at a time."""
    free = asyncio.Semaphore(AT_ONCE)

    async def run(job: Awaitable[None]) -> None:
        async with free:
            await job

    await asyncio.gather(*(run(job) for job in jobs))


async def metrics(operator: Running) -> str:
    return (await operator.get("/metrics"))[1]


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


def passes(text: str) -> float:
    return sample(text, "slkv_operator_reconcile_duration_seconds_count")


def peak_of(operator: Running) -> float:
    """The most memory that the process had at any time, in MiB."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024
