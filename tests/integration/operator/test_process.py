"""The operator as a process: its rights, its watches, its stop, its death, and what trouble may not spread."""

import asyncio
import base64
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from tests.support.chart_rights import log_in_as_operator
from tests.support.cluster import Cluster
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, build_store, condition, until
from tests.support.operator_process import environment_of, running
from tests.support.secured_kafka import SecuredKafka, kafka_fields, secrets_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

Manifest = dict[str, Any]

NOWHERE = "127.0.0.1:1"


@pytest_asyncio.fixture
async def kubeconfig(cluster: Cluster, api: KubeApi, namespace: str, tmp_path: Path) -> Path:
    """Logs in as the chart's service account, which has the chart's rights in this namespace and no others."""
    values = {"watchNamespaces": f'["{namespace}"]', "rbac__aggregateRoles": "false"}
    return await log_in_as_operator(cluster, api, tmp_path, release_namespace=namespace, **values)


async def ready_topic(api: KubeApi, namespace: str, name: str = "store") -> Manifest | None:
    """The store, if its topic is ready and its Deployment is there."""
    body = await api.get("SharedLogKV", namespace, name)
    if condition(body, "TopicReady").get("status") != "True":
        return None
    return body if await api.get("Deployment", namespace, name) else None


def store(environment: Environment, namespace: str, topic: str, *, policy: str = "Retain", **spec: Any) -> Manifest:
    fields = {
        "name": topic,
        "replicationFactor": 1,
        "minInSyncReplicas": 1,
        "reclaimPolicy": policy,
        "allowDataLoss": True,
    }
    return build_store(namespace, servers=environment.kafka, **{"topic": fields, **spec})


async def test_with_the_chart_s_rights_in_one_namespace_it_does_all_that_it_must(
    environment: Environment, api: KubeApi, kubeconfig: Path, namespace: str, topic: str, admin: ConfluentAdmin
) -> None:
    async with running(kubeconfig, namespaces=namespace) as operator:
        await until(operator.is_ready, what="a ready operator")
        manifest = store(environment, namespace, topic, policy="Delete", replicas=2)
        await api.create("SharedLogKV", manifest)
        body = await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")
        assert body["metadata"]["finalizers"] == ["sharedlog.dev/topic"]
        assert "annotations" not in body["metadata"]
        await api.patch("SharedLogKV", namespace, "store", {"spec": {"replicas": 1}})

        async def budget_is_gone() -> bool:
            return await api.get("PodDisruptionBudget", namespace, "store") is None

        await until(budget_is_gone, what="the end of the disruption budget")
        # A second event of the same kind is counted: that needs rights of its own.
        await admin.alter_topic(topic, {"cleanup.policy": "compact,delete"})
        await api.patch("SharedLogKV", namespace, "store", {"spec": {"replicas": 2}})

        async def reconfigured(times: int) -> bool:
            events = await api.list("Event", namespace)
            counts = [event["count"] for event in events if event["reason"] == "TopicReconfigured"]
            return counts == [times]

        await until(lambda: reconfigured(1), what="the setting set back")
        await admin.alter_topic(topic, {"cleanup.policy": "compact,delete"})
        await api.patch("SharedLogKV", namespace, "store", {"spec": {"replicas": 3}})
        await until(lambda: reconfigured(2), what="the setting set back again")

        await api.delete("SharedLogKV", namespace, "store")

        async def is_gone() -> bool:
            return await api.get("SharedLogKV", namespace, "store") is None

        await until(is_gone, what="the end of the resource")
        assert await admin.describe_topic(topic) is None
        assert await operator.stop() == 0
    told = [line for line in operator.lines if line["level"] in ("warning", "error")]
    assert told == []


