"""The log in a file: the contracts of every log and of every fenced writer, and what only a file has."""

import asyncio
import errno
import fcntl
import os
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.records import START, Entry, Position
from sharedlogkv_replica.errors import Fenced, LogRefused, LogTruncated, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.file import FileLog, parse_path
from sharedlogkv_replica.log.file_format import HEADER_BYTES, SYNCED_END_AT, encode_synced_end
from sharedlogkv_replica.log.file_reader import FileReader
from tests.support.fenced_contract import FencedContract, claim, write
from tests.support.file import LIMIT_BYTES, FileSite
from tests.support.log_contract import LogContract
from tests.support.log_site import DEADLINE_SECONDS, append, numbered, opened, read_to

SHORT_SECONDS = 0.05


@pytest_asyncio.fixture(name="site")
async def _site(tmp_path: Path) -> AsyncIterator[FileSite]:
    site = FileSite(tmp_path)
    yield site
    await site.close()


class TestFileLog(LogContract):
    """The contract, on a file."""


class TestFileFencedWriter(FencedContract):
    """The contract of fenced writers, on a file."""


# --- a file that is not there, or is none of ours ---------------------------------------------------------------------


def creating(path: Path, *, expected_id: str | None = None) -> FileLog:
    """A handle as the replica makes it."""
    return FileLog(path, expected_id=expected_id, creates=True, batch_limit_bytes=LIMIT_BYTES)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.asyncio
async def test_several_that_start_at_once_where_there_is_no_file_make_one_log(tmp_path: Path) -> None:
    logs = [creating(tmp_path / "new.log") for _ in range(8)]
    ids = {description.identity.log_id for description in await asyncio.gather(*(log.open() for log in logs))}
    assert len(ids) == 1
    await append(logs[0], *numbered(1))
    assert await logs[7].end() == 1
    assert names_in(tmp_path) == ["new.log"], "nothing else is left there"
    for log in logs:
        await log.close()


@pytest.mark.asyncio
async def test_a_file_that_was_lost_is_not_made_again_behind_whoever_knew_it(tmp_path: Path) -> None:
    path = tmp_path / "new.log"
    log = creating(path)
    log_id = (await log.open()).identity.log_id
    path.unlink()
    with pytest.raises(LogRefused):
        await log.open()
    with pytest.raises(LogRefused):
        await append(log, *numbered(1))
    other = creating(path, expected_id=log_id)
    with pytest.raises(LogRefused):
        await other.open()
    assert not path.exists()
    await log.close()
    await other.close()


@pytest.mark.asyncio
async def test_what_is_no_log_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes, which are longer than a header")
    empty = tmp_path / "empty"
    empty.touch()
    for path in (notes, empty, tmp_path, tmp_path / "missing" / "a.log"):
        log = creating(path)
        with pytest.raises(LogRefused, match=str(path.name if path.parent.exists() else path.parent)):
            await log.open()
        await log.close()
    assert (notes.stat().st_size, empty.stat().st_size) == (40, 0)


def test_a_path_is_spelled_as_a_url() -> None:
    assert parse_path("file:///tmp/my%20log") == Path("/tmp/my log")


# --- what a crash or a bad disk leaves --------------------------------------------------------------------------------


def leave(site: FileSite, data: bytes, *, behind: int) -> None:
    """Puts what a crash may have left behind byte `behind` of the file, to where it is published."""
    with site.path.open("r+b") as file:
        file.truncate(behind)
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.seek(SYNCED_END_AT)
        file.write(encode_synced_end(behind))


@pytest.mark.asyncio
async def test_whatever_a_crash_leaves_of_the_last_batch_is_cut_off_by_the_next(site: FileSite) -> None:
    log = await opened(site)
    await append(log, *numbered(2))
    whole_bytes = site.path.stat().st_size
    await append(log, *numbered(3, "torn"))
    torn = site.path.read_bytes()[whole_bytes:]
    remains = [torn[:size] for size in range(len(torn))]
    for left in [*remains, bytes(30), bytes(500), torn[:-1] + b"!", bytes(60) + torn[60:] + b"more"]:
        leave(site, left, behind=whole_bytes)
        fresh = await opened(site)
        assert await fresh.end() == 2
        assert len(await read_to(fresh, Position(2))) == 2
        assert await append(fresh, Entry(b"next", b"1")) == 2
        assert [key for _, key, _ in await read_to(fresh, Position(3))] == [b"key-0", b"key-1", b"next"]
        await fresh.close()


