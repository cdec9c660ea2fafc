"""Breaking and mending the testbed from a test; what a test leaves broken is mended behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import pytest

from tests.support.commands import run
from tests.support.environment import Environment

MENDS: Final = {
    "broker-kill": "broker-start",
    "broker-stop": "broker-start",
    "broker-pause": "broker-resume",
    "node-kill": "node-start",
    "node-pause": "node-resume",
    "apiserver-stop": "apiserver-start",
}
"""What undoes a fault, on the same thing."""
TIMEOUT_SECONDS: Final = 90.0


class Fault(Protocol):
    """Breaks or mends something of the testbed, by the words of its command `fault`."""

    def __call__(self, *words: str) -> None: ...


@contextmanager
def breaking(environment: Environment) -> Iterator[Fault]:
    """Give what breaks and mends the testbed that the tests run in; mend what is broken still at the end.

    Otherwise a test that fails in the middle would have the tests after it fail for nothing. It fails the test where
    there is no testbed.
    """
    testbed = environment.testbed
    if testbed is None:
        pytest.fail("this breaks things, so it needs the testbed: deselect it on a cluster of yours by -m 'not faults'")
    mends: list[tuple[str, ...]] = []

    def act(*words: str) -> None:
        if words in mends:
            mends.remove(words)
        elif words[0] in MENDS:
            mends.append((MENDS[words[0]], *words[1:]))
        run(testbed, "fault", *words, timeout_seconds=TIMEOUT_SECONDS)

    try:
        yield act
    finally:
        while mends:
            run(testbed, "fault", *mends.pop(), timeout_seconds=TIMEOUT_SECONDS)
