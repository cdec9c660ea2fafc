"""Every promise of `FencedWriter` as a test; each log runs the whole suite through its `LogSite`.

A subclass of `FencedContract` that defines the fixture `site` gets all tests.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pytest

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import BARRIER_KEY, Entry, LogRecord, Offset, Position
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, OutcomeUnknown, RecordTooLarge
from sharedlogkv_replica.log.base import Claimed, FencedWriter, SharedLog
from tests.support.log_site import DEADLINE_SECONDS, LogSite, append, as_records, numbered, opened, read_to

CLAIM_KEY = b"\x00claim"


async def claim(writer: FencedWriter, name: str = "a", enlisted: Collection[int] = ()) -> Claimed:
    """Claims the log, with a record that bears the name, in a time that is ample."""
    return await writer.claim(
        lambda _: [Entry(CLAIM_KEY, name.encode())], enlisted=enlisted, timeout_seconds=DEADLINE_SECONDS
    )


async def write(writer: FencedWriter, *entries: Entry) -> Offset:
    """Appends under the claim with a time that is ample."""
    return await writer.append(entries, timeout_seconds=DEADLINE_SECONDS)


async def contents(log: SharedLog) -> list[LogRecord]:
    """All records of the log but barriers."""
    return [record for record in await read_to(log, await log.end()) if record[1] != BARRIER_KEY]


def check_terms(records: Sequence[LogRecord]) -> None:
    """Holds that each record is of the writer whose claim is the last one before it; a key names its writer."""
    leader: bytes | None = None
    for offset, key, value in records:
        if key == CLAIM_KEY:
            leader = value
        else:
            assert key == leader, f"a record of {key!r} is at {offset}, in the term of {leader!r}"


@dataclass
class Contender:
    """A replica that claims the log again and again, and writes its own number into it, one record after the other."""

    name: bytes
    writer: FencedWriter
    acknowledged: dict[int, Offset] = field(default_factory=dict)
    claims: int = 0
    fenced: int = 0
    attempts: int = 0

    async def lead(self, records: int) -> None:
        """Claims the log, and writes until `records` records were acknowledged or somebody else has claimed it."""
        try:
            await claim(self.writer, self.name.decode())
            self.claims += 1
            for _ in range(records):
                self.attempts += 1
                number = self.attempts
                self.acknowledged[number] = await write(self.writer, Entry(self.name, str(number).encode()))
        except Fenced:
            self.fenced += 1

    async def insist(self) -> None:
        """Writes without a claim of its own, as a leader does that does not know yet that it is none."""
        with pytest.raises(Fenced):
            await write(self.writer, Entry(self.name, b"late"))


class FencedContract:
    """The tests. `site` is a fixture of the subclass."""

    @pytest.mark.asyncio
    async def test_a_claim_is_the_last_record_of_the_batch_that_was_composed_from_the_name_that_it_tells(
        self, site: LogSite
    ) -> None:
        log = await opened(site)
        names: list[Writer] = []

        def compose(writer: Writer) -> list[Entry]:
            names.append(writer)
            return [Entry(b"\x00before", b"1"), Entry(CLAIM_KEY, str(writer.epoch).encode())]

        writer = log.fenced_writer()
        claimed = await writer.claim(compose, enlisted=(), timeout_seconds=DEADLINE_SECONDS)
        assert names[-1] == claimed.writer
        written = await write(writer, Entry(b"key", b"1"))
        assert await contents(log) == [
            (claimed.offset - 1, b"\x00before", b"1"),
            (claimed.offset, CLAIM_KEY, str(claimed.writer.epoch).encode()),
            (written, b"key", b"1"),
        ]

    @pytest.mark.asyncio
    async def test_batches_under_a_claim_are_read_back_whole_and_in_order_behind_it(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        claimed = await claim(writer)
        expected: list[LogRecord] = [(claimed.offset, CLAIM_KEY, b"a")]
        for number in range(20):
            entries = numbered(number % 3 + 1, f"batch-{number}")
            expected += as_records(await write(writer, *entries), entries)
        assert await contents(log) == expected

    @pytest.mark.asyncio
    async def test_without_a_claim_nothing_is_written(self, site: LogSite) -> None:
        log = await opened(site)
        with pytest.raises(Fenced):
            await write(log.fenced_writer(), Entry(b"a", b"1"))
        assert await log.end() == 0

    @pytest.mark.asyncio
    async def test_a_claim_shuts_out_the_writer_before_for_ever(self, site: LogSite) -> None:
        log = await opened(site)
        old, new = log.fenced_writer(), (await opened(site)).fenced_writer()
        first = await claim(old, "old")
        await write(old, Entry(b"old", b"1"))
        second = await claim(new, "new", [first.writer.producer_id])
        assert second.writer.producer_id == first.writer.producer_id
        assert second.writer.epoch > first.writer.epoch
        for _ in range(3):
            with pytest.raises(Fenced):
                await write(old, Entry(b"old", b"late"))
            await write(new, Entry(b"new", b"1"))
        assert [key for _, key, _ in await contents(log)] == [CLAIM_KEY, b"old", CLAIM_KEY, b"new", b"new", b"new"]
        assert log.counters.append_fenced == 3

    @pytest.mark.asyncio
    async def test_who_was_shut_out_may_claim_anew(self, site: LogSite) -> None:
        log = await opened(site)
        writers = [log.fenced_writer(), (await opened(site)).fenced_writer()]
        newest: Writer | None = None
        for turn in range(6):
            claimed = await claim(writers[turn % 2], enlisted=[newest.producer_id] if newest else ())
            assert newest is None or claimed.writer.epoch > newest.epoch
            newest = claimed.writer
            await write(writers[turn % 2], Entry(b"key", str(turn).encode()))
            if turn > 0:
                with pytest.raises(Fenced):
                    await write(writers[1 - turn % 2], Entry(b"key", b"late"))
        values = [value for _, key, value in await contents(log) if key == b"key"]
        assert values == [str(turn).encode() for turn in range(6)]

    @pytest.mark.asyncio
    async def test_a_claim_by_the_same_writer_renews_its_own(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        for number in range(3):
            claimed = await claim(writer)
            assert await write(writer, Entry(b"key", str(number).encode())) > claimed.offset
        assert len(await contents(log)) == 6

    @pytest.mark.asyncio
    async def test_appends_that_need_no_claim_go_on_beside_the_claimed_ones(self, site: LogSite) -> None:
        log, other = await opened(site), await opened(site)
        writer = log.fenced_writer()
        await claim(writer)
        expected: list[Offset] = []
        for number in range(10):
            expected += [
                await append(log, Entry(b"plain", b"1")),
                await write(writer, Entry(b"leader", str(number).encode())),
                await append(other, Entry(b"plain", b"2")),
            ]
            await site.produce([Entry(b"foreign", b"3")])
        assert expected == sorted(expected)
        found = [offset for offset, key, _ in await contents(log) if key not in (CLAIM_KEY, b"foreign")]
        assert found == expected

    @pytest.mark.parametrize("commit", [True, False])
    @pytest.mark.asyncio
    async def test_foreign_transactions_disturb_neither_the_writer_nor_the_fence(
        self, site: LogSite, commit: bool
    ) -> None:
        log = await opened(site)
        old, new = log.fenced_writer(), log.fenced_writer()
        await claim(old, "old")
        await site.transact(numbered(2), commit=commit)
        before = await write(old, Entry(b"old", b"1"))
        await claim(new, "new")
        await site.transact(numbered(2), commit=commit)
        await old_is_fenced(old)
        after = await write(new, Entry(b"new", b"1"))
        assert after > before + 4, "markers and aborted records take offsets"
        found = [record for record in await contents(log) if record[1] in (b"old", b"new")]
        assert found == [(before, b"old", b"1"), (after, b"new", b"1")]

    @pytest.mark.asyncio
    async def test_the_fence_outlives_the_records_of_the_claim(self, site: LogSite) -> None:
        log = await opened(site)
        old, new = log.fenced_writer(), log.fenced_writer()
        await claim(old)
        claimed = await claim(new)
        last = await write(new, Entry(b"key", b"1"))
        await site.delete_before(Position(claimed.offset + 1))
        await old_is_fenced(old)
        assert await write(new, Entry(b"key", b"2")) > last

    @pytest.mark.asyncio
    async def test_of_racing_claims_the_last_in_the_log_holds_and_no_record_is_out_of_its_term(
        self, site: LogSite
    ) -> None:
        log = await opened(site)
        contenders = [Contender(f"c{number}".encode(), (await opened(site)).fenced_writer()) for number in range(3)]
        for records in (0, 1, 5, 20):
            await asyncio.gather(*(contender.lead(records) for contender in contenders))
        found = await contents(log)
        check_terms(found)
        for contender in contenders:
            written = {int(value or b""): offset for offset, key, value in found if key == contender.name}
            assert contender.acknowledged.items() <= written.items(), "an acknowledged record is lost"
            assert len(written) == sum(key == contender.name for _, key, _ in found), "a record is there twice"
        assert sum(contender.claims for contender in contenders) >= 4
        last = found[-1] if found[-1][1] == CLAIM_KEY else (0, b"", found[-1][1])
        for contender in contenders:
            if contender.name != last[2]:
                await contender.insist()

    @pytest.mark.asyncio
    async def test_a_batch_that_was_cancelled_spends_the_claim_and_is_before_the_next_one_or_nowhere(
        self, site: LogSite
    ) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        for number in range(20):
            await claim(writer, str(number))
            appending = asyncio.create_task(write(writer, *[Entry(str(number).encode(), b"cancelled")] * 2))
            for _ in range(number + 1):
                await asyncio.sleep(0)
            if not appending.done():
                appending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await appending
                with pytest.raises(Fenced):
                    await write(writer, Entry(b"key", b"late"))
        await claim(writer, "last")
        found = await contents(log)
        check_terms(found)
        for number in range(20):
            assert sum(key == str(number).encode() for _, key, _ in found) in (0, 2), "half of a batch is there"

    @pytest.mark.asyncio
    async def test_a_cancelled_claim_spends_the_one_before_and_the_next_one_holds(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        for number in range(20):
            await claim(writer)
            claiming = asyncio.create_task(claim(writer))
            for _ in range(number + 1):
                await asyncio.sleep(0)
            if not claiming.done():
                claiming.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await claiming
                with pytest.raises(Fenced):
                    await write(writer, Entry(b"key", b"late"))
        await claim(writer)
        await write(writer, Entry(b"key", b"1"))
        assert [value for _, key, value in await contents(log) if key == b"key"] == [b"1"]

    @pytest.mark.asyncio
    async def test_producer_ids_of_earlier_claims_that_are_not_ours_are_shut_out_by_hand(self, site: LogSite) -> None:
        """Nobody of that id is here to see it; that it is refused, each log's own tests show."""
        log = await opened(site)
        writer = log.fenced_writer()
        claimed = await claim(writer, enlisted=[4_000_000, 5_000_000])
        assert claimed.writer.producer_id not in (4_000_000, 5_000_000)
        assert [key for _, key, _ in await read_to(log, await log.end())] == [BARRIER_KEY, BARRIER_KEY, CLAIM_KEY]
        await write(writer, Entry(b"key", b"1"))

    @pytest.mark.asyncio
    async def test_a_batch_above_the_limit_is_refused_and_the_claim_still_holds(self, site: LogSite) -> None:
        await site.recreate(batch_limit_bytes=20_000)
        log = await opened(site)
        writer = log.fenced_writer()
        await claim(writer)
        with pytest.raises(RecordTooLarge):
            await write(writer, Entry(b"small", b"1"), Entry(b"large", bytes(20_000)))
        offset = await write(writer, Entry(b"after", b"2"))
        assert (await contents(log))[1:] == [(offset, b"after", b"2")]

    @pytest.mark.asyncio
    async def test_a_shorter_new_log_spends_the_claim_and_is_not_claimed(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        await claim(writer)
        await write(writer, *numbered(10))
        await site.recreate()
        with pytest.raises((OutcomeUnknown, LogUnavailable), match="created anew"):
            await write(writer, Entry(b"key", b"1"))
        with pytest.raises(Fenced):
            await write(writer, Entry(b"key", b"2"))
        with pytest.raises(LogUnavailable, match="opened anew"):
            await claim(writer)

    @pytest.mark.asyncio
    async def test_a_longer_new_log_is_not_claimed(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        await claim(writer)
        await site.recreate()
        await site.produce(numbered(10))
        with pytest.raises(LogUnavailable, match="opened anew"):
            await claim(writer)
        assert await (await opened(site)).end() == 10

    @pytest.mark.asyncio
    async def test_a_deleted_log_is_refused(self, site: LogSite) -> None:
        log = await opened(site)
        writer = log.fenced_writer()
        await site.delete()
        with pytest.raises(LogRefused):
            await claim(writer)

    @pytest.mark.asyncio
    async def test_a_claim_ends_when_the_log_is_opened_anew(self, site: LogSite) -> None:
        """What makes a replica open its log anew may have lost the claim too."""
        log = await opened(site)
        writer = log.fenced_writer()
        await claim(writer)
        await log.open()
        with pytest.raises(Fenced, match="opened anew"):
            await write(writer, Entry(b"key", b"1"))
        await claim(writer)
        await write(writer, Entry(b"key", b"1"))

    @pytest.mark.asyncio
    async def test_a_closed_writer_writes_nothing_and_closing_twice_is_closing(self, site: LogSite) -> None:
        log = await opened(site)
        writer, other = log.fenced_writer(), log.fenced_writer()
        await claim(writer)
        await claim(other)
        await writer.close()
        await writer.close()
        await write(other, Entry(b"key", b"1"))
        with pytest.raises(LogUnavailable):
            await claim(writer)
        with pytest.raises(LogUnavailable):
            await write(writer, Entry(b"key", b"2"))
        await log.close()
        with pytest.raises(LogUnavailable):
            await write(other, Entry(b"key", b"2"))

    @pytest.mark.asyncio
    async def test_claims_and_batches_are_counted_with_their_outcomes(self, site: LogSite) -> None:
        log = await opened(site)
        writer, other = log.fenced_writer(), log.fenced_writer()
        await claim(writer)
        await write(writer, *numbered(3))
        await claim(other)
        await old_is_fenced(writer)
        await site.delete()
        with pytest.raises(LogRefused):
            await claim(other)
        counters = log.counters
        assert (counters.claims, counters.claim_refused, counters.fence_tests, counters.fence_test_failures) == (
            3,
            1,
            2,
            0,
        )
        assert (counters.appends, counters.append_fenced, counters.appended_batches, counters.appended_records) == (
            2,
            1,
            1,
            3,
        )


async def old_is_fenced(writer: FencedWriter) -> None:
    """Holds that the writer is shut out."""
    with pytest.raises(Fenced):
        await write(writer, Entry(b"old", b"late"))
