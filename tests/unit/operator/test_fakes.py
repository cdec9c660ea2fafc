"""The fakes keep the contracts of what they stand in for."""

import copy
from typing import Any

import pytest

from sharedlogkv_operator.kafka_admin import KafkaAdmin
from tests.support.kafka_contract import KafkaAdminContract
from tests.support.kube_contract import KubeContract, KubeSite
from tests.support.operator_fakes import FakeKafka, FakeKube
from tests.support.operator_objects import build_resource_body

Manifest = dict[str, Any]


class FakeSite:
    """A fake cluster with the resource `demo/store`."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.namespace = "demo"
        self.kube.put(build_resource_body())

    async def read(self, kind: str, name: str) -> Manifest | None:
        """See `KubeSite`."""
        if kind == "SharedLogKV":
            return copy.deepcopy(self.kube.resources.get(("demo", name)))
        if kind == "Event":
            return copy.deepcopy(self.kube.events.get(name))
        return copy.deepcopy(self.kube.children.get((kind, "demo", name)))

    async def annotate(self, annotations: dict[str, str]) -> None:
        """See `KubeSite`."""
        self.kube.resources["demo", "store"]["metadata"]["annotations"] = dict(annotations)

    async def recreate(self) -> None:
        """See `KubeSite`."""
        self.kube.put(build_resource_body(metadata={"uid": "the-next"}))


class TestFakeKube(KubeContract):
    """The fake API server."""

    @pytest.fixture
    def site(self) -> KubeSite:
        return FakeSite()


class TestFakeKafka(KafkaAdminContract):
    """The fake Kafka cluster."""

    @pytest.fixture
    def admin(self) -> KafkaAdmin:
        return FakeKafka()

    @pytest.fixture
    def topic(self) -> str:
        return "topic"
