"""Replicas that take the log from each other while its broker is killed, frozen or cut off.

Whatever happens: no record is out of the term of its claim, nothing acknowledged is lost or doubled, nothing is there
that was said not to be, and claims succeed again by themselves.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import BARRIER, Entry, LogRecord, Offset
from sharedlogkv_replica.errors import Fenced, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.base import FencedWriter
from sharedlogkv_replica.log.kafka import parse_location
from sharedlogkv_replica.log.kafka_delivery import build
from sharedlogkv_replica.log.kafka_wire import Producer, connect
from tests.support.background import in_background
from tests.support.environment import Environment
from tests.support.eventually import eventually
from tests.support.faults import BROKER_FAULTS, Break
from tests.support.fenced_contract import CLAIM_KEY, check_terms, claim, contents, write
from tests.support.kafka import KafkaCluster, KafkaSite
from tests.support.log_site import opened

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

APPEND_SECONDS = 2.0
CLAIM_SECONDS = 3.0
RECOVERY_SECONDS = 60.0
BATCHES_OF_A_TERM = 25


@dataclass
class Contender:
    """A replica that leads whenever it can, for a while; its records bear the number of its claim as their key."""

    name: str
    writer: FencedWriter
    attempts: int = 0
    terms: int = 0
    acknowledged: dict[Offset, bytes] = field(default_factory=dict)
    unwritten: set[bytes] = field(default_factory=set)
    hindered: int = 0
    fenced: int = 0

    async def run(self) -> None:
        """Claims and appends until cancelled."""
        while True:
            self.attempts += 1
            await self._lead(f"{self.name}-{self.attempts}".encode())

    async def _lead(self, term: bytes) -> None:
        try:
            await self.writer.claim(lambda _: [Entry(CLAIM_KEY, term)], enlisted=(), timeout_seconds=CLAIM_SECONDS)
        except (LogUnavailable, OutcomeUnknown):
            self.hindered += 1
            return
        except Fenced:
            return
        self.terms += 1
        for number in range(BATCHES_OF_A_TERM):
            value = term + f".{number}".encode()
            try:
                offset = await self.writer.append([Entry(term, value)] * 2, timeout_seconds=APPEND_SECONDS)
            except LogUnavailable:
                self.hindered += 1
                self.unwritten.add(value)
            except OutcomeUnknown:
                self.hindered += 1
                return
            except Fenced:
                self.unwritten.add(value)
                self.fenced += 1
                return
            else:
                self.acknowledged[offset] = value

    def check(self, records: Sequence[LogRecord]) -> None:
        """Holds what is in the log against what was said."""
        values = {offset: value for offset, _, value in records}
        assert self.acknowledged.items() <= values.items(), "an acknowledged record is lost"
        assert self.unwritten.isdisjoint(values.values()), "a record is there that was said not to be"


@pytest.mark.parametrize(("breaks", "mends"), BROKER_FAULTS)
@pytest.mark.asyncio
async def test_take_overs_keep_every_record_in_its_term_while_the_broker_fails(
    replicated: KafkaSite, fault: Break, breaks: str, mends: str
) -> None:
    site = replicated
    contenders = [Contender(name, (await opened(site)).fenced_writer()) for name in ("a", "b", "c")]
    broker = await asyncio.to_thread(site.cluster.leader, site.topic)

    def terms() -> int:
        return min(contender.terms for contender in contenders)

    def hindered() -> int:
        return sum(contender.hindered for contender in contenders)

    try:
        async with in_background(*(contender.run for contender in contenders)):
            await eventually(lambda: terms() >= 5, timeout_seconds=RECOVERY_SECONDS, what="take-overs by all")
            before = hindered()
            await fault(*breaks.format(broker).split())
            await eventually(lambda: hindered() > before, timeout_seconds=RECOVERY_SECONDS, what="the fault to be felt")
    finally:
        await fault(*mends.format(broker).split())  # with nobody at work, or starting a broker takes long
    async with in_background(*(contender.run for contender in contenders)):
        again = terms() + 5
        await eventually(lambda: terms() >= again, timeout_seconds=RECOVERY_SECONDS, what="take-overs by all, again")
    assert sum(contender.fenced for contender in contenders) > 0, "there were leaders that others shut out"
    # The last batches, under way when the contenders were cancelled, are settled by one more claim.
    last = (await opened(site)).fenced_writer()
    await claim(last, "last")
    records = await contents(await opened(site))
    check_terms(records)
    counts = [
        sum(1 for _ in same) for _, same in itertools.groupby(value for _, key, value in records if key != CLAIM_KEY)
    ]
    assert set(counts) == {2}, "a batch is there in half, or twice"
    for contender in contenders:
        contender.check(records)


@pytest.mark.asyncio
async def test_the_fence_outlives_a_broker_that_was_killed(replicated: KafkaSite, fault: Break) -> None:
    site = replicated
    old, new = (await opened(site)).fenced_writer(), (await opened(site)).fenced_writer()
    await claim(old, "old")
    await write(old, Entry(b"old", b"1"))
    await claim(new, "new")
    broker = str(await asyncio.to_thread(site.cluster.leader, site.topic))
    await fault("broker-kill", broker)
    await fault("broker-start", broker)
    # A first attempt may be lost with a connection; then the writer can't tell that this one was not written either.
    with pytest.raises((Fenced, OutcomeUnknown)):
        await write(old, Entry(b"old", b"late"))
    await write(new, Entry(b"new", b"1"))
    check_terms(await contents(await opened(site)))


@pytest.mark.asyncio
async def test_a_broker_forgets_the_fence_of_who_wrote_nothing_for_long_and_a_new_claim_puts_it_up_again(
    site: KafkaSite, kafka_cluster: KafkaCluster, environment: Environment
) -> None:
    """Long is `producer.id.expiration.ms`, a day. So a leader beats, and one that was suspended for long resigns."""
    if environment.testbed is None:
        pytest.fail("this needs brokers that look for expired producers all the time, as the testbed's do")
    old, new, newest = [(await opened(site)).fenced_writer() for _ in range(3)]
    first = await claim(old, "old")
    await claim(new, "new")
    broker = await asyncio.to_thread(kafka_cluster.leader, site.topic)
    await asyncio.to_thread(kafka_cluster.configure_broker, broker, {"producer.id.expiration.ms": "1"})
    try:
        await _lands(site, first.writer)
    finally:
        await asyncio.to_thread(kafka_cluster.configure_broker, broker, {"producer.id.expiration.ms": None})
    await write(old, Entry(b"old", b"late"))
    await claim(newest, "newest")
    for writer in (old, new):
        with pytest.raises(Fenced):
            await write(writer, Entry(b"key", b"late"))
    await write(newest, Entry(b"newest", b"1"))
    values = [value for _, _, value in await contents(await opened(site))]
    assert values == [b"old", b"new", b"late", b"newest", b"1"]


async def _lands(site: KafkaSite, writer: Writer) -> None:
    """Sends a barrier in the writer's name until the broker takes it."""
    [address, *_] = parse_location(site.url).bootstrap
    connection = await connect(address, timeout_seconds=RECOVERY_SECONDS, options={})
    leader = (await connection.find_leader(site.topic, 0)).leader
    connection.abort()
    assert leader is not None
    connection = await connect(leader, timeout_seconds=RECOVERY_SECONDS, options={})
    batch = build([BARRIER], Producer(writer.producer_id, writer.epoch), 0)
    code = 47
    async with asyncio.timeout(RECOVERY_SECONDS):
        while code == 47:
            code, _ = await connection.produce(site.topic, 0, batch, timeout_ms=5000)
    connection.abort()
    assert code == 0
