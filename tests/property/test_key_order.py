"""The order of the keys against a plain sort, whatever comes and goes between two listings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core import key_order
from sharedlogkv_replica.core.key_order import KeyOrder

KEYS = st.integers(min_value=0, max_value=60).map(lambda number: b"%02d" % number)
PUT, DELETE, SCAN, RESTORE = range(4)
STEPS = st.lists(st.tuples(st.sampled_from([PUT, PUT, DELETE, DELETE, SCAN, RESTORE]), KEYS, KEYS), max_size=200)


@given(STEPS, st.sets(KEYS), st.sampled_from([2, 5, 2000]))
def test_a_scan_gives_the_keys_that_are_there_in_order(
    steps: list[tuple[int, bytes, bytes]], bounds: set[bytes], most_keys: int
) -> None:
    """Wherever the buckets begin, however small they are, and where a key is told of twice or after it has gone."""
    data: set[bytes] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_order, "_MOST_KEYS", most_keys)
        order = KeyOrder(data, sorted(bounds))
        for step, key, end in steps:
            if step == PUT and key not in data:
                data.add(key)
                order.add(key)
            elif step == DELETE and key in data:
                data.remove(key)
                order.discard(key)
            elif step == RESTORE:
                order.restore(key)
            elif step == SCAN:
                assert list(order.scan(key, end)) == sorted(other for other in data if key <= other < end)
        assert list(order.scan(b"", None)) == sorted(data)


class Counted(set[bytes]):
    """The keys of a map, which counts how many were looked up."""

    looked_up = 0

    def __contains__(self, key: object) -> bool:
        self.looked_up += 1
        return super().__contains__(key)


def test_a_scan_passes_over_no_heap_of_deleted_keys() -> None:
    data = Counted()
    order = KeyOrder(data)
    keys = [b"%05d" % number for number in range(10_000)]
    for key in keys:
        data.add(key)
        order.add(key)
    for key in keys:
        data.discard(key)
        order.discard(key)
    data.looked_up = 0
    assert list(order.scan(b"", None)) == []
    assert data.looked_up == 0


def test_a_page_tidies_only_what_it_goes_through() -> None:
    data = Counted()
    order = KeyOrder(data)
    for number in range(100_000):
        key = b"%05d" % (number * 7919 % 100_000)
        data.add(key)
        order.restore(key)
    data.looked_up = 0
    assert len(list(itertools.islice(order.scan(b"5", None), 100))) == 100
    assert 0 < data.looked_up <= 4000
