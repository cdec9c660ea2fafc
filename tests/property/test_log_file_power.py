"""Whenever the power is lost: what was acknowledged, or seen by any reader, is in the file, and nothing half is."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.records import START, Entry
from sharedlogkv_replica.errors import LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log import file_store
from sharedlogkv_replica.log.file_access import find_log_id
from sharedlogkv_replica.log.file_format import ANYBODY
from sharedlogkv_replica.log.file_reader import FileReader
from sharedlogkv_replica.log.file_store import LogFile, create_log
from tests.support.disk import Disk, Killed


@dataclass(frozen=True)
class Act:
    """One append.

    Attributes:
        who: which process appends.
        size_bytes: of its value.
        fails: the disk does not take it.
        dies_in: before which of its calls the process dies; None: it lives on.
    """

    who: int
    size_bytes: int
    fails: bool
    dies_in: int | None


ACTS = st.lists(
    st.builds(
        Act,
        who=st.integers(0, 1),
        size_bytes=st.sampled_from([0, 20, 300]),
        fails=st.sampled_from([False, False, False, True]),
        dies_in=st.sampled_from([None, None, 0, 1, 2, 3]),
    ),
    min_size=1,
    max_size=10,
)


@dataclass
class Story:
    """What processes did to a file, and what they were told.

    Attributes:
        disk: of the file.
        known: each fact that somebody relies on: the offset, the number of the append, and the moment from which on.
    """

    disk: Disk
    known: list[tuple[int, int, int]] = field(default_factory=list)


@contextmanager
def on(disk: Disk) -> Iterator[None]:
    """Has the log be written to `disk`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_store, "os", disk)
        yield


def open_file(path: Path) -> LogFile:
    """As a process does that begins."""
    file = LogFile(path, closing=lambda: False)
    file.settle(time.monotonic())
    return file


def numbers(path: Path, log_id: str) -> list[tuple[int, int]]:
    """Offset and number of all that a reader sees."""
    reader = FileReader(path, start=START, log_id=log_id)
    found = []
    while batch := reader.next():
        found += [(int(offset), int(key or b"")) for offset, key, _ in batch.records]
    reader.close()
    return found


def perform(path: Path, acts: list[Act]) -> Story:
    """Has two processes append to a new log; one that dies is replaced by the next time that it is to append."""
    create_log(path)
    story = Story(Disk(path.read_bytes()))
    files: dict[int, LogFile] = {}
    log_id = log_id_of(path)

    def look() -> None:
        story.known += [(*seen, story.disk.moment) for seen in numbers(path, log_id)]

    story.disk.watch = look
    with on(story.disk):
        for number, act in enumerate(acts):
            story.disk.fails, story.disk.dies_in = act.fails, act.dies_in
            try:
                if act.who not in files:
                    files[act.who] = open_file(path)
                offset = append(files[act.who], number, act.size_bytes)
                story.known.append((offset, number, story.disk.moment))
            except (OutcomeUnknown, LogUnavailable):
                pass
            except Killed:
                if act.who in files:
                    files.pop(act.who).close()
            look()
    for file in files.values():
        file.close()
    return story


def log_id_of(path: Path) -> str:
    """The id of the log."""
    found = find_log_id(path)
    assert found is not None
    return found


def append(file: LogFile, number: int, size_bytes: int) -> int:
    """Appends two records of a number, of which the second makes the frame as large as is asked for."""
    entries = [Entry(str(number).encode(), b""), Entry(str(number).encode(), bytes([1 + number]) * size_bytes)]
    return file.append(entries, writer=ANYBODY, claims=False, deadline=time.monotonic(), begin=lambda: True)


@settings(max_examples=300)
@given(acts=ACTS, share=st.floats(0, 1), luck=st.integers(0, 2**32))
def test_after_a_loss_of_power_all_that_was_acknowledged_or_seen_is_there(
    acts: list[Act], share: float, luck: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        story = perform(Path(directory) / "before.log", acts)
        moment = round(share * story.disk.moment)
        path = Path(directory) / "after.log"
        path.write_bytes(story.disk.image(moment, Random(luck)))
        log_id = log_id_of(path)
        file = open_file(path)
        found = numbers(path, log_id)
        assert {(offset, number) for offset, number, since in story.known if since <= moment} <= set(found)
        assert [offset for offset, _ in found] == list(range(len(found)))
        kinds = [number for _, number in found]
        assert all(kinds.count(number) == 2 for number in kinds), "a batch is in half, or twice"
        assert append(file, 99, 20) == len(found)
        assert numbers(path, log_id)[-1] == (len(found) + 1, 99)
        file.close()