@pytest.mark.parametrize("by", ["opening", "append"])
@pytest.mark.asyncio
async def test_a_whole_batch_that_a_crash_left_is_published_by_the_next(site: FileSite, by: str) -> None:
    """After a loss of power it may have been acknowledged; so it is not cut off."""
    log = await opened(site)
    await append(log, *numbered(2))
    whole_bytes = site.path.stat().st_size
    await append(log, *numbered(3, "left"))
    left = site.path.read_bytes()[whole_bytes:]
    other = await opened(site)
    leave(site, left, behind=whole_bytes)
    if by == "opening":
        await opened(site)
        assert await other.end() == 5
    else:
        assert await other.end() == 2
        assert await append(other, *numbered(1)) == 5
    assert [key for _, key, _ in await read_to(other, Position(5))][2:5] == [b"left-0", b"left-1", b"left-2"]


# --- a disk that is slow, or fails ------------------------------------------------------------------------------------


class SlowDisk:
    """Has `fdatasync` wait until it is let go, or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._asked = threading.Event()
        self._may_go = threading.Event()
        self._error: OSError | None = None
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self._asked.set()
        assert self._may_go.wait(DEADLINE_SECONDS)
        if self._error is not None:
            raise self._error

    async def is_asked(self) -> None:
        """Returns once something waits for the disk."""
        assert await asyncio.to_thread(self._asked.wait, DEADLINE_SECONDS)

    def let_go(self, error: OSError | None = None) -> None:
        """From now on the disk answers at once."""
        self._error = error
        self._may_go.set()


@pytest.mark.asyncio
async def test_nobody_sees_a_batch_before_the_disk_has_confirmed_it(
    site: FileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = await opened(site), await opened(site)
    log_id = await log.identify()
    assert log_id is not None
    disk = SlowDisk(monkeypatch)
    appending = asyncio.create_task(append(log, *numbered(2)))
    await disk.is_asked()
    reader = FileReader(site.path, start=START, log_id=log_id)
    assert site.path.stat().st_size > HEADER_BYTES
    assert reader.next() is None
    assert await other.end() == 0
    opening = asyncio.create_task(opened(site))
    disk.let_go()
    await appending
    batch = reader.next()
    reader.close()
    assert batch is not None
    assert len(batch.records) == 2
    assert await other.end() == await (await opening).end() == 2


@pytest.mark.asyncio
async def test_a_log_is_not_opened_while_it_is_open_whether_its_last_batch_is_on_the_disk(
    site: FileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened(site)
    disk = SlowDisk(monkeypatch)
    appending = asyncio.create_task(append(log, *numbered(2)))
    await disk.is_asked()
    hasty = FileLog(site.path, batch_limit_bytes=LIMIT_BYTES, query_timeout_seconds=SHORT_SECONDS)
    with pytest.raises(LogUnavailable):
        await hasty.open()
    disk.let_go()
    await appending
    patient = await opened(site)
    assert await patient.end() == 2


@pytest.mark.asyncio
async def test_a_batch_that_the_disk_did_not_take_is_unknown_and_never_seen(
    site: FileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = await opened(site), await opened(site)
    disk = SlowDisk(monkeypatch)
    disk.let_go(OSError(errno.EIO, "the disk is broken"))
    with pytest.raises(OutcomeUnknown, match="the disk is broken"):
        await append(log, *numbered(2, "refused"))
    assert await other.end() == 0
    disk.let_go()
    assert await append(other, *numbered(1)) == 0
    assert [key for _, key, _ in await read_to(log, Position(1))] == [b"key-0"]


@pytest.mark.parametrize("more", [True, False])
@pytest.mark.parametrize("place", ["head", "body"])
@pytest.mark.asyncio
async def test_damage_in_what_was_published_is_refused_with_its_place_and_nothing_is_cut(
    site: FileSite, place: str, more: bool
) -> None:
    log = await opened(site)
    await append(log, *numbered(1))
    damaged_at = site.path.stat().st_size
    await append(log, *numbered(1))
    if more:
        await append(log, *numbered(1))
    data = bytearray(site.path.read_bytes())
    data[damaged_at + (3 if place == "head" else 60)] ^= 1
    site.path.write_bytes(data)
    fresh = await opened(site)
    for refused in (fresh.end(), append(fresh, *numbered(1)), read_to(fresh, Position(3))):
        with pytest.raises(LogRefused, match=f"damaged at byte {damaged_at}"):
            await refused
    assert site.path.read_bytes() == data


@pytest.mark.asyncio
async def test_a_file_that_lost_its_end_is_told_of(site: FileSite) -> None:
    log, other = await opened(site), await opened(site)
    await append(log, *numbered(5))
    reading = asyncio.create_task(read_to(other, Position(100)))
    await asyncio.sleep(0)
    os.truncate(site.path, HEADER_BYTES)
    with pytest.raises(LogUnavailable, match="lost records"):
        await append(log, *numbered(1))
    with pytest.raises(LogTruncated):
        await reading
    with pytest.raises(LogRefused, match="lost records"):
        await opened(site)


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Has this process write no file beyond `limit_bytes`, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.asyncio
async def test_a_full_disk_is_unavailable_and_costs_no_claim(site: FileSite) -> None:
    log = await opened(site)
    writer = log.fenced_writer()
    await claim(writer)
    size = site.path.stat().st_size
    with file_size_limit(size + 50), pytest.raises(LogUnavailable, match="File too large"):
        await write(writer, *numbered(10))
    assert site.path.stat().st_size == size
    await write(writer, *numbered(1))
    assert len(await read_to(log, await log.end())) == 2


# --- the lock, and waiting --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_while_somebody_holds_the_lock_nothing_is_written_and_reads_go_on(site: FileSite) -> None:
    log = await opened(site)
    writer = log.fenced_writer()
    await claim(writer)
    with site.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = asyncio.create_task(append(log, *numbered(1)))
        with pytest.raises(LogUnavailable):  # behind the first one
            await log.append(numbered(1), timeout_seconds=SHORT_SECONDS)
        assert len(await read_to(log, Position(1))) == 1
    await waiting
    await write(writer, *numbered(1))
    assert await log.end() == 3


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_the_lock(site: FileSite) -> None:
    log = await opened(site)
    with site.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = asyncio.create_task(append(log, *numbered(1)))
        await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_SECONDS / 3):
            await log.close()
            with pytest.raises(LogUnavailable):
                await waiting


@pytest.mark.asyncio
async def test_a_reader_is_woken_by_each_change_and_does_not_look_now_and_then(site: FileSite) -> None:
    """By looking every second, this would take a minute."""
    log, other = await opened(site), await opened(site)
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(other.read(START)) as reading:
        for number in range(60):
            coming = asyncio.ensure_future(anext(reading))
            await asyncio.sleep(0)
            assert not coming.done()
            await append(log, Entry(b"key", str(number).encode()))
            assert [value for _, _, value in (await coming).records] == [str(number).encode()]


@pytest.mark.asyncio
async def test_a_copy_put_in_its_place_is_the_same_log(site: FileSite) -> None:
    """So a damaged file can be replaced by a good copy; what is in neither, the fence still knows."""
    log = await opened(site)
    old, new = log.fenced_writer(), log.fenced_writer()
    await claim(old)
    await claim(new)
    copy = site.path.with_suffix(".copy")
    copy.write_bytes(site.path.read_bytes())
    copy.rename(site.path)
    with pytest.raises(Fenced):
        await write(old, *numbered(1))
    await write(new, *numbered(1))
    assert len(await read_to(log, await (await opened(site)).end())) == 3
