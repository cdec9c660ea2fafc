"""What work costs, the limit of the CPU, and the guard that turns reads away."""

import asyncio
import time
from pathlib import Path

import pytest

from sharedlogkv_replica.core.modes import Reason, Standing
from sharedlogkv_replica.core.records import Batch, Offset, Position
from sharedlogkv_replica.engine.cpu_limit import read_cpu_limit
from sharedlogkv_replica.engine.follow import Follower
from sharedlogkv_replica.engine.load import LoadMeter
from sharedlogkv_replica.engine.read_guard import ReadGuard
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog

BATCH = Batch([(Offset(0), b"key", b"value"), (Offset(1), b"key", None)], Position(2), 1)


def spin(seconds: float) -> None:
    """Uses CPU for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_cpu_spent_on_a_batch_is_told_from_cpu_spent_otherwise() -> None:
    load = LoadMeter()
    applied, served = load.apply_cpu_seconds, load.serve_cpu_seconds
    load.begin_batch()
    spin(0.05)
    load.end_batch(BATCH)
    spin(0.02)
    assert load.apply_cpu_seconds - applied >= 0.05
    assert 0.02 <= load.serve_cpu_seconds - served < 0.05


def test_waiting_for_a_batch_is_counted_until_it_comes_and_not_while_it_is_applied() -> None:
    load = LoadMeter()
    assert load.fetch_wait_seconds == 0.0
    load.wait_for_batch()
    spin(0.01)
    waiting = load.fetch_wait_seconds
    assert waiting >= 0.01
    load.end_wait()
    waited = load.fetch_wait_seconds
    load.begin_batch()
    load.end_batch(BATCH)
    assert load.fetch_wait_seconds == waited >= waiting


def test_bytes_are_estimated_from_the_last_record_of_each_batch() -> None:
    load = LoadMeter()
    for batch in (BATCH, Batch([(Offset(2), b"key", b"value")], Position(3), 1), Batch([], Position(9), 0)):
        load.begin_batch()
        load.end_batch(batch)
    assert load.applied_bytes == 2 * 3 + 8


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 1.0),
        ({"proc/self/cgroup": "0::/pod/x", "sys/fs/cgroup/pod/x/cpu.max": "25000 100000"}, 0.25),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"proc/self/cgroup": "0::/pod/seen/from/outside", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 1.0),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "400000 100000"}, 1.0),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "nonsense"}, 1.0),
        (
            {
                "proc/self/cgroup": "4:memory:/pod\n3:cpu,cpuacct:/pod/x",
                "sys/fs/cgroup/cpu,cpuacct/pod/x/cpu.cfs_quota_us": "30000",
                "sys/fs/cgroup/cpu,cpuacct/pod/x/cpu.cfs_period_us": "100000",
            },
            0.3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpuacct,cpu:/pod/seen/from/outside",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "30000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1.0,
        ),
    ],
    ids=[
        "nothing",
        "v2",
        "v2 root",
        "v2 namespace",
        "v2 none",
        "v2 many",
        "v2 broken",
        "v1",
        "v1 namespace",
        "v1 none",
    ],
)
def test_the_limit_of_the_control_group_is_read(tmp_path: Path, files: dict[str, str], limit: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert read_cpu_limit(tmp_path) == pytest.approx(limit)


def test_this_machine_has_a_limit() -> None:
    assert 0 < read_cpu_limit() <= 1


def behind(seconds: float) -> Follower:
    """A follower that serves, and is behind by so long."""
    follower = Follower(MemoryLog(MemoryBroker()))
    follower.standing = Standing(True, Reason.SERVING, "serving")
    lag_to(follower, seconds)
    return follower


def lag_to(follower: Follower, seconds: float) -> None:
    follower.lag.end = Position(10)
    follower.lag.applied_ms = int((time.time() - seconds) * 1000)


def test_the_guard_turns_reads_away_evenly_and_tells_when_it_begins_and_ends() -> None:
    follower = behind(0.0)
    guard = ReadGuard(follower, limit_seconds=100.0)
    changes: list[float] = []
    guard.on_change = lambda: changes.append(guard.share)
    guard.look(waiting_share=0.0)
    assert not any(guard.sheds() for _ in range(100))
    lag_to(follower, 52.8)
    guard.look(waiting_share=0.0)
    assert guard.share == pytest.approx(0.5, abs=0.01)
    assert 48 <= sum(guard.sheds() for _ in range(100)) <= 52
    assert follower.is_urgent
    lag_to(follower, 1.0)
    guard.look(waiting_share=0.0)
    assert [bool(share) for share in changes] == [True, False]
    assert not follower.is_urgent


def test_the_guard_begins_only_once_the_map_was_near_the_end() -> None:
    follower = behind(90.0)
    guard = ReadGuard(follower, limit_seconds=100.0)
    guard.look(waiting_share=0.0)
    assert guard.share == 0.0
    lag_to(follower, 1.0)
    guard.look(waiting_share=0.0)
    lag_to(follower, 90.0)
    guard.look(waiting_share=0.0)
    assert guard.share > 0
    follower.standing = Standing(False, Reason.REPLAYING, "another life")
    guard.look(waiting_share=0.0)
    follower.standing = Standing(True, Reason.SERVING, "serving")
    guard.look(waiting_share=0.0)
    assert guard.share == 0.0


@pytest.mark.asyncio
async def test_a_guard_without_a_limit_does_nothing() -> None:
    async with asyncio.timeout(5):
        await ReadGuard(behind(1e6), limit_seconds=0.0).run()
