"""A shared log in a file: several processes on one host share it, without Kafka; implements `SharedLog`.

The file is append-only: nothing is compacted, so it grows with every write. It is for development, tests and a first
try. An append returns once the batch is on the disk, and no reader sees it before (`log/file_store.py`). Whoever has
the file's lock appends, so one that is stopped while it holds the lock (a matter of milliseconds) stops the others'
writes too; one that dies releases it.

Appending blocks, on the lock and on the disk, so it has a thread of its own; reading is done in the event loop, woken
by the kernel when the file changes.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.core.records import Batch, Entry, Offset, Position
from sharedlogkv_replica.core.token import LogIdentity
from sharedlogkv_replica.errors import (
    ConfigError,
    LogRefused,
    LogReplaced,
    LogTruncated,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
)
from sharedlogkv_replica.log.base import LogDescription, batch_bound_bytes
from sharedlogkv_replica.log.continuity import FENCED, PLAIN, Continuity
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.file_access import find_log_id
from sharedlogkv_replica.log.file_format import ANYBODY
from sharedlogkv_replica.log.file_reader import FileReader
from sharedlogkv_replica.log.file_store import LogFile, create_log
from sharedlogkv_replica.log.file_watch import FileWatch
from sharedlogkv_replica.log.local_fenced import LocalFencedWriter

_PREFIX: Final = "file://"
_TOMBSTONE_SECONDS: Final = 365 * 86_400.0
"""Deletions stay for ever; so this is only the longest replay."""

_REMEMBERED_SECONDS: Final = 600.0
"""Every record stays for ever as well; so this is only for how long requests are remembered, as with Kafka."""

_LOOK_AGAIN_SECONDS: Final = 1.0
"""Where the kernel does not tell of a change, as on some network file systems, it is seen within this time."""

T = TypeVar("T")


def parse_path(url: str) -> Path:
    """The path that `file:///path` spells. Source: RFC 8089; without a host.

    Raises:
        ConfigError: it is not of that form.
    """
    path = unquote(url.removeprefix(_PREFIX))
    if not url.startswith(_PREFIX + "/") or path.endswith("/") or "\0" in path:
        raise ConfigError(f"the log {url!r} is not of the form file:///path")
    return Path(path)


class _Attempt:
    """One append, of which the thread that writes and the loop that waits must agree whether it was begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = False
        self._given_up = False

    def begin(self) -> bool:
        """Asked by the thread: false if it must not be written any more."""
        with self._lock:
            self._begun = not self._given_up
            return self._begun

    def give_up(self) -> bool:
        """Asked by the loop: false if it is too late."""
        with self._lock:
            self._given_up = not self._begun
            return self._given_up


