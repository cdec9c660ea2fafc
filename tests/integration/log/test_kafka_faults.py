"""The log while its broker is killed, frozen or cut off, under appends and reading.

Nothing acknowledged is lost or doubled, nothing is where it was said not to be, and writer and reader go on by
themselves. With one broker the log is away meanwhile; with three, another one takes over.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sharedlogkv_replica.core.records import BARRIER_KEY, START, Entry, LogRecord, Offset
from sharedlogkv_replica.errors import LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.kafka import KafkaLog
from tests.support.background import in_background
from tests.support.eventually import eventually
from tests.support.faults import BROKER_FAULTS, Break
from tests.support.kafka import KafkaSite
from tests.support.log_site import read_to

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

APPEND_SECONDS = 2.0
RECOVERY_SECONDS = 60.0


@dataclass
class Writing:
    """What became of numbered batches that one handle appended, one after the other."""

    log: KafkaLog
    acknowledged: dict[int, Offset] = field(default_factory=dict)
    unavailable: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)

    async def run(self) -> None:
        """Appends until cancelled."""
        number = 0
        while True:
            entries = [Entry(f"{number}-{index}".encode(), str(number).encode()) for index in range(number % 3 + 1)]
            try:
                self.acknowledged[number] = await self.log.append(entries, timeout_seconds=APPEND_SECONDS)
            except LogUnavailable:
                self.unavailable.add(number)
            except OutcomeUnknown:
                self.unknown.add(number)
            number += 1

    def check(self, records: Sequence[LogRecord]) -> None:
        """Holds what is in the log against what was said."""
        found = [int(value or b"") for _, key, value in records if key != BARRIER_KEY]
        assert found == sorted(found), "a batch is there behind a later one"
        for number in {*self.acknowledged, *self.unavailable, *self.unknown}:
            size = number % 3 + 1
            allowed = (size,) if number in self.acknowledged else (0,) if number in self.unavailable else (0, size)
            assert found.count(number) in allowed, f"batch {number} is there {found.count(number)} times"
        values = {offset: value for offset, _, value in records}
        assert all(values[offset] == str(number).encode() for number, offset in self.acknowledged.items())


class Following:
    """What one handle has read so far, without ever being started again."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.records: list[LogRecord] = []

    async def run(self) -> None:
        """Reads until cancelled."""
        async with aclosing(self._log.read(START)) as reading:
            async for batch in reading:
                self.records += batch.records


@pytest.mark.parametrize(("breaks", "mends"), BROKER_FAULTS)
@pytest.mark.asyncio
async def test_nothing_acknowledged_is_lost_or_doubled_when_the_leader_fails(
    replicated: KafkaSite, fault: Break, breaks: str, mends: str
) -> None:
    site = replicated
    writer, reader = site.handle(), site.handle()
    await writer.open()
    await reader.open()
    writing, following = Writing(writer), Following(reader)
    leader = await asyncio.to_thread(site.cluster.leader, site.topic)
    async with in_background(writing.run, following.run):
        await eventually(lambda: len(writing.acknowledged) > 200, timeout_seconds=RECOVERY_SECONDS)
        unknown, unavailable = len(writing.unknown), len(writing.unavailable)
        try:
            await fault(*breaks.format(leader).split())
            taken_over = len(writing.acknowledged) + 500
            await eventually(
                lambda: len(writing.unavailable) > unavailable or len(writing.acknowledged) > taken_over,
                timeout_seconds=RECOVERY_SECONDS,
                what="an append that is not sent at all, or another leader",
            )
            assert len(writing.unknown) <= unknown + 1, "only what was under way is unknown; nothing is sent behind it"
        finally:
            await fault(*mends.format(leader).split())
        again = len(writing.acknowledged) + 200
        await eventually(lambda: len(writing.acknowledged) > again, timeout_seconds=RECOVERY_SECONDS, what="recovery")
        assert writer.counters.fences == len(writing.unknown)
    end = await writer.end()
    fresh = site.handle()
    await fresh.open()
    records = await read_to(fresh, end)
    writing.check(records)
    assert following.records == records[: len(following.records)]
    assert len(following.records) > again, "the reader has followed through the fault"


@pytest.mark.asyncio
async def test_a_clean_stop_of_the_leader_costs_no_write_its_certainty(replicated: KafkaSite, fault: Break) -> None:
    """A broker that is told to stop answers what it has taken; a rolling restart of Kafka leaves nothing unknown."""
    site = replicated
    writer = site.handle()
    await writer.open()
    writing = Writing(writer)
    leader = str(await asyncio.to_thread(site.cluster.leader, site.topic))
    async with in_background(writing.run):
        await eventually(lambda: len(writing.acknowledged) > 100, timeout_seconds=RECOVERY_SECONDS)
        try:
            await fault("broker-stop", leader)
        finally:
            await fault("broker-start", leader)
        again = len(writing.acknowledged) + 100
        await eventually(lambda: len(writing.acknowledged) > again, timeout_seconds=RECOVERY_SECONDS, what="recovery")
    writing.check(await read_to(writer, await writer.end()))


def _damage(files: str, key: bytes) -> None:
    [segment] = Path(os.environ["TESTBED_RUN"], os.environ["TESTBED_NAME"]).glob(files)
    segment.write_bytes(segment.read_bytes().replace(key, b"!" * len(key)))


@pytest.mark.asyncio
async def test_a_batch_that_the_disk_has_damaged_is_left_out_and_all_others_are_read(
    site: KafkaSite, fault: Break
) -> None:
    """A broker hands out what its disk gives it; only the reader checks."""
    writer = site.handle()
    await writer.open()
    for batch in range(5):
        await writer.append([Entry(f"{batch}-{index}".encode(), b"value") for index in range(3)], timeout_seconds=30)
    leader = await asyncio.to_thread(site.cluster.leader, site.topic)
    await fault("broker-stop", str(leader))
    try:
        _damage(f"kafka{leader}/{site.topic}-0/*.log", b"2-1")
    finally:
        await fault("broker-start", str(leader))
    reader = site.handle()
    await reader.open()
    records = await read_to(reader, await reader.end())
    assert [offset for offset, _, _ in records] == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]
    assert reader.counters.undecodable_records == 3
