"""What every test shares: where the system tests run, and a clear word when they can't."""

import os

import pytest

from tests.support.environment import Environment, EnvironmentIncomplete, parse_environment


@pytest.fixture(scope="session")
def environment() -> Environment:
    """The cluster and the Kafka to run on."""
    try:
        return parse_environment(os.environ)
    except EnvironmentIncomplete as error:
        pytest.exit(str(error), returncode=2)
