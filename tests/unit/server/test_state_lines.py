"""How old the lag of an answer may be."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.writes import Writes
from tests.support.eventually import eventually

pytestmark = pytest.mark.asyncio


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
