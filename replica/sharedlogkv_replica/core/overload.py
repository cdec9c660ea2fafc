"""How much of the reads must be turned away so that the map keeps up with the log: pure.

Reads and records share one CPU. Where reads leave too little of it to records, the map falls behind, and every answer
is older than the one before. So from a quarter of the greatest lag on reads are turned away, the more the further
behind the map is; lag then settles where what is left suffices. Only while records are at hand and wait for the CPU:
nothing would be gained by it where the log itself is slow or away.
"""

from typing import Final

BEGINS_AT: Final = 0.25
ENDS_AT: Final = 0.75
"""The shares of the greatest lag at which the first reads are turned away, and at which most are."""
LARGEST_SHARE: Final = 0.9
"""Some reads are always answered: where even that is too much, the log is written faster than any map keeps up with."""
AT_HAND: Final = 0.5
"""Waiting for the log for more than this share of the time shows that the CPU is not what is missing."""


def share_to_shed(lag_seconds: float, limit_seconds: float, *, waiting_share: float) -> float:
    """The share of reads to turn away, from 0 to `LARGEST_SHARE`.

    Args:
        lag_seconds: by how much the map is behind.
        limit_seconds: by how much it may be; 0 means that no read is ever turned away.
        waiting_share: the share of the last moment in which no record was at hand, from 0 to 1.
    """
    if limit_seconds <= 0 or waiting_share > AT_HAND:
        return 0.0
    progress = (lag_seconds / limit_seconds - BEGINS_AT) / (ENDS_AT - BEGINS_AT)
    return LARGEST_SHARE * max(0.0, min(progress, 1.0))


def is_urgent(lag_seconds: float, limit_seconds: float) -> bool:
    """Whether records at hand go before reads: from half of the lag on at which the first read would be turned away."""
    return 0 < limit_seconds * BEGINS_AT / 2 < lag_seconds
