"""The log as the election's simulation needs it: leadership records alone, and a fence by epochs that always holds.

As Kafka's (KIP-98): the coordinator raises the epoch of one producer id, and from the first batch of an epoch on the
partition refuses every lower one. Where the coordinator gives another id, the old one is shut out by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sharedlogkv_replica.core.leadership import Claim, Enlisted, LeadershipRecord, Resign, Retired, Stamp, Writer
from sharedlogkv_replica.core.records import Offset

_LAST_EPOCH = 32_767

COMPACTION_LAG_SECONDS = 5.0
"""Above the longest lease, as everywhere; and so short that much is compacted."""


@dataclass(frozen=True, slots=True)
class Appended:
    """One record, who wrote it, and when."""

    offset: Offset
    record: LeadershipRecord
    writer: Writer
    at: float


@dataclass
class FencedPartition:
    """A partition and its transaction coordinator.

    Attributes:
        clock: tells the time, in seconds.
        records: in log order.
        end: the offset of the next one.
    """

    clock: Callable[[], float]
    records: list[Appended] = field(default_factory=list)
    end: int = 0
    _next: Writer = field(default_factory=lambda: Writer(1, 0))
    _epochs: dict[int, int] = field(default_factory=dict)

    @property
    def producer_id(self) -> int:
        """What the coordinator gives now."""
        return self._next.producer_id

    def take_writer(self) -> Writer:
        """The next epoch, as `InitProducerId` gives it."""
        writer = self._next
        self._next = Writer(writer.producer_id, writer.epoch + 1)
        return writer

    def forget_producer(self) -> None:
        """The coordinator gives another producer id from now on: the epochs were exhausted, or the id expired."""
        self._next = Writer(self._next.producer_id + 1, 0)

    def shut_out(self, producer_id: int) -> None:
        """Appends a batch of the last epoch of an id that is not the coordinator's any more."""
        self._epochs[producer_id] = _LAST_EPOCH

    def append(self, writer: Writer, records: Sequence[LeadershipRecord]) -> Offset | None:
        """The last record's offset; None where the writer is fenced. A stamp takes along the records that it heads."""
        if writer.epoch < self._epochs.get(writer.producer_id, 0):
            return None
        self._epochs[writer.producer_id] = writer.epoch
        for record in records:
            self.records.append(Appended(Offset(self.end), record, writer, self.clock()))
            self.end += 1 + (record.records if isinstance(record, Stamp) else 0)
        return self.records[-1].offset

    def claims(self) -> list[Appended]:
        """All claims, in order."""
        return [appended for appended in self.records if isinstance(appended.record, Claim)]

    def compacted(self) -> list[Appended]:
        """What compaction leaves at least: what is young, and of each key the newest record, unless it deletes."""
        newest = {_key(appended.record): appended for appended in self.records}
        young = self.clock() - COMPACTION_LAG_SECONDS
        return [
            appended
            for appended in self.records
            if appended.at > young
            or (newest[_key(appended.record)] is appended and not isinstance(appended.record, Retired))
        ]

    def late_records(self, terms: Sequence[int]) -> list[Appended]:
        """Records of a term behind the claim of a later one that came to lead; there must be none."""
        found, newest = [], -1
        for appended in self.records:
            match appended.record:
                case Claim() if appended.offset in terms:
                    newest = appended.offset
                case Stamp(term=term) | Resign(term=term) if term < newest:
                    found.append(appended)
                case _:
                    pass
        return found


def _key(record: LeadershipRecord) -> object:
    match record:
        case Stamp():
            return Stamp
        case Enlisted(producer_id=producer_id) | Retired(producer_id=producer_id):
            return producer_id
        case _:
            return Claim
