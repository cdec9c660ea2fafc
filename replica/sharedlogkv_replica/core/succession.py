"""What the log has told of who leads: the newest claim, who may be next, and until when earlier leases may run.

The part of the election that only reads; `core/election.py` decides upon it. Fed with every leadership record in log
order, at the time of its receipt, which is after its production: so a lease that is counted from here ends no earlier
than its holder thinks, if the clocks' rates differ by no more than `drift`.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), section 6.4.1; Burrows, "The Chubby lock service"
(2006), section 2.9: a new master waits out the leases of the old one.
"""

import math
from dataclasses import dataclass, replace

from sharedlogkv_replica.core.election_events import ElectionConfig
from sharedlogkv_replica.core.leadership import (
    Claim,
    Enlisted,
    LeadershipRecord,
    Resign,
    Retired,
    Stamp,
    Term,
    Writer,
    term_of,
)
from sharedlogkv_replica.core.records import Offset


@dataclass(frozen=True, slots=True)
class Head:
    """The newest claim in the log, and what came of it.

    Attributes:
        term: its offset.
        claim: what it says.
        ours: this process made it.
        lease_end: until when its leader may answer reads, at the latest; of no meaning where it is ours. A claim alone
            is no lease: it begins with the first batch.
        ended: by a resignation.
        successor: whom that named; may be empty.
    """

    term: Term
    claim: Claim
    ours: bool
    lease_end: float
    ended: bool = False
    successor: str = ""


class Succession:
    """What the log has told.

    Attributes:
        head: the newest claim; None before the first.
        enlisted: the producer ids that may be written under, by the log's own book; the head's is among them.
        heirs: the names of those who are fit to lead next, the best first, as a leader told last.
        earlier_leases_end: when the last lease of all terms before the head's is over; of those alone that were not
            ours and did not resign, and that the head's leader has not waited out itself: it has where it wrote. The
            head's own lease is not among them.
    """

    def __init__(self, config: ElectionConfig) -> None:
        self._config = config
        self.head: Head | None = None
        self.enlisted: frozenset[int] = frozenset()
        self.heirs: tuple[str, ...] = ()
        self.earlier_leases_end = -math.inf
        self._lost_leases_end = -math.inf  # likewise, of the terms of logs that are gone: who leads now knows of none
        self._ours: frozenset[Claim] = frozenset()
        self._open: dict[int, tuple[Term, Claim]] = {}  # by producer id, its newest claim

    def expect(self, claim: Claim) -> None:
        """Notes that this process may have put `claim` into the log."""
        self._ours |= {claim}
        if self.head is not None and self.head.claim == claim:
            self.head = replace(self.head, ours=True)

    def dismiss(self, claim: Claim) -> None:
        """Notes that `claim` is not in the log, nor ever will be: the same name may be given to another replica."""
        self._ours -= {claim}

    def patience_seconds(self) -> float:
        """For how long this replica hears nothing, where it could, before it suspects that nobody leads."""
        head, config = self.head, self._config
        rank = self.heirs.index(config.name) if config.name in self.heirs else len(self.heirs)
        spread = (rank + config.jitter) * config.rank_seconds
        if head is None:
            return spread
        if head.ended and head.successor == config.name:
            return 0.0
        if head.ended:
            return spread + (config.grace_seconds if head.successor else 0.0)
        if head.ours:  # and given up, or never held: nobody leads, unless by a claim that is still to be read
            return config.grace_seconds + config.jitter * config.rank_seconds
        return self._config.silence_after(head.claim.lease_ms) + spread

    def follow(self, offset: Offset, record: LeadershipRecord, now: float) -> bool:
        """Takes in a record that the map has applied; false where it is of a term that is over, and says nothing."""
        head = self.head
        match record:
            case Claim():
                return self._begin(term_of(offset), record)
            case Stamp(term=term, records=records, heirs=heirs):
                if head is None or head.ended or term != head.term:
                    if head is not None and term < head.term:
                        self._extend_earlier_lease(term, now)
                    return False
                if records:  # only a beat may be sent before the earlier leases are over
                    self.earlier_leases_end = self._lost_leases_end
                self.head = replace(head, lease_end=now + self._config.silence_after(head.claim.lease_ms))
                self.heirs = heirs or self.heirs
                return True
            case Enlisted(producer_id=producer_id):
                self.enlisted |= {producer_id}
                return False
            case Retired(producer_id=producer_id):
                self.enlisted -= {producer_id}
                self._open.pop(producer_id, None)
                return False
            case Resign(term=term, claim=claim):
                if head is None or term > head.term:  # compaction has dropped the claim that it repeats
                    self._begin(term, claim)
                return self.end(term, successor=record.successor)

    def end(self, term: Term, *, successor: str) -> bool:
        """Notes that `term` was resigned; false where another one is the newest."""
        if self.head is None or term != self.head.term:
            return False
        self.head = replace(self.head, ended=True, successor=successor)
        return True

    def forget(self) -> None:
        """Begins anew with another log, but for the leases: who held one does not know yet that its log is gone."""
        self._let_go()
        self._lost_leases_end = self.earlier_leases_end
        self.head = None
        self.enlisted = frozenset()
        self.heirs = ()
        self._open.clear()
        self._ours = frozenset()

    def _begin(self, term: Term, claim: Claim) -> bool:
        head = self.head
        if head is not None and term <= head.term:
            return False
        self._let_go()
        self.head = Head(
            term,
            claim,
            ours=claim in self._ours,
            lease_end=-math.inf,  # a lease begins with the first batch that follows
        )
        self.enlisted |= {claim.writer.producer_id}
        self._open[claim.writer.producer_id] = (term, claim)
        # No claim of a lower epoch can follow this one, so those of ours need not be remembered.
        self._ours = frozenset(ours for ours in self._ours if not _is_shut_out(ours.writer, by=claim.writer))
        return True

    def _extend_earlier_lease(self, term: Term, now: float) -> None:
        """A leader whom the head's claim has not shut out still writes, and holds its lease by that."""
        claim = next((claim for of, claim in self._open.values() if of == term), None)
        if claim is None or claim not in self._ours:
            lease_ms = self._config.lease_ms if claim is None else claim.lease_ms  # compaction has dropped the claim
            self.earlier_leases_end = max(self.earlier_leases_end, now + self._config.silence_after(lease_ms))

    def _let_go(self) -> None:
        head = self.head
        if head is not None and not head.ours and not head.ended:
            self.earlier_leases_end = max(self.earlier_leases_end, head.lease_end)


def _is_shut_out(writer: Writer, *, by: Writer) -> bool:
    return writer.producer_id == by.producer_id and writer.epoch < by.epoch
