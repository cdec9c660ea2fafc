"""Fixtures of the tests against a real Kafka and a real API server; there need be no nodes."""

import json
import uuid
from collections.abc import Generator, Iterator

import pytest

from tests.support.cluster import REPOSITORY, Cluster
from tests.support.diagnosis import broker_sections
from tests.support.environment import Environment


@pytest.fixture(scope="session")
def cluster(environment: Environment) -> Cluster:
    """The cluster, with the CRD of this checkout."""
    cluster = Cluster(environment)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(REPOSITORY / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/sharedlogkvs.sharedlog.dev", "--timeout=30s")
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, which takes none but restricted pods; removed afterwards."""
    name = f"slkv-integration-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(manifest))
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the brokers logged."""
    report = yield
    environment = getattr(item, "funcargs", {}).get("environment")
    if report.failed and isinstance(environment, Environment):
        report.sections += broker_sections(environment)
    return report
