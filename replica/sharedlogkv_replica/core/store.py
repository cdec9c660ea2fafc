"""The map: what the log says, up to one position.

Owned by the event loop; nothing here is safe to touch from another thread. Values are tuples of atoms and never
instances, because the garbage collector stops looking at a tuple of atoms after one pass and never stops looking at
instances: at millions of keys that is the difference between no pause and one of half a second.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from sharedlogkv_replica.core.key_order import KeyOrder
from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, LogRecord, Offset

Versioned: TypeAlias = tuple[Offset, bytes]
"""A key's version (the offset of the record that last wrote it) and its value."""

_SLICE_KEYS: Final = 1000  # put where they belong in about a millisecond


class Store:
    """Keys to versioned values, with ordered listing.

    Attributes:
        data_bytes: the sum of the sizes of all keys and values.
        skipped_records: records applied that carry no user's key: barriers, and foreign records without a fit one.
    """

    __slots__ = ("_is_indexed", "_map", "_order", "data_bytes", "get", "skipped_records")

    def __init__(self) -> None:
        self._map: dict[bytes, Versioned] = {}
        self._order: KeyOrder | None = None  # kept from the end of the first replay on, or from the first scan
        self._is_indexed = False  # it has every key
        self.data_bytes = 0
        self.skipped_records = 0
        self.get = self._map.get  # the hot path: one look-up without a frame of ours

    def __len__(self) -> int:
        return len(self._map)

    def apply(self, records: Iterable[LogRecord]) -> list[LogRecord]:
        """Applies records in log order: a value is put, a null value deletes. Returns those with a key of our own.

        What is no user's key (null, empty, too long to be asked for, or one of our reserved ones) is counted. This is
        the hot loop of a replay.
        """
        data, get, order = self._map, self._map.get, self._order
        grown = skipped = 0
        reserved: list[LogRecord] = []
        for offset, key, value in records:
            if not key or not key[0] or len(key) > KEY_LIMIT_BYTES:
                skipped += 1
                if key and not key[0]:
                    reserved.append((offset, key, value))
            elif value is not None:
                old = get(key)
                data[key] = (offset, value)
                if old is not None:
                    grown += len(value) - len(old[1])
                else:
                    grown += len(key) + len(value)
                    if order is not None:
                        order.add(key)
            elif (old := data.pop(key, None)) is not None:
                grown -= len(key) + len(old[1])
                if order is not None:
                    order.discard(key)
        self.data_bytes += grown
        self.skipped_records += skipped
        return reserved

    def index_in_slices(self) -> Iterator[None]:
        """Orders the keys for `scan`, about a millisecond at a time; between two slices everything else may go on.

        To sort a million keys takes most of a second, in which no probe and no read would be answered. From the first
        slice on each new or deleted key is noted (under a microsecond). A scan that comes before the last one sorts all
        at once.
        """
        keys = list(self._map)
        order = self._order = KeyOrder(self._map, sorted(keys[::_SLICE_KEYS]))
        self._is_indexed = False
        for start in range(0, len(keys), _SLICE_KEYS):
            for key in keys[start : start + _SLICE_KEYS]:
                order.restore(key)
            yield
            if not self._is_ordered_by(order):
                return  # a scan could not wait, or the map was cleared
        self._is_indexed = True

    def _is_ordered_by(self, order: KeyOrder) -> bool:
        """A call of its own: what a generator has assigned, mypy takes for unchanged when it goes on."""
        return self._order is order

    def clear(self) -> None:
        """Forgets everything, so that nothing of a lost log is ever served."""
        self._map.clear()
        self._order = None
        self._is_indexed = False
        self.data_bytes = 0

    def scan(self, start: bytes, end: bytes | None) -> Iterable[tuple[bytes, Versioned]]:
        """The keys from `start` (inclusive) to `end` (exclusive; None: no bound) in byte order, with their values.

        The caller must finish before the map changes again, so within one step of the event loop.
        """
        data = self._map
        if self._order is None or not self._is_indexed:
            keys = sorted(data)
            self._order = KeyOrder(data, keys[_SLICE_KEYS::_SLICE_KEYS])
            for key in keys:
                self._order.add(key)
            self._is_indexed = True
        for key in self._order.scan(start, end):
            yield key, data[key]


def prefix_end(prefix: bytes) -> bytes | None:
    """The least byte string above every one that begins with `prefix`; None when there is none (empty or all 0xff)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
