"""Who leads, as one replica sees it: the value that the election hands to whoever must find the leader."""

import enum
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.leadership import Term


class Role(enum.Enum):
    """A replica's part in the election; the values appear in `/status`."""

    LEADER = "leader"
    CANDIDATE = "candidate"
    FOLLOWER = "follower"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LeaderView:
    """Who leads, as one replica knows.

    Attributes:
        role: this replica's own; `NONE` where the write mode has no leader.
        term: the leader's; None where nobody is known to lead, then `name` and `address` too.
        name: the leader's name, maybe this replica's.
        address: `host:port` at which its peers reach it; empty where it has none.
        refusal: why the log refused this replica's last claim; None where it did not.
    """

    role: Role
    term: Term | None = None
    name: str | None = None
    address: str | None = None
    refusal: str | None = None


NOBODY: Final = LeaderView(Role.NONE)
"""Nobody leads, as far as is known."""
