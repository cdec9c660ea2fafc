"""Fixtures of the tests that run the real images on a real cluster. A failing test shows every log that one needs."""

import json
import uuid
from collections.abc import Callable, Generator, Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.breakage import Fault, breaking
from tests.support.cluster import CHART, Cluster, image_settings
from tests.support.diagnosis import sections
from tests.support.environment import Environment
from tests.support.store import Store

RELEASE = "sharedlogkv"
OPERATOR_NAMESPACE = "sharedlogkv-system"


@pytest.fixture(scope="session")
def cluster(environment: Environment) -> Cluster:
    """The cluster, as it is."""
    return Cluster(environment)


@pytest.fixture(scope="session", autouse=True)
def operator(cluster: Cluster) -> Iterator[None]:
    """The operator of this checkout, installed by its chart, and running."""
    words = ("--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--take-ownership", "--wait", "--timeout=3m")
    cluster.helm(
        "upgrade", "--install", RELEASE, str(CHART), *words, *image_settings(cluster.environment.image), seconds=200
    )
    if cluster.environment.testbed:
        # One that was kept has the operator of the last run, by the same name of the image.
        cluster.kubectl("rollout", "restart", f"deployment/{RELEASE}", namespace=OPERATOR_NAMESPACE)
        cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", namespace=OPERATOR_NAMESPACE, seconds=120)
    yield
    if not cluster.environment.testbed:  # leave somebody's cluster as it was; a testbed goes as a whole
        cluster.helm("uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait")


@pytest.fixture
def fault(environment: Environment) -> Iterator[Fault]:
    """Breaks or mends something of the testbed; what is broken at the end of the test is mended."""
    with breaking(environment) as fault:
        yield fault


@pytest.fixture(scope="session")
def kafka(environment: Environment) -> AdminClient:
    """An administrator of Kafka."""
    return AdminClient({"bootstrap.servers": environment.kafka})


@pytest.fixture
def namespace(cluster: Cluster, kafka: AdminClient) -> Iterator[str]:
    """A namespace of the test's own, which takes none but restricted pods; removed afterwards with its topics."""
    name = f"slkv-e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(manifest))
    yield name
    cluster.kubectl("delete", "slkv", "--all", "--wait=false", namespace=name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    topics = [topic for topic in kafka.list_topics(timeout=10).topics if topic.startswith(f"{name}.")]
    if topics:
        for deleted in kafka.delete_topics(topics, operation_timeout=10).values():
            deleted.result(timeout=20)


@pytest.fixture
def make_store(cluster: Cluster, kafka: AdminClient, namespace: str) -> Callable[[str], Store]:
    """Return a store of this name in the test's namespace; it is not applied yet."""
    brokers = len(kafka.list_topics(timeout=10).brokers)
    return lambda name: Store(cluster, namespace, name, brokers)


@pytest.fixture
def store(make_store: Callable[[str], Store]) -> Store:
    """A store that is applied with three replicas, and Ready."""
    store = make_store("settings")
    store.apply(replicas=3)
    store.await_ready()
    return store


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the cluster shows, before the test's namespace goes."""
    report = yield
    found = getattr(item, "funcargs", {})
    if report.failed and "cluster" in found:
        where = found.get("namespace", "default")
        report.sections += sections(found["cluster"], namespace=where, operator_namespace=OPERATOR_NAMESPACE)
    return report