@pytest.mark.secured
async def test_with_the_chart_s_rights_it_reads_the_secrets_that_a_store_refers_to(
    api: KubeApi, kubeconfig: Path, namespace: str, topic: str, cluster: Cluster, secured_kafka: SecuredKafka
) -> None:
    user = secured_kafka.create_user("SCRAM-SHA-512")
    secured_kafka.grant(user, topic)
    secrets = {"ca": {"ca.crt": secured_kafka.ca.read_text()}, "login": secrets_of(user)}
    for name, texts in secrets.items():
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}
        await api.call("POST", f"/api/v1/namespaces/{namespace}/secrets", body=manifest)
    fields = {"name": topic, "replicationFactor": 1, "minInSyncReplicas": 1}
    kafka = {"bootstrapServers": user.servers, **kafka_fields(user)}
    async with running(kubeconfig, namespaces=namespace) as operator:
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", build_store(namespace, kafka=kafka, topic=fields))
        await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")
    assert [line for line in operator.lines if line["level"] in ("warning", "error")] == []
    assert secrets_of(user)["password"] not in str(operator.lines)


async def test_changes_are_seen_at_once(
    environment: Environment, api: KubeApi, namespace: str, topic: str, cluster: Cluster
) -> None:
    async with running(environment.kubeconfig, namespaces=namespace) as operator:
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", store(environment, namespace, topic, replicas=1))
        await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")
        first = await api.get("Deployment", namespace, "store")
        assert first is not None
        await api.delete("Deployment", namespace, "store", propagationPolicy="Background")

        async def is_another() -> bool:
            found = await api.get("Deployment", namespace, "store")
            return found is not None and found["metadata"]["uid"] != first["metadata"]["uid"]

        await until(is_another, what="the Deployment made anew")
        cluster.kubectl("wait", "slkv/store", "--for=condition=TopicReady", "--timeout=20s", namespace=namespace)
        body = await api.get("SharedLogKV", namespace, "store")
        assert body is not None
        assert "finalizers" not in body["metadata"]
        assert "annotations" not in body["metadata"]


@pytest.mark.timeout(300)
async def test_a_store_at_rest_costs_no_write_however_often_it_is_looked_at(
    environment: Environment, api: KubeApi, namespace: str, topic: str
) -> None:
    async with running(environment.kubeconfig, namespaces=namespace, resync_seconds=1) as operator:
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", store(environment, namespace, topic, replicas=2))
        await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")

        async def count() -> tuple[float, float]:
            """How many passes there were, and how many writes to the API server."""
            lines = (await operator.get("/metrics"))[1].splitlines()
            writes = [line for line in lines if re.match(r'slkv_operator_kube_requests_total\{method="(?!GET)', line)]
            (passes,) = [line for line in lines if line.startswith("slkv_operator_reconcile_duration_seconds_count")]
            return float(passes.split()[-1]), sum(float(line.split()[-1]) for line in writes)

        begin: tuple[float, float] = await count()
        version = ""

        async def rests() -> bool:
            """Ten passes in a row without a write."""
            nonlocal begin, version
            passes, writes = await count()
            if writes != begin[1] or not version:
                begin = passes, writes
                body = await api.get("SharedLogKV", namespace, "store")
                assert body is not None
                version = body["metadata"]["resourceVersion"]
            return passes >= begin[0] + 10

        await until(rests, what="ten passes in a row without a write", timeout_seconds=240, every_seconds=0.5)
        body = await api.get("SharedLogKV", namespace, "store")
        assert body is not None
        assert body["metadata"]["resourceVersion"] == version


