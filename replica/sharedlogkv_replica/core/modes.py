"""Who may write, and in what standing a replica is: the two small vocabularies that every layer shares."""

import enum
from dataclasses import dataclass


class WriteMode(enum.Enum):
    """How writes reach the log; the values are those of the resource's `writeMode`."""

    LEADER = "Leader"
    LEADERLESS = "Leaderless"
    READ_ONLY = "ReadOnly"


class Reason(enum.Enum):
    """Why a replica is Ready or not; the values appear in `/status` and `/readyz`."""

    STARTING = "Starting"
    REPLAYING = "Replaying"
    SERVING = "Serving"
    STOPPING = "Stopping"
    LOG_UNAVAILABLE = "LogUnavailable"
    LOG_REFUSED = "LogRefused"
    LOG_REPLACED = "LogReplaced"
    LOG_TRUNCATED = "LogTruncated"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the replica answers data requests, and why (not).

    Attributes:
        ready: data requests are answered; new ones may be routed here unless `reason` is `STOPPING`.
        reason: one word for machines.
        message: one sentence for people: what is the matter, and what ends it.
    """

    ready: bool
    reason: Reason
    message: str
