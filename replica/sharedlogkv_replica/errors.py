"""Every error that the replica raises on purpose.

Three families, told apart because the caller must act differently: the user's mistake (`ConfigError`, `InvalidToken`,
`RecordTooLarge`, `LogRefused`), a passing fault (`LogUnavailable`, `NoLeader`, `Fenced`, `OutcomeUnknown`,
`WaitTimeout`, `PeerRefused`) and a log that is no longer the one that was followed (`LogReplaced`, `LogTruncated`).
Anything else that escapes is a bug.
"""

import enum


class ReplicaError(Exception):
    """The root of them all; the text says what is wrong, with the value, and what to do."""


class ConfigError(ReplicaError):
    """The configuration can't be used; lists every problem found, one a line."""


class InvalidToken(ReplicaError):
    """A `SLKV-Token` does not have the form `<log id>:<partition>:<offset>`."""


class RecordTooLarge(ReplicaError):
    """A record or an atomic group exceeds what the log takes in one batch; nothing was written."""


class LogRefused(ReplicaError):
    """The log says no for good: the topic is missing or unfit, or we lack the rights. Waiting does not help."""


class LogUnavailable(ReplicaError):
    """The log can't be reached or is overloaded at the moment; nothing was written, so a retry is safe."""


class NoLeader(ReplicaError):
    """Nobody leads at the moment, or the leader can't be reached; nothing was written, so a retry is safe."""


class Fenced(ReplicaError):
    """Another replica has claimed the log since; nothing was written, nor will this claim ever write again."""


class OutcomeUnknown(ReplicaError):
    """A batch was sent and its answer never came: it may be in the log or not, now or a little later."""


class LogReplaced(ReplicaError):
    """The topic has another id than the one followed: it was deleted and created anew. The map is of no worth."""


class LogTruncated(ReplicaError):
    """The log no longer has the position that we read from: it lost records that we may have applied."""


class WaitTimeout(ReplicaError):
    """A read waited for the map to reach an offset, and its deadline came first."""


class PeerFault(enum.Enum):
    """Why a connection between replicas was not made, or ended; the values are labels of the metrics."""

    SECRET = "secret"
    NO_SECRET = "no-secret"
    LOG = "log"
    VERSION = "version"
    MALFORMED = "malformed"
    OVERSIZE = "oversize"
    SILENT = "silent"
    SLOW = "slow"
    CROWDED = "crowded"
    UNREACHABLE = "unreachable"


class PeerRefused(ReplicaError):
    """A connection between replicas can't be made or must end; the fault says why in one word, the text in full."""

    def __init__(self, fault: PeerFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
