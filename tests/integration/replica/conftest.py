"""A store with a leader, in processes of their own, on each kind of log that several processes can share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.environment import Environment
from tests.support.kafka import KafkaCluster
from tests.support.led_store import LedStore


@contextmanager
def running(log: str, folder: Path) -> Iterator[LedStore]:
    """A store of three replicas, which end with the context."""
    store = LedStore(log, folder)
    try:
        store.start()
        yield store
    finally:
        store.stop()


@pytest.fixture(scope="session")
def kafka_cluster(environment: Environment) -> KafkaCluster:
    """The Kafka of the environment, with all rights."""
    return KafkaCluster(environment.kafka)


@pytest.fixture(scope="module")
def topic(kafka_cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty topic."""
    folder = tmp_path_factory.mktemp("topic")
    name = f"led-{folder.parent.name}-{folder.name}"
    kafka_cluster.create_topic(name)
    yield name
    kafka_cluster.delete_topic(name)


@pytest.fixture(scope="module")
def file_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedStore]:
    """A store on a log in a file, which the tests of a module share."""
    folder = tmp_path_factory.mktemp("store")
    with running(f"file://{folder}/log", folder) as store:
        yield store


@pytest.fixture(scope="module")
def kafka_store(environment: Environment, topic: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedStore]:
    """A store on Kafka, which the tests of a module share."""
    with running(f"kafka://{environment.kafka}/{topic}", tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(name="store", params=["file_store", "kafka_store"], ids=["file", "kafka"])
def _store(request: pytest.FixtureRequest) -> LedStore:
    """A store, with all its replicas, whatever an earlier test has done to them."""
    store: LedStore = request.getfixturevalue(request.param)
    store.start()
    return store
