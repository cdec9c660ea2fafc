"""What every test shares: where the system tests run, and a clear word when they can't."""

import os
from typing import Final

import pytest

from tests.support.environment import Environment, EnvironmentIncomplete, parse_environment
from tests.support.secured_kafka import SecuredKafka

CRASH_CHARACTERS: Final = 200


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what failed, a line each: pytest's own summary has the whole of a long message for each test."""
    reports = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
    if reports:
        terminalreporter.section("what failed")
    for report in reports:
        terminalreporter.line(f"{report.nodeid} ({report.when})")
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else report.longreprtext
        terminalreporter.line(f"    {' '.join(message.split())[:CRASH_CHARACTERS]}")


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
