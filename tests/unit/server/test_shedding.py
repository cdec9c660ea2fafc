"""Reads that are turned away, on the short way and on the long one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.core.writes import Write
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Request, Response
from sharedlogkv_replica.server.reads import ReadPolicy
from sharedlogkv_replica.server.routes import DataHandler
from tests.support.eventually import eventually

PLAIN_READS = ReadPolicy(1.0, Level.EVENTUAL, 1000)

pytestmark = pytest.mark.asyncio


class Served:
    """A replica that has `key`, and what serves it."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.counters = HttpCounters()
        self.handler = DataHandler(replica, counters=self.counters, clock=CoarseClock(), policy=PLAIN_READS)

    def shed(self, share: float) -> None:
        """Turns that share of the reads away from now on."""
        self.replica.guard.share = share
        self.replica.guard.on_change()

    def read(self, target: bytes = b"/v1/kv/key", method: bytes = b"GET") -> int:
        """The status of the answer on the long way."""
        answer = self.handler.handle(Request(method, target))
        assert isinstance(answer, Response)
        return answer.status


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    broker = MemoryBroker()
    broker.append([Entry(b"key", b"value")])
    log = MemoryLog(broker)
    replica = Replica(log, name="r", write_mode=WriteMode.LEADERLESS, write_timeout_seconds=5, value_limit_bytes=1024)
    task = asyncio.create_task(replica.run())
    await eventually(lambda: replica.standing.ready, what="Ready")
    yield Served(replica)
    task.cancel()
    await asyncio.wait([task])
    await log.close()


async def test_at_most_times_every_read_is_answered(served: Served) -> None:
    for _ in range(10):
        answer = served.handler.plain_get(b"/v1/kv/key", None)
        assert answer is not None
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_on_the_short_way_the_refusal_is_a_whole_answer(served: Served) -> None:
    served.shed(0.5)
    answers = [served.handler.plain_get(b"/v1/kv/key", None) or b"" for _ in range(10)]
    refusals = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert len(refusals) == 5
    head, _, body = refusals[0].partition(b"\r\n\r\n")
    assert b"Retry-After: 1" in head
    assert b"Content-Length: %d" % len(body) in head
    assert b"problems/overloaded" in body
    assert (served.counters.shed_reads, served.counters.plain_reads) == (5, 5)
    assert sorted(served.counters.requests()) == [("GET", "2xx", 5), ("GET", "5xx", 5)]
    assert served.counters.count_served() == 5
    served.shed(0.0)
    assert (served.handler.plain_get(b"/v1/kv/key", None) or b"").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("target", [b"/v1/kv/key", b"/v1/kv/no-such-key", b"/v1/kv?prefix=k", b"/v1/kv"])
async def test_on_the_long_way_too(served: Served, target: bytes) -> None:
    served.shed(0.5)
    statuses = [served.read(target) for _ in range(10)]
    assert statuses.count(503) == 5
    assert served.counters.shed_reads == 5


async def test_what_may_not_have_been_parsed_is_not_answered_on_the_short_way(served: Served) -> None:
    await served.replica.write(Write(b"key HTTP/1.1\r\n", b"value"))
    served.shed(1.0)
    assert served.handler.plain_get(b"/v1/kv/key HTTP/1.1\r\n", None) is None
    assert served.counters.shed_reads == 0


async def test_writes_and_the_api_s_description_are_never_turned_away(served: Served) -> None:
    served.shed(1.0)
    written = served.handler.handle(Request(b"PUT", b"/v1/kv/key", body=b"v"))
    assert not isinstance(written, Response)
    await written.future
    assert served.read(b"/v1/openapi.yaml") == 200