async def test_a_killed_operator_s_successor_goes_on_where_it_was(
    environment: Environment, api: KubeApi, namespace: str, topic: str, admin: ConfluentAdmin
) -> None:
    async def has_topic() -> bool:
        return await admin.describe_topic(topic) is not None

    async with running(environment.kubeconfig, namespaces=namespace) as operator:
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", store(environment, namespace, topic))
        await until(has_topic, what="a topic", every_seconds=0.001)
        assert await operator.stop(signal.SIGKILL) == -signal.SIGKILL
    made = await admin.describe_topic(topic)
    assert made is not None
    async with running(environment.kubeconfig, namespaces=namespace):
        body = await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")
    assert body["status"]["topic"]["id"] == made.id
    assert condition(body, "Stalled")["status"] == "False"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_cleanly_in_seconds_even_while_kafka_does_not_answer(
    environment: Environment, api: KubeApi, namespace: str, number: signal.Signals
) -> None:
    await api.create("SharedLogKV", build_store(namespace, servers=NOWHERE))
    async with running(environment.kubeconfig, namespaces=namespace) as operator:
        await until(operator.is_ready, what="a ready operator")

        async def is_under_way() -> bool:
            return 'describe_topics"} 1.0' in (await operator.get("/metrics"))[1]

        await until(is_under_way, what="a request to Kafka")
        began = time.monotonic()
        assert await operator.stop(number) == 0
        assert time.monotonic() - began < 12
    assert [line["message"] for line in operator.lines][-1] == "stopped"


async def test_a_dead_kafka_cluster_delays_no_store_on_another(
    environment: Environment, api: KubeApi, namespace: str, topic: str
) -> None:
    for index in range(8):
        await api.create("SharedLogKV", build_store(namespace, f"dead-{index}", servers=NOWHERE))
    async with running(environment.kubeconfig, namespaces=namespace, workers=2) as operator:
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", store(environment, namespace, topic))
        # One of the two workers is always free: well before a dead cluster's first deadline.
        await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment", timeout_seconds=10)

        async def are_all_told() -> bool:
            stores = await api.list("SharedLogKV", namespace)
            reasons = [condition(body, "Ready").get("reason") for body in stores]
            return reasons.count("KafkaUnavailable") == 8

        await until(are_all_told, what="the trouble told of each", timeout_seconds=60)
        status, text = await operator.get("/metrics")
        assert status == 200
        assert 'slkv_operator_resources{condition="TopicReady",status="Unknown"} 8.0' in text
        assert (await operator.get("/healthz"))[0] == 200


async def test_without_rights_it_waits_and_says_so_and_goes_on_once_it_has_them(
    environment: Environment, api: KubeApi, kubeconfig: Path, namespace: str, topic: str
) -> None:
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    found = (await api.call("GET", bindings))["items"]
    (binding,) = [item for item in found if not item["metadata"]["name"].endswith("-lease")]
    name = binding["metadata"]["name"]
    await api.call("DELETE", f"{bindings}/{name}")
    async with running(kubeconfig, namespaces=namespace) as operator:

        async def has_complained() -> bool:
            return any("forbidden" in str(line.get("error")) for line in operator.lines)

        await until(has_complained, what="a word about the missing rights")
        assert (await operator.get("/healthz"))[0] == 200
        status, text = await operator.get("/readyz")
        assert (status, text) == (503, "not watching yet\n")
        metadata = {"name": name, "namespace": namespace}
        again = {"metadata": metadata, "roleRef": binding["roleRef"], "subjects": binding["subjects"]}
        await api.call("POST", bindings, body=again)
        await until(operator.is_ready, what="a ready operator")
        await api.create("SharedLogKV", store(environment, namespace, topic))
        await until(lambda: ready_topic(api, namespace), what="a topic and a Deployment")


async def test_what_is_wrong_with_its_configuration_is_told_at_once_with_exit_status_2(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sharedlogkv_operator", "--workers", "none"),
        env=environment_of(tmp_path / "absent", replica_image="", log_level="loud"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    for word in ("SLKV_OPERATOR_REPLICA_IMAGE", "SLKV_OPERATOR_WORKERS", "SLKV_OPERATOR_LOG_LEVEL"):
        assert word in errors.decode()


async def test_no_way_to_log_in_is_told_with_exit_status_2(tmp_path: Path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text(base64.b64encode(b"nonsense").decode())
    for path in (broken, tmp_path / "absent"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sharedlogkv_operator"),
            env=environment_of(path),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 2, errors
        assert "no way to log in to Kubernetes" in errors.decode()
