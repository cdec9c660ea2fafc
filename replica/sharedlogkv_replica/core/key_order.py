"""The keys of the map in byte order, kept lazily: a new key joins its bucket, and a bucket is sorted when it is read.

Each bucket holds the keys from its bound up to the next one's, unsorted behind those that were there when it was last
tidied. So a new key costs a look for its bucket, a deleted one the same, and a listing sorts no more than the buckets
that it goes through: nothing ever takes longer than some buckets do, however many keys came before.

Invariants:
    1. `bounds` ascend strictly, and the first one is the empty string: every key has one bucket.
    2. A bucket holds every key of the map that is in its range. It may hold one twice, or one that is deleted, only if
       `dead` is above 0: after a key was deleted from its range.
    3. A bucket of `tidied` length without `dead` is in order.
    4. A bucket has less than `2 * _MOST_KEYS` keys, and more than `dead`, so a listing never goes through a heap of
        deleted keys. The first bucket may be empty.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator
from typing import Final

_MOST_KEYS: Final = 2000  # to tidy so many takes some tenths of a millisecond

_ONE_IN: Final = 128
"""A bucket that is due is tidied at every 128th key or so that comes or goes in it, as the keys' hashes have it. Else
keys that are spread evenly would fill all buckets at the same time, and one batch of records would tidy hundreds."""


class KeyOrder:
    """The order of the keys of one map.

    Args:
        data: that map; it must have changed before `add` or `discard` tells of it.
        bounds: where buckets should begin; in order, without the empty key.
    """

    __slots__ = ("_bounds", "_buckets", "_data", "_dead", "_tidied")

    def __init__(self, data: Container[bytes], bounds: Iterable[bytes] = ()) -> None:
        self._data = data
        self._bounds = [b"", *bounds]
        self._buckets: list[list[bytes]] = [[] for _ in self._bounds]
        self._tidied = [0] * len(self._bounds)
        self._dead = [0] * len(self._bounds)

    def add(self, key: bytes) -> None:
        """Takes in a key that is new in the map."""
        at = bisect_right(self._bounds, key) - 1
        bucket = self._buckets[at]
        bucket.append(key)
        size = len(bucket)
        if size > _MOST_KEYS and (hash(key) % _ONE_IN == 0 or size >= 2 * _MOST_KEYS):
            self._tidy(at)

    def restore(self, key: bytes) -> None:
        """Takes in a key that may be in the map, and may have been told of before."""
        at = bisect_right(self._bounds, key) - 1
        self._dead[at] = self._dead[at] or 1
        self.add(key)

    def discard(self, key: bytes) -> None:
        """Takes note that a key is no longer in the map."""
        at = bisect_right(self._bounds, key) - 1
        dead = self._dead[at] = self._dead[at] + 1
        size = len(self._buckets[at])
        if dead * 2 > size and (hash(key) % _ONE_IN == 0 or dead >= size):
            self._tidy(at)

    def scan(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """The keys from `start` (inclusive) to `end` (exclusive; None: no bound); the map must not change meanwhile."""
        at = bisect_right(self._bounds, start) - 1
        while at < len(self._buckets) and (end is None or self._bounds[at] < end):
            bucket = self._buckets[at]
            if self._dead[at] or len(bucket) != self._tidied[at]:
                self._tidy(at)  # here is now its first part, or the next one
                continue
            low = bisect_left(bucket, start)
            high = len(bucket) if end is None else bisect_left(bucket, end)
            yield from bucket[low:high]
            at += 1

    def _tidy(self, at: int) -> None:
        """Sorts a bucket, and drops what is dead in it; parts one that is large, and takes out one that is empty."""
        bucket = self._buckets[at]
        bucket.sort()
        if self._dead[at]:
            data = self._data
            bucket[:] = [key for key in dict.fromkeys(bucket) if key in data]
            self._dead[at] = 0
        if len(bucket) > _MOST_KEYS // 2:
            middle = len(bucket) // 2
            self._bounds.insert(at + 1, bucket[middle])
            self._buckets.insert(at + 1, bucket[middle:])
            self._tidied.insert(at + 1, len(bucket) - middle)
            self._dead.insert(at + 1, 0)
            del bucket[middle:]
        elif not bucket and at:
            for column in (self._bounds, self._buckets, self._tidied, self._dead):
                del column[at]  # its range falls to the one before it
            return
        self._tidied[at] = len(bucket)
