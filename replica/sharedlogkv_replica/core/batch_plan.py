"""What a leader appends: it evaluates writes against the map, and logs only their effects.

Pure. A batch is planned when no other one is on its way and the map holds all earlier ones, so a write can depend on
two things only: on the map, or on an earlier write of its own batch, which is appended with it or not at all. A
condition is never logged: a record that had to be checked when it is applied could shadow, under compaction, the value
that it failed to replace.

| the write | verdict |
|---|---|
| its condition holds, or it has none | `Appended`: it is a record of the batch |
| its condition fails against the map | `Settled`: a read of the map, so it is only true while nobody else leads |
| its condition fails on a write of the same batch | `SettledByBatch`: true once the batch is acknowledged |
| its request was carried out before | `Settled` for ever: the log says so |
| its request is in the same batch already | `SettledByBatch` |
| its request's id was used for something else | `Settled` as `RequestMismatch` |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

from sharedlogkv_replica.core.leadership import Request, Stamp, Term
from sharedlogkv_replica.core.records import Entry, Offset, Position, Value
from sharedlogkv_replica.core.request_window import RequestWindow
from sharedlogkv_replica.core.store import Versioned
from sharedlogkv_replica.core.writes import (
    UNCONDITIONAL,
    Condition,
    ConditionFailed,
    RequestId,
    RequestMismatch,
    Write,
    WriteResult,
    Written,
)


@final
class Appended(Value):
    """Record `place` of the batch, counted from 0 behind the stamp, carries the write out."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place: Final = place

    def parts(self) -> tuple[object, ...]:
        """See `Value`."""
        return (self.place,)

    def result(self, first: Offset) -> WriteResult:
        """The answer, once the batch's first record behind the stamp is known to be at `first`."""
        return Written(Offset(first + self.place))


@dataclass(frozen=True, slots=True)
class Settled:
    """The write adds nothing to the batch, and its answer is known.

    Attributes:
        result: the answer.
        is_read: it tells what the map holds now, so it may only be given while the lease holds, or once a batch that
            is sent after it was acknowledged.
    """

    result: WriteResult
    is_read: bool


@dataclass(frozen=True, slots=True)
class SettledByBatch:
    """The write adds nothing, and its answer follows from an earlier write of the same batch.

    Attributes:
        index: that write's record; None where it deleted the key on which this one's condition failed.
        is_repetition: it is the same request; else its condition failed.
        records: how many records the batch had by then.
    """

    index: int | None
    is_repetition: bool
    records: int

    def result(self, first: Offset) -> WriteResult:
        """The answer, once the batch's first record behind the stamp is known to be at `first`."""
        version = None if self.index is None else Offset(first + self.index)
        if self.is_repetition:
            assert version is not None, "what is repeated was appended"
            return Written(version, repeated=True)
        return ConditionFailed(version, Offset(first + self.records - 1))


Verdict: TypeAlias = Appended | Settled | SettledByBatch


def holds(condition: Condition, version: Offset | None) -> bool:
    """Whether `condition` holds for a key with this version; None: there is no such key."""
    match, none_match = condition.match, condition.none_match
    if match is not None and (version is None or (match and version not in match)):
        return False
    return none_match is None or version is None or bool(none_match and version not in none_match)


class BatchPlan:
    """One batch in the making.

    Args:
        get: the map.
        position: the map's position; above 0, as a leader has applied its own claim.
        window: the requests carried out already.

    Attributes:
        entries: the records to append behind the stamp.
    """

    def __init__(self, get: Callable[[bytes], Versioned | None], *, position: Position, window: RequestWindow) -> None:
        self.entries: list[Entry] = []
        self._get = get
        self._applied = Offset(position - 1)
        self._window = window
        self._touched: dict[bytes, int] = {}  # by key, its last record in this batch
        self._requests: dict[str, tuple[int, str]] = {}  # by id: record and fingerprint

    def add(self, write: Write) -> Verdict:
        """What becomes of the next write, in order of arrival."""
        if write.request is not None:
            repeated = self._find_repeated(write.request)
            if repeated is not None:
                return repeated
        if write.condition is not UNCONDITIONAL:
            failed = self._find_failure(write.key, write.condition)
            if failed is not None:
                return failed
        index = len(self.entries)
        self.entries.append(Entry(write.key, write.value))
        self._touched[write.key] = index
        if write.request is not None:
            self._requests[write.request.id] = (index, write.request.fingerprint)
        return Appended(index)

    def stamp(self, term: Term, *, batch: int, heirs: tuple[str, ...] = ()) -> Stamp:
        """The batch's stamp."""
        requests = tuple(Request(index, name, print_) for name, (index, print_) in self._requests.items())
        return Stamp(term, batch, len(self.entries), requests, heirs)

    def _find_repeated(self, request: RequestId) -> Verdict | None:
        known = self._window.find(request)
        if known is not None:
            if known.fingerprint != request.fingerprint:
                return Settled(RequestMismatch(), is_read=False)
            return Settled(Written(known.offset, repeated=True), is_read=False)
        if request.id in self._requests:
            index, fingerprint = self._requests[request.id]
            if fingerprint != request.fingerprint:
                return Settled(RequestMismatch(), is_read=False)
            return SettledByBatch(index, is_repetition=True, records=len(self.entries))
        return None

    def _find_failure(self, key: bytes, condition: Condition) -> Verdict | None:
        touched = self._touched.get(key)
        if touched is None:
            found = self._get(key)
            version = None if found is None else found[0]
            return None if holds(condition, version) else Settled(ConditionFailed(version, self._applied), is_read=True)
        # The client can't know the version that this batch will give: it is none of those that it names.
        is_there = self.entries[touched].value is not None
        if holds(condition, _UNKNOWN_VERSION if is_there else None):
            return None
        return SettledByBatch(touched if is_there else None, is_repetition=False, records=len(self.entries))


_UNKNOWN_VERSION = Offset(-1)
