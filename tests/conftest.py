"""What every test shares: where the system tests run, and a clear word when they can't."""

import os

import pytest

from tests.support.environment import Environment, EnvironmentIncomplete, parse_environment
from tests.support.secured_kafka import SecuredKafka


@pytest.fixture(scope="session")
def environment() -> Environment:
    """The cluster and the Kafka to run on."""
    try:
        return parse_environment(os.environ)
    except EnvironmentIncomplete as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def secured_kafka(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> SecuredKafka:
    """The Kafka of the testbed, at its listeners that demand a login."""
    assert environment.testbed, "this needs the testbed's users: deselect it on a Kafka of yours by -m 'not secured'"
    return SecuredKafka(os.environ, tmp_path_factory.mktemp("kafka"))
