"""Every promise of `SharedLog` as a test; each implementation runs the whole suite through a `LogSite` of its own.

A subclass of `LogContract` that defines the fixture `site` gets all tests.
"""

import asyncio
import itertools
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import BARRIER, START, Entry, LogRecord, Offset, Position
from sharedlogkv_replica.core.token import Token, parse_token
from sharedlogkv_replica.errors import (
    LogRefused,
    LogReplaced,
    LogTruncated,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
)
from sharedlogkv_replica.log.base import batch_bound_bytes
from tests.support.log_site import DEADLINE_SECONDS, LogSite, append, as_records, numbered, opened, read_to

KEYS = st.binary(min_size=1, max_size=40)
ENTRIES = st.lists(st.builds(Entry, KEYS, st.none() | st.binary(max_size=100)), min_size=1, max_size=20)
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["first", "second", "produce", "commit", "abort"]), ENTRIES), max_size=8
)


class LogContract:
    """The tests. `site` is a fixture of the subclass."""

    @pytest.mark.asyncio
    async def test_a_new_log_ends_where_it_begins(self, site: LogSite) -> None:
        log = await opened(site)
        assert await log.end() == 0

    @pytest.mark.asyncio
    async def test_what_open_says_is_what_identify_says(self, site: LogSite) -> None:
        log = site.handle()
        description = await log.open()
        assert description.identity.partition == 0
        assert description.identity.log_id == await log.identify()
        token = Token(description.identity, Offset(0))
        assert parse_token(str(token)) == token
        assert description.tombstone_seconds > 0
        assert description.batch_limit_bytes > 1000

    @pytest.mark.asyncio
    async def test_an_appended_batch_is_read_back_with_consecutive_offsets_and_in_order(self, site: LogSite) -> None:
        log = await opened(site)
        entries = numbered(500)
        first = await append(log, *entries)
        assert await read_to(log, Position(first + 500)) == as_records(first, entries)

    @pytest.mark.asyncio
    async def test_batches_follow_each_other_as_they_were_appended(self, site: LogSite) -> None:
        log = await opened(site)
        expected: list[LogRecord] = []
        for number in range(20):
            entries = numbered(number % 3 + 1, f"batch-{number}")
            expected += as_records(await append(log, *entries), entries)
        assert await read_to(log, await log.end()) == expected

    @pytest.mark.asyncio
    async def test_an_empty_value_and_no_value_stay_different(self, site: LogSite) -> None:
        log = await opened(site)
        entries = [Entry(b"empty", b""), Entry(b"deleted", None)]
        first = await append(log, *entries)
        assert await read_to(log, Position(first + 2)) == as_records(first, entries)

    @pytest.mark.asyncio
    async def test_keys_and_values_are_any_bytes(self, site: LogSite) -> None:
        log = await opened(site)
        entries = [Entry(bytes([byte]), bytes(range(byte + 1))) for byte in range(256)]
        entries += [BARRIER, Entry(b"\xff" * 4096, b"\x00" * 5000)]
        first = await append(log, *entries)
        assert await read_to(log, Position(first + len(entries))) == as_records(first, entries)

    @pytest.mark.asyncio
    async def test_a_value_of_one_mebibyte_passes_where_the_log_takes_it(self, site: LogSite) -> None:
        await site.recreate(batch_limit_bytes=1_100_000)
        log = site.handle()
        assert (await log.open()).batch_limit_bytes == 1_100_000
        entry = Entry(b"large", bytes(1 << 20))
        first = await append(log, entry)
        assert await read_to(log, Position(first + 1)) == [(first, b"large", entry.value)]

    @pytest.mark.asyncio
    async def test_a_batch_of_the_limit_by_our_bound_is_taken(self, site: LogSite) -> None:
        await site.recreate(batch_limit_bytes=20_000)
        log = site.handle()
        limit_bytes = (await log.open()).batch_limit_bytes
        entries = numbered(200)
        entries.append(Entry(b"filler", bytes(limit_bytes - batch_bound_bytes([*entries, Entry(b"filler", b"")]))))
        assert batch_bound_bytes(entries) == limit_bytes
        await append(log, *entries)

    @pytest.mark.asyncio
    async def test_a_batch_above_the_limit_is_refused_and_nothing_of_it_written(self, site: LogSite) -> None:
        await site.recreate(batch_limit_bytes=20_000)
        log = await opened(site)
        with pytest.raises(RecordTooLarge):
            await append(log, Entry(b"small", b"1"), Entry(b"large", bytes(20_000)))
        first = await append(log, Entry(b"after", b"2"))
        assert await read_to(log, Position(first + 1)) == [(first, b"after", b"2")]
        assert log.counters.append_too_large == 1

    @pytest.mark.asyncio
    async def test_a_reader_starts_at_any_position(self, site: LogSite) -> None:
        log = await opened(site)
        entries = numbered(50)
        first = await append(log, *entries)
        start = Position(first + 17)
        assert await read_to(log, Position(first + 50), start=start) == as_records(first, entries)[17:]

    @pytest.mark.asyncio
    async def test_two_readers_see_the_same(self, site: LogSite) -> None:
        log, other = await opened(site), await opened(site)
        entries = numbered(10)
        first = await append(log, *entries)
        end = Position(first + 10)
        assert await read_to(log, end) == await read_to(other, end) == as_records(first, entries)

    @pytest.mark.asyncio
    async def test_the_end_covers_what_any_handle_or_foreign_producer_got_acknowledged(self, site: LogSite) -> None:
        log, other = await opened(site), await opened(site)
        for _ in range(20):
            offset = await append(log, Entry(b"key", b"value"))
            assert await other.end() > offset
        before = await other.end()
        await site.produce(numbered(3))
        assert await other.end() == before + 3

    @pytest.mark.asyncio
    async def test_a_waiting_reader_goes_on_with_what_comes(self, site: LogSite) -> None:
        log, other = await opened(site), await opened(site)
        await append(other, Entry(b"first", b"1"))
        seen: list[LogRecord] = []
        async with asyncio.timeout(DEADLINE_SECONDS), aclosing(log.read(START)) as reading:
            async for batch in reading:
                seen += batch.records
                if batch.records:
                    if len(seen) == 3:
                        break
                    await append(other, Entry(f"after-{len(seen)}".encode(), b"2"))
        assert [key for _, key, _ in seen] == [b"first", b"after-1", b"after-2"]

    @pytest.mark.asyncio
    async def test_the_position_passes_a_committed_transaction_and_its_marker(self, site: LogSite) -> None:
        log = await opened(site)
        first = await append(log, Entry(b"before", b"1"))
        await site.transact(numbered(3), commit=True)
        end = await log.end()
        assert end > first + 4, "the marker takes an offset"
        records = await read_to(log, end)
        assert records == [(first, b"before", b"1"), *as_records(Offset(first + 1), numbered(3))]

    @pytest.mark.asyncio
    async def test_the_position_passes_an_aborted_transaction_of_which_nothing_is_read(self, site: LogSite) -> None:
        log = await opened(site)
        first = await append(log, Entry(b"before", b"1"))
        await site.transact(numbered(3), commit=False)
        end = await log.end()
        assert end > first + 1
        assert await read_to(log, end) == [(first, b"before", b"1")]
        last = await append(log, Entry(b"after", b"2"))
        assert await read_to(log, Position(last + 1), start=end) == [(last, b"after", b"2")]

    @pytest.mark.asyncio
    async def test_concurrent_appenders_each_keep_their_order_and_lose_nothing(self, site: LogSite) -> None:
        logs = [await opened(site), await opened(site), await opened(site)]

        async def write(number: int) -> list[LogRecord]:
            written: list[LogRecord] = []
            for turn in range(30):
                entries = numbered(turn % 4 + 1, f"{number}-{turn}")
                written += as_records(await append(logs[number], *entries), entries)
            return written

        per_writer = await asyncio.gather(*(write(number) for number in range(3)))
        assert all(written == sorted(written) for written in per_writer)
        assert await read_to(logs[0], await logs[0].end()) == sorted(itertools.chain(*per_writer))

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operations=OPERATIONS)
    @pytest.mark.asyncio
    async def test_any_run_of_operations_reads_back_as_a_plain_list(
        self, site: LogSite, operations: list[tuple[str, list[Entry]]]
    ) -> None:
        logs = {"first": await opened(site), "second": await opened(site)}
        start = await logs["first"].end()
        expected: list[LogRecord] = []
        for who, entries in operations:
            offset = Offset(await logs["second"].end())
            match who:
                case "first" | "second":
                    assert await append(logs[who], *entries) == offset
                case "produce":
                    await site.produce(entries)
                case _:
                    await site.transact(entries, commit=who == "commit")
            if who != "abort":
                expected += as_records(offset, entries)
        end = await logs["first"].end()
        assert await read_to(logs["first"], end, start=start) == expected
        assert await read_to(logs["second"], end, start=start) == expected
        for log in logs.values():
            await log.close()

    @pytest.mark.asyncio
    async def test_a_recreated_log_has_another_id(self, site: LogSite) -> None:
        log = await opened(site)
        before = await log.identify()
        await site.recreate()
        after = await log.identify()
        assert after is not None
        assert after != before

    @pytest.mark.asyncio
    async def test_a_deleted_log_has_no_id_and_is_refused(self, site: LogSite) -> None:
        log = await opened(site)
        await site.delete()
        assert await log.identify() is None
        with pytest.raises(LogRefused):
            await site.handle().open()

    @pytest.mark.asyncio
    async def test_a_handle_that_expects_the_id_opens_and_one_that_expects_another_does_not(
        self, site: LogSite
    ) -> None:
        log_id = (await site.handle().open()).identity.log_id
        await site.handle(expected_id=log_id).open()
        await site.recreate()
        with pytest.raises(LogReplaced, match=log_id):
            await site.handle(expected_id=log_id).open()

    @pytest.mark.asyncio
    async def test_a_handle_is_bound_to_the_id_that_it_first_opened(self, site: LogSite) -> None:
        log = site.handle()
        log_id = (await log.open()).identity.log_id
        assert (await log.open()).identity.log_id == log_id
        await site.recreate()
        for _ in range(2):
            with pytest.raises(LogReplaced, match=log_id):
                await log.open()

    @pytest.mark.asyncio
    async def test_a_handle_that_could_not_be_opened_is_not_bound_yet(self, site: LogSite) -> None:
        log = site.handle()
        await site.delete()
        with pytest.raises(LogRefused):
            await log.open()
        await site.recreate()
        assert (await log.open()).identity.log_id == await log.identify()

    @pytest.mark.asyncio
    async def test_once_an_append_has_met_a_shorter_new_log_every_question_says_so_and_nothing_more_is_written(
        self, site: LogSite
    ) -> None:
        """Kafka takes that first batch without a word, at an offset that the old log had acknowledged already."""
        log = await opened(site)
        await append(log, *numbered(10))
        await site.recreate()
        with pytest.raises((OutcomeUnknown, LogUnavailable), match="created anew") as first:
            await append(log, *numbered(1))
        for _ in range(2):
            with pytest.raises(LogTruncated, match="created anew"):
                await log.identify()
            with pytest.raises(LogTruncated, match="created anew"):
                await log.end()
            with pytest.raises(LogUnavailable, match="opened anew"):
                await append(log, *numbered(1))
            with pytest.raises(LogReplaced):
                await log.open()
        assert await (await opened(site)).end() == (1 if first.type is OutcomeUnknown else 0)

    @pytest.mark.asyncio
    async def test_reading_above_the_end_of_a_shorter_new_log_is_truncation(self, site: LogSite) -> None:
        log = await opened(site)
        end = Position(await append(log, *numbered(10)) + 10)
        await site.recreate()
        with pytest.raises(LogTruncated):
            await read_to(await opened(site), Position(end + 1), start=end)

    @pytest.mark.asyncio
    async def test_reading_below_the_beginning_is_truncation(self, site: LogSite) -> None:
        log = await opened(site)
        first = await append(log, *numbered(10))
        await site.delete_before(Position(first + 5))
        with pytest.raises(LogTruncated):
            await read_to(log, Position(first + 10), start=Position(first + 2))

    @pytest.mark.asyncio
    async def test_reading_from_the_start_begins_where_the_log_begins(self, site: LogSite) -> None:
        log = await opened(site)
        first = await append(log, *numbered(10))
        await site.delete_before(Position(first + 5))
        assert await read_to(log, Position(first + 10)) == as_records(first, numbered(10))[5:]

    @pytest.mark.asyncio
    async def test_closing_ends_a_reader_that_waits_without_an_error(self, site: LogSite) -> None:
        log = await opened(site)
        offset = await append(log, Entry(b"key", b"value"))
        reached = asyncio.Event()

        async def follow() -> None:
            async with aclosing(log.read(START)) as reading:
                async for batch in reading:
                    if batch.position > offset:
                        reached.set()

        async with asyncio.timeout(DEADLINE_SECONDS):
            follower = asyncio.create_task(follow())
            await reached.wait()
            await log.close()
            await follower

    @pytest.mark.asyncio
    async def test_a_reader_may_stop_early_and_another_begin(self, site: LogSite) -> None:
        log = await opened(site)
        first = await append(log, *numbered(10))
        for _ in range(3):
            assert await read_to(log, Position(first + 10)) == as_records(first, numbered(10))

    @pytest.mark.asyncio
    async def test_closing_twice_is_closing_and_a_closed_handle_appends_nothing(self, site: LogSite) -> None:
        log, other = await opened(site), await opened(site)
        await append(log, Entry(b"key", b"value"))
        end = await other.end()
        await log.close()
        await log.close()
        with pytest.raises(LogUnavailable):
            await append(log, Entry(b"key", b"value"))
        assert await other.end() == end

    @pytest.mark.asyncio
    async def test_a_cancelled_append_leaves_the_handle_usable(self, site: LogSite) -> None:
        log = await opened(site)
        for number in range(20):
            cancelled = asyncio.create_task(append(log, Entry(b"cancelled", str(number).encode())))
            for _ in range(number):
                await asyncio.sleep(0)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            await append(log, Entry(b"acknowledged", str(number).encode()))
        records = await read_to(log, await log.end())
        acknowledged = [int(value or b"") for _, key, value in records if key == b"acknowledged"]
        assert acknowledged == list(range(20))
        newest = -1
        for _, key, value in records:
            if key == b"acknowledged":
                newest = int(value or b"")
            elif key == b"cancelled":  # and not the barrier that fences it
                assert int(value or b"") == newest + 1, "a cancelled batch came after a later acknowledged one"

    @pytest.mark.asyncio
    async def test_every_append_is_counted_with_its_outcome(self, site: LogSite) -> None:
        log = await opened(site)
        await append(log, *numbered(3))
        await append(log, *numbered(2))
        counters = log.counters
        assert (counters.appends, counters.appended_batches, counters.appended_records) == (2, 2, 5)
        await read_to(log, await log.end())
        assert counters.read_records == 5
