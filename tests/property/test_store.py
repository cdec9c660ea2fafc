"""The map against a plain dict, whatever the log holds."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import KEY_LIMIT_BYTES, RESERVED_PREFIX, LogRecord, Offset
from sharedlogkv_replica.core.store import Store, prefix_end

KEYS = st.one_of(
    st.none(),
    st.binary(max_size=3),
    st.sampled_from([b"a", b"ab", b"b", b"\x00B", b"\xff", b"\xff\xff", b"k" * 4096, b"k" * 4097]),
)
VALUES = st.one_of(st.none(), st.binary(max_size=4))
RECORDS = st.lists(st.tuples(KEYS, VALUES)).map(
    lambda pairs: [(Offset(i), key, value) for i, (key, value) in enumerate(pairs)]
)


def is_user_key(key: bytes | None) -> bool:
    return key is not None and 0 < len(key) <= KEY_LIMIT_BYTES and not key.startswith(RESERVED_PREFIX)


def expected(records: list[LogRecord]) -> dict[bytes, tuple[int, bytes]]:
    """What the map must hold after `records`."""
    model: dict[bytes, tuple[int, bytes]] = {}
    for offset, key, value in records:
        if not is_user_key(key):
            continue
        assert key is not None
        if value is None:
            model.pop(key, None)
        else:
            model[key] = (offset, value)
    return model


@given(RECORDS, st.integers(min_value=0, max_value=50), st.integers(min_value=0, max_value=4), st.booleans())
def test_the_map_holds_the_last_value_of_every_key_in_byte_order(
    records: list[LogRecord], index_after: int, slices: int, scan_meanwhile: bool
) -> None:
    """Whenever the index is begun and ended, and also when a scan can't wait for that."""
    store = Store()
    store.apply(records[:index_after])
    index = store.index_in_slices()
    for _ in itertools.islice(index, slices):
        pass
    if scan_meanwhile:
        assert list(store.scan(b"", None)) == sorted(expected(records[:index_after]).items())
    store.apply(records[index_after:])
    for _ in index:
        pass
    model = expected(records)
    assert list(store.scan(b"", None)) == sorted(model.items())
    assert len(store) == len(model)
    assert all(store.get(key) == versioned for key, versioned in model.items())
    assert store.data_bytes == sum(len(key) + len(value) for key, (_, value) in model.items())
    assert store.skipped_records == sum(not is_user_key(key) for _, key, _ in records)


def test_keys_that_come_and_go_while_the_index_is_built_do_so_in_the_index() -> None:
    store = Store()
    store.apply([(Offset(i), key, b"") for i, key in enumerate([b"gone", b"back", b"stays"])])
    index = store.index_in_slices()
    next(index)
    store.apply(
        [(Offset(3), b"gone", None), (Offset(4), b"back", None), (Offset(5), b"back", b""), (Offset(6), b"new", b"")]
    )
    for _ in index:
        pass
    assert [key for key, _ in store.scan(b"", None)] == [b"back", b"new", b"stays"]


@given(RECORDS, st.binary(max_size=2), st.one_of(st.none(), st.binary(max_size=2)))
def test_a_scan_gives_the_keys_from_start_up_to_but_without_end(
    records: list[LogRecord], start: bytes, end: bytes | None
) -> None:
    store = Store()
    store.apply(records)
    keys = [key for key, _ in store.scan(start, end)]
    assert keys == sorted(key for key in expected(records) if start <= key and (end is None or key < end))


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_a_prefix_covers_exactly_the_keys_that_begin_with_it(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    assert (prefix <= key and (end is None or key < end)) == key.startswith(prefix)


@given(RECORDS)
def test_a_cleared_map_is_as_new(records: list[LogRecord]) -> None:
    store = Store()
    store.apply(records)
    index = store.index_in_slices()
    next(index, None)
    store.clear()
    for _ in index:  # what was begun before must not come back
        pass
    assert (len(store), store.data_bytes, list(store.scan(b"", None))) == (0, 0, [])
    store.apply(records)
    assert dict(store.scan(b"", None)) == expected(records)
