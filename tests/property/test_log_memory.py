"""Compaction of the log in memory changes nothing of what a reader makes of it, wherever the reader is."""

from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import START, Entry, Position
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from tests.support import virtual_time

ENTRIES = st.lists(
    st.builds(Entry, st.sampled_from([b"a", b"b", b"c", b"d"]), st.none() | st.binary(max_size=2)), min_size=1
)


async def replay(broker: MemoryBroker, known: dict[bytes, bytes], start: Position) -> dict[bytes, bytes]:
    """The map that a reader has at the end, who had `known` at `start`."""
    found = dict(known)
    position = start
    if position < broker.end:
        async with aclosing(MemoryLog(broker).read(start)) as reading:
            async for batch in reading:
                for _, key, value in batch.records:
                    assert key is not None
                    if value is None:
                        found.pop(key, None)
                    else:
                        found[key] = value
                if batch.position == broker.end:
                    break
    return found


@given(before=ENTRIES, after=ENTRIES, gap=st.integers(0, 3))
def test_compaction_is_invisible_to_new_readers_and_to_those_on_their_way(
    before: list[Entry], after: list[Entry], gap: int
) -> None:
    async def check() -> None:
        broker = MemoryBroker()
        broker.append(before)
        broker.skip(gap)
        middle = broker.end
        known = await replay(broker, {}, START)
        broker.append(after)
        expected = await replay(broker, {}, START)
        broker.compact()
        assert await replay(broker, {}, START) == expected
        assert await replay(broker, known, middle) == expected

    virtual_time.run(check())
