"""What can befall a broker of the testbed."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

Break: TypeAlias = Callable[..., Awaitable[None]]
"""Breaks or mends something of the testbed, by the words of its command `fault`."""

BROKER_FAULTS: Final = [
    ("broker-kill {0}", "broker-start {0}"),
    ("broker-pause {0}", "broker-resume {0}"),
    ("broker-partition {0}", "heal kafka{0}"),
]
"""How a broker fails, and how that is mended, by its number."""
