"""A claim of ours: on its way (`Candidacy`), and once it is in the log (`Tenure`).

A lease counts from before the production of what was acknowledged, so it is over here before it is over for anybody
who counts from its receipt (`core/succession.py`). It begins with the first batch that follows the claim, so a claim
that another one followed at once never held any, and need not be waited for.

Source: Burrows, "The Chubby lock service" (2006), section 2.8.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from sharedlogkv_replica.core.election_events import ClaimFailure, ElectionConfig
from sharedlogkv_replica.core.leadership import Claim, Term
from sharedlogkv_replica.core.succession import Succession

REFUSED_PAUSE_SECONDS: Final = 10.0
"""After a refusal (a right that lacks, a log that does not fence): time for a person, not for a loop."""

RENEWAL_SECONDS: Final = 12 * 3600.0
"""A claim older than this is made anew: Kafka's coordinator forgets a transactional id in a week, whatever is produced
under it (`transactional.id.expiration.ms`), and so one renewal a day should succeed."""


@dataclass(slots=True)
class Candidacy:
    """A claim on its way.

    Attributes:
        claims: what was composed for it, and may be in the log.
        void: the log for which it was made is gone.
    """

    claims: set[Claim] = field(default_factory=set)
    void: bool = False


def pause_seconds(failure: ClaimFailure, config: ElectionConfig) -> float:
    """How long after a claim that failed the next one may be made, at the earliest."""
    spread = config.jitter * config.rank_seconds
    match failure:
        case ClaimFailure.NOT_WRITTEN:
            return config.beat_seconds + spread
        case ClaimFailure.UNKNOWN:
            return config.grace_seconds + spread
        case ClaimFailure.FENCED:
            return config.silence_seconds
        case ClaimFailure.REFUSED:
            return REFUSED_PAUSE_SECONDS


@dataclass(slots=True)
class Tenure:
    """A claim of ours in the log; all times in monotonic seconds.

    Attributes:
        term: its offset.
        claim: what it says.
        since: before it was sent.
        active: when the last batch was begun, as far as known, or a beat was asked for.
        vouched: the latest time before the production of a batch that was acknowledged.
    """

    term: Term
    claim: Claim
    since: float
    active: float
    vouched: float = -math.inf

    @property
    def lease_end(self) -> float:
        """From then on no read is answered under this claim, unless a batch is acknowledged."""
        return self.vouched + self.claim.lease_ms / 1000

    @property
    def alive_until(self) -> float:
        """Until then peers are told that we are there; the claim itself counts, too."""
        return max(self.since, self.vouched) + self.claim.lease_ms / 1000

    @property
    def patience_end(self) -> float:
        """From then on nothing is written under this claim.

        Whoever got no acknowledgement for so long was asleep, or cut off from the log: somebody else may have claimed
        it long ago.
        """
        return self.alive_until + self.claim.lease_ms / 1000

    @property
    def renewal(self) -> float:
        """From then on it should be claimed anew."""
        return self.since + RENEWAL_SECONDS

    def is_applied(self, log: Succession) -> bool:
        """Whether the map has our claim, and no later one."""
        return log.head is not None and log.head.term == self.term

    def is_over(self, log: Succession) -> bool:
        """Whether the log has ended our term: by a later claim, or by our own resignation."""
        head = log.head
        return head is not None and (head.term > self.term or (head.term == self.term and head.ended))

    def is_alone(self, log: Succession) -> bool:
        """Whether nobody can write but under our claim, which is applied."""
        return log.enlisted <= {self.claim.writer.producer_id}

    def due(self, log: Succession, *, leads: bool, beat_seconds: float) -> float:
        """When something is to be done about it."""
        if not self.is_applied(log):
            return self.patience_end
        may_lead = log.earlier_leases_end if self.is_alone(log) else -math.inf  # or must claim again
        change = self.renewal if leads else may_lead
        return min(self.patience_end, self.active + beat_seconds, change)

    def acknowledge(self, started: float) -> None:
        """Notes that a batch was acknowledged, whose production began at `started`."""
        self.vouched = max(self.vouched, started)
        self.active = max(self.active, started)
