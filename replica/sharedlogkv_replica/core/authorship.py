"""Counts the records of a led log that no leader wrote.

They are applied all the same: to pass one over would leave the map with a value that compaction is about to remove from
the log, since the foreign record is now the newest of its key. But a condition that the leader has evaluated may no
longer hold behind it, so they are counted, and whoever runs the store is told. Kafka's ACLs keep other writers out.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter

from sharedlogkv_replica.core.leadership import Stamp
from sharedlogkv_replica.core.records import Batch, LogRecord, Offset


class Authorship:
    """Holds records against the stamps of leaders.

    Attributes:
        foreign_records: records with a user's key, so far, that follow no stamp that counts them.
    """

    def __init__(self) -> None:
        self.foreign_records = 0
        self._stamped_to = 0  # records below this offset belong to a stamp of an earlier batch

    def observe(
        self, batch: Batch, reserved: Sequence[LogRecord], stamps: Sequence[tuple[Offset, Stamp]], *, counts: bool
    ) -> None:
        """Takes in the next batch of the log.

        Args:
            batch: the batch.
            reserved: which of its records have keys of our own.
            stamps: the stamps among those.
            counts: whether to count; not during a replay, as compaction may have taken old stamps.
        """
        records = batch.records
        own = _count(records, 0, self._stamped_to)
        for offset, stamp in stamps:
            first = offset + 1
            own += _count(records, first, first + stamp.records)
            self._stamped_to = first + stamp.records
        if counts:
            self.foreign_records += len(records) - len(reserved) - own


def _count(records: Sequence[LogRecord], first: int, behind: int) -> int:
    """How many of the records have an offset from `first` on and below `behind`."""
    if not records or records[0][0] >= behind:
        return 0
    return bisect_left(records, behind, key=itemgetter(0)) - bisect_left(records, first, key=itemgetter(0))
