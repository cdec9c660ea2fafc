"""Breaking and mending the testbed from a test."""

from collections.abc import Callable

import pytest

from tests.support.commands import run
from tests.support.environment import Environment

Fault = Callable[..., None]
"""Breaks or mends something of the testbed, by the words of its command `fault`."""


def fault_of(environment: Environment) -> Fault:
    """What breaks and mends the testbed that the tests run in; fails the test where there is none."""
    testbed = environment.testbed
    if testbed is None:
        pytest.fail("this breaks things, so it needs the testbed: deselect it on a cluster of yours by -m 'not faults'")

    def act(*words: str) -> None:
        run(testbed, "fault", *words, timeout_seconds=90)

    return act