class FileLog:
    """One replica's handle on a log file; made and used within one event loop.

    Args:
        path: where it is.
        expected_id: the only id that `open` accepts; None accepts any at first.
        creates: whether `open` makes the file where there is none, as long as no id is expected or bound.
        batch_limit_bytes: the largest batch to take.
        query_timeout_seconds: how long `open`, `end` and `identify` wait for the disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected_id: str | None = None,
        creates: bool = False,
        batch_limit_bytes: int,
        query_timeout_seconds: float = 5.0,
    ) -> None:
        self.counters = LogCounters()
        self._path = path
        self._creates = creates and expected_id is None
        self._batch_limit_bytes = batch_limit_bytes
        self._query_timeout_seconds = query_timeout_seconds
        self._continuity = Continuity(str(path), expected_id=expected_id)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-file")
        self._file: LogFile | None = None  # used in that thread
        self._watch: FileWatch | None = None
        self._closed = False

    async def open(self) -> LogDescription:
        """See `SharedLog.open`."""
        with self.counters.count_query():
            file = await self._query(self._open)
            try:
                self._continuity.bind(file.log_id)
            except LogReplaced:
                file.close()
                raise
            self._creates = False
            before, self._file = self._file, file
            if before is not None:
                await self._run(before.close)  # behind whatever still uses it
        return LogDescription(
            LogIdentity(file.log_id, 0),
            self._batch_limit_bytes,
            tombstone_seconds=_TOMBSTONE_SECONDS,
            compaction_lag_seconds=_REMEMBERED_SECONDS,
        )

    def _open(self) -> LogFile:
        if self._creates:
            create_log(self._path)
        file = LogFile(self._path, closing=lambda: self._closed)
        try:
            file.settle(time.monotonic() + self._query_timeout_seconds)
        except BaseException:
            file.close()
            raise
        return file

    async def read(self, start: Position) -> AsyncGenerator[Batch, None]:
        """See `SharedLog.read`."""
        if self._closed:
            return
        assert self._file is not None, "open it first"
        assert self._watch is None, "one reading at a time"
        self._watch = FileWatch(self._path)
        try:
            reader = FileReader(self._path, start=start, log_id=self._file.log_id)
            try:
                while not self._closed:
                    batch = reader.next()
                    if batch is None:
                        self._watch.begin()
                        batch = reader.next()  # what came before the kernel was asked
                    if batch is None:
                        await self._watch.wait(_LOOK_AGAIN_SECONDS)
                        continue
                    self.counters.read_batches += 1
                    self.counters.read_records += len(batch.records)
                    yield batch
                    await asyncio.sleep(0)  # a consumer that never awaits would otherwise hold the loop
            finally:
                reader.close()
        finally:
            self._watch.close()
            self._watch = None

    async def end(self) -> Position:
        """See `SharedLog.end`."""
        with self.counters.count_query():
            self._continuity.check_whole()
            try:
                return await self._query(self._existing_file().catch_up)
            except LogReplaced as error:
                self._continuity.break_off(str(error))
                raise LogTruncated(str(error)) from error

    async def identify(self) -> str | None:
        """See `SharedLog.identify`."""
        with self.counters.count_query():
            self._continuity.check_whole()
            return await self._query(lambda: find_log_id(self._path))

    async def append(self, entries: Sequence[Entry], *, timeout_seconds: float) -> Offset:
        """See `SharedLog.append`."""
        assert entries, "an empty batch has no offset"
        with self.counters.count_append():
            self._continuity.check_writable()
            deadline = asyncio.get_running_loop().time() + timeout_seconds
            offset = await self._deliver(entries, deadline=deadline)
        self.counters.count_appended(records=len(entries), size_bytes=batch_bound_bytes(entries))
        return offset

    def fenced_writer(self) -> LocalFencedWriter:
        """See `SharedLog.fenced_writer`."""
        return LocalFencedWriter(self._deliver, self._take_epoch, continuity=self._continuity, counters=self.counters)

    async def close(self) -> None:
        """See `SharedLog.close`."""
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._watch.wake()
        await asyncio.to_thread(self._thread.shutdown)  # what is under way ends first
        if self._file is not None:
            self._file.close()

    # --- the thread --------------------------------------------------------------------------------------------------

    async def _deliver(
        self, entries: Sequence[Entry], *, deadline: float, writer: Writer = ANYBODY, claims: bool = False
    ) -> Offset:
        """Appends the batch in the name of `writer`, by a deadline of the loop's clock."""
        size_bytes = batch_bound_bytes(entries)
        if size_bytes > self._batch_limit_bytes:
            raise RecordTooLarge(
                f"{len(entries)} records take {size_bytes} bytes as one batch; the log takes {self._batch_limit_bytes}"
            )
        file, attempt = self._existing_file(), _Attempt()
        remaining_seconds = deadline - asyncio.get_running_loop().time()
        lock_deadline = time.monotonic() + remaining_seconds
        try:
            async with asyncio.timeout_at(deadline):
                offset = await self._run(
                    lambda: file.append(
                        entries, writer=writer, claims=claims, deadline=lock_deadline, begin=attempt.begin
                    )
                )
        except TimeoutError:
            if attempt.give_up():
                raise LogUnavailable(f"a batch could not be written to {self._path} in time") from None
            raise OutcomeUnknown(f"a batch is being written to {self._path}, and the disk is slow") from None
        except LogReplaced as error:
            self._continuity.break_off(str(error))
            raise LogUnavailable(str(error)) from error
        self._continuity.acknowledge(offset, records=len(entries), writer=PLAIN if writer == ANYBODY else FENCED)
        return offset

    async def _take_epoch(self, deadline: float) -> tuple[str, Writer]:
        file = self._existing_file()
        try:
            async with asyncio.timeout_at(deadline):
                writer = await self._run(file.take_epoch)
        except TimeoutError:
            raise LogUnavailable(f"{self._path} could not be read in time") from None
        except LogReplaced as error:
            self._continuity.break_off(str(error))
            self._continuity.check_writable()
            raise AssertionError("it was broken off just now") from error
        return file.log_id, writer

    def _existing_file(self) -> LogFile:
        if self._closed:
            raise LogUnavailable("the log was closed")
        if self._file is None:
            raise LogRefused(f"there is no log at {self._path}")
        return self._file

    async def _query(self, question: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._query_timeout_seconds):
                return await self._run(question)
        except TimeoutError:
            raise LogUnavailable(f"{self._path} did not answer within {self._query_timeout_seconds:g} s") from None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise LogUnavailable("the log was closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
