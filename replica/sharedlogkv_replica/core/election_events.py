"""What the election is told, what it asks for and what it shows: the words between `core/election.py` and its caller.

Times are monotonic seconds of one clock of this process. `started` is always a time *before* the thing was produced,
since a lease counts from there.

The caller's duties:

1. `step` each event in the order in which it happened, with the time as of now, which never falls; `Followed` for every
   leadership record that the map has applied, from the log's beginning on; a `Tick` at `Election.next_wake`.
2. Carry out the effects in their order, one claim, resignation or batch at a time: each begins once the one before has
   ended. `StartClaim` is answered by one `ClaimAcknowledged` or `ClaimFailed`, `SendResign` by one `ResignAcknowledged`
   or `ResignFailed`, come what may; both have deadlines.
3. Ask `may_append` before each batch is sent, and step a `Tick` where it is false; ask `lease_holds` after a reply was
   computed and before it is sent.
4. `Fit(True)` only while the map is caught up, so that a claim that is in the log has been seen.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Term, Writer
from sharedlogkv_replica.core.records import Offset


@dataclass(frozen=True, slots=True)
class ElectionConfig:
    """One replica's part in the election.

    Attributes:
        name: this replica's.
        address: `host:port` at which its peers reach it; empty where they do not.
        jitter: a random number in [0, 1), drawn once: keeps replicas of one rank apart.
        lease_seconds: for how long one sign of life vouches for the leader.
        rank_seconds: by how much each heir waits longer than the one before it.
        drift: by which fraction two clocks may differ in rate.
    """

    name: str
    address: str
    jitter: float
    lease_seconds: float = 3.0
    rank_seconds: float = 0.2
    drift: float = 0.05

    @property
    def lease_ms(self) -> int:
        """The lease as it stands in claims; whatever counts on the lease uses this, rounded down."""
        return int(self.lease_seconds * 1000)

    @property
    def silence_seconds(self) -> float:
        """For how long the others wait for a sign of life of this replica, once it leads."""
        return self.silence_after(self.lease_ms)

    def silence_after(self, lease_ms: int) -> float:
        """For how many seconds a lease must be waited out by another clock than its holder's."""
        return lease_ms / 1000 * (1 + self.drift)

    @property
    def beat_seconds(self) -> float:
        """How long a leader is silent at most: two beats may be lost, or late."""
        return self.lease_seconds / 3

    @property
    def grace_seconds(self) -> float:
        """How long an answer of the leader is waited for, and the start that a named successor has over the others."""
        return self.lease_seconds / 6


class ClaimFailure(enum.Enum):
    """Why a claim got no acknowledgement."""

    NOT_WRITTEN = "nothing was written, nor will be"
    UNKNOWN = "it was sent and may yet appear in the log"
    FENCED = "another replica claimed at the same time, and after us"
    REFUSED = "we may not claim here, or this log does not fence"


class StandDownReason(enum.Enum):
    """Why a tenure ended; the values are labels."""

    SUPERSEDED = "superseded"
    WRITER_LOST = "writer_lost"
    SUSPENDED = "suspended"
    RENEWAL = "renewal"
    UNFIT = "unfit"
    HANDED_OVER = "handed_over"
    STOPPING = "stopping"
    MAP_LOST = "map_lost"


# ---- Events ----


@dataclass(frozen=True, slots=True)
class Followed:
    """The map has applied this record, in log order; of a Stamp, also the records that it heads."""

    offset: Offset
    record: LeadershipRecord


@dataclass(frozen=True, slots=True)
class Fit:
    """This replica is (no longer) fit to lead: Ready, caught up, able to write, not stopping."""

    fit: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due at `Election.next_wake`."""


@dataclass(frozen=True, slots=True)
class LeaderAnswered:
    """The answer to `AskLeader`; `leads`: it leads in `term`, under a valid lease."""

    term: Term
    leads: bool


@dataclass(frozen=True, slots=True)
class LeaderSilent:
    """`AskLeader` got no answer: the connection was refused, or broke."""

    term: Term


@dataclass(frozen=True, slots=True)
class ClaimComposed:
    """A claim is about to be sent under this name; told from inside `FencedWriter.claim`, each time it composes."""

    writer: Writer


@dataclass(frozen=True, slots=True)
class ClaimAcknowledged:
    """Our claim is in the log, and the log has proved that it fences; `started`: before any of it was sent."""

    offset: Offset
    writer: Writer
    started: float


@dataclass(frozen=True, slots=True)
class ClaimFailed:
    """Our claim got no acknowledgement; `message`: for people, what to change."""

    kind: ClaimFailure
    message: str = ""


@dataclass(frozen=True, slots=True)
class BatchAcknowledged:
    """A batch of ours, beats included, is in the log; `started`: before it was sent for the first time."""

    started: float


@dataclass(frozen=True, slots=True)
class WriterLost:
    """Our claim is spent. `fenced`: since another one is in the log; else since a batch's outcome is unknown."""

    fenced: bool = True


@dataclass(frozen=True, slots=True)
class HandOver:
    """A person asks that `successor` should lead; empty: the best heir."""

    successor: str


@dataclass(frozen=True, slots=True)
class Stop:
    """This replica is about to end (SIGTERM); it never claims again."""


@dataclass(frozen=True, slots=True)
class ResignAcknowledged:
    """Our resignation is in the log."""


@dataclass(frozen=True, slots=True)
class ResignFailed:
    """Our resignation is not in the log, or not known to be."""


@dataclass(frozen=True, slots=True)
class HeirsKnown:
    """Who is fit to lead next, as the leader sees it; the best one first."""

    heirs: Sequence[str]


@dataclass(frozen=True, slots=True)
class MapLost:
    """The log was replaced or lost records; the map begins anew, and this replica is not fit until told so again."""


Event: TypeAlias = (
    Followed
    | Fit
    | Tick
    | LeaderAnswered
    | LeaderSilent
    | ClaimComposed
    | ClaimAcknowledged
    | ClaimFailed
    | BatchAcknowledged
    | WriterLost
    | HandOver
    | Stop
    | ResignAcknowledged
    | ResignFailed
    | HeirsKnown
    | MapLost
)


# ---- Effects ----


@dataclass(frozen=True, slots=True)
class AskLeader:
    """Ask whoever listens at `address` whether it leads in `term`; the answer is an event, an error `LeaderSilent`."""

    term: Term
    address: str


@dataclass(frozen=True, slots=True)
class StartClaim:
    """Claim the log with a `claim_batch`. An append still under way ends first; the outcome is exactly one event.

    Attributes:
        enlisted: for that batch, and for `FencedWriter.claim`.
    """

    enlisted: frozenset[int]


@dataclass(frozen=True, slots=True)
class Lead:
    """Take writes from now on: our claim is applied, and every earlier lease is over."""

    term: Term


@dataclass(frozen=True, slots=True)
class StandDown:
    """Take no more writes under `term`, nor send beats. Also for a term that had not yet come to lead."""

    term: Term
    reason: StandDownReason


@dataclass(frozen=True, slots=True)
class SendBeat:
    """Append an empty stamp, unless a batch is on its way or about to be; may come before `Lead`."""

    term: Term


@dataclass(frozen=True, slots=True)
class SendResign:
    """Append a `Resign` with these fields, behind a batch still under way; the outcome is exactly one event."""

    term: Term
    claim: Claim
    successor: str


Effect: TypeAlias = AskLeader | StartClaim | Lead | StandDown | SendBeat | SendResign
