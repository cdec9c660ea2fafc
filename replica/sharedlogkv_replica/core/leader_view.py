"""Who leads, as one replica sees it."""

import enum
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.leadership import Term


class Role(enum.Enum):
    """What a replica is in the election; the values appear in `/status`."""

    LEADER = "leader"
    CANDIDATE = "candidate"
    FOLLOWER = "follower"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LeaderView:
    """Who leads, as one replica sees it.

    Attributes:
        role: what the replica itself is; `NONE` where nobody leads at all, as the write mode says.
        term: the newest term that it knows of, even if that has ended; None before the first.
        name: that term's leader; None while nobody leads.
        address: `host:port` at which its peers reach it; None while nobody leads.
    """

    role: Role
    term: Term | None
    name: str | None
    address: str | None


NOBODY: Final = LeaderView(Role.NONE, None, None, None)
