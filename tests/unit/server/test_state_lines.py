"""Token and lag of an answer: for whom the token is good, and how old the lag may be."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.state_lines import later, problem_lines, state_lines
from sharedlogkv_replica.server.writes import Writes
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio

LOG = LogIdentity("log", 0)


@pytest_asyncio.fixture
async def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest_asyncio.fixture
async def replica(broker: MemoryBroker) -> AsyncIterator[Replica]:
    """A replica that follows a log without records."""
    log = MemoryLog(broker)
    replica = Replica(log, name="r", write_mode=WriteMode.LEADERLESS, write_timeout_seconds=5, value_limit_bytes=1024)
    task = asyncio.create_task(replica.run())
    await eventually(lambda: replica.standing.ready, what="Ready")
    yield replica
    task.cancel()
    await asyncio.wait([task])
    await log.close()


@pytest.mark.parametrize(
    ("sent", "offset"),
    [
        (None, 5),
        (b"log:0:4", 5),
        (b"log:0:5", 5),
        (b"log:0:6", 6),
        (b"log:1:6", 5),
        (b"gol:0:6", 5),
        (b"log:0:6, log:0:7", 5),
        (b"log:0", 5),
        (b"\xff", 5),
        (b"", 5),
    ],
)
async def test_the_further_one_counts_of_two_places_in_one_log(sent: bytes | None, offset: int) -> None:
    assert later(Offset(5), sent, LOG) == offset


async def test_a_problem_bears_the_token_of_the_map_or_the_one_that_was_sent(
    replica: Replica, broker: MemoryBroker
) -> None:
    broker.append([Entry(b"k", b"v")] * 3)
    await eventually(lambda: replica.position == 3)
    prefix = f"{broker.log_id}:0:"
    for sent, offset in ((None, 2), (f"{prefix}1", 2), (f"{prefix}7", 7), ("other:0:7", 2)):
        lines = problem_lines(replica, None if sent is None else sent.encode())
        assert lines == f"SLKV-Token: {prefix}{offset}\r\nSLKV-Lag-Ms: 0\r\n".encode()
    assert problem_lines(replica, None) == state_lines(replica)


async def test_of_a_log_without_records_there_is_no_token_but_one_that_was_sent(replica: Replica) -> None:
    assert problem_lines(replica, None) == state_lines(replica) == b"SLKV-Lag-Ms: 0\r\n"
    sent = f"{replica.identity.log_id}:0:0".encode()
    assert problem_lines(replica, sent) == b"SLKV-Token: %b\r\nSLKV-Lag-Ms: 0\r\n" % sent


async def test_without_a_map_nothing_is_said_of_it(replica: Replica, broker: MemoryBroker) -> None:
    broker.append([Entry(b"k", b"v")])
    await eventually(lambda: replica.position == 1)
    broker.recreate()
    await eventually(lambda: not replica.standing.ready)
    assert problem_lines(replica, None) == b""


async def test_the_lag_of_a_plain_put_grows_while_the_map_stands_still(replica: Replica) -> None:
    writes = Writes(replica, counters=HttpCounters(), clock=CoarseClock())
    replica.follower.lag.observe_end(Position(100), asked_at_ms=0)

    def tell_lag() -> int:
        answer = writes.finish_plain(replica.identity, time.monotonic(), Offset(99))
        found = re.search(rb"SLKV-Lag-Ms: (\d+)", answer)
        assert found is not None
        return int(found[1])

    first = tell_lag()
    assert first > 0
    await eventually(lambda: tell_lag() > first)
