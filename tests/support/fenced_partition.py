"""The log as the election's simulation needs it: leadership records alone, and a fence by epochs that always holds.

As Kafka's (KIP-98): the coordinator raises the epoch of one producer id, and from the first batch of an epoch on the
partition refuses every lower one. Where the coordinator gives another id, the old one is shut out by hand.
"""

from dataclasses import dataclass, field

from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Stamp, Writer
from sharedlogkv_replica.core.records import Offset

_LAST_EPOCH = 32_767


@dataclass(frozen=True, slots=True)
class Appended:
    """One record, and who wrote it."""

    offset: Offset
    record: LeadershipRecord
    writer: Writer


@dataclass
class FencedPartition:
    """A partition and its transaction coordinator.

    Attributes:
        records: in log order.
        end: the offset of the next one.
    """

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

    def shut_out(self, writer: Writer) -> None:
        """Appends a batch of the last epoch of an id that is not the coordinator's any more."""
        self._epochs[writer.producer_id] = _LAST_EPOCH

    def append(self, writer: Writer, record: LeadershipRecord) -> Offset | None:
        """The record's offset; None where the writer is fenced. A stamp takes the records that it heads with it."""
        if writer.epoch < self._epochs.get(writer.producer_id, 0):
            return None
        self._epochs[writer.producer_id] = writer.epoch
        offset = Offset(self.end)
        self.end += 1 + (record.records if isinstance(record, Stamp) else 0)
        self.records.append(Appended(offset, record, writer))
        return offset

    def late_records(self) -> list[Appended]:
        """Records of a term behind the claim of a later one; there must be none."""
        found, newest = [], -1
        for appended in self.records:
            if isinstance(appended.record, Claim):
                newest = appended.offset
            elif appended.record.term != newest:
                found.append(appended)
        return found
