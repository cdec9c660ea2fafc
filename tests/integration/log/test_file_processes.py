"""Real processes that take a log file from each other, and are stopped, continued and killed meanwhile."""

import asyncio
import fcntl
import itertools
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sharedlogkv_replica.core.records import Offset
from tests.support.eventually import eventually
from tests.support.fenced_contract import CLAIM_KEY, check_terms, contents
from tests.support.file import FileSite
from tests.support.log_site import opened

TURNS = 6


class Contender:
    """One process, and what it has said so far."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self.acknowledged: dict[Offset, bytes] = {}
        self.said: Counter[str] = Counter()

    async def start(self) -> None:
        """Starts the process, under a name that no earlier one had."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.file_contender", str(self._path), self._name,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.endswith(b"\n"):
                return
            word, _, rest = line.decode().strip().partition(" ")
            if word.isdigit():
                self.acknowledged[Offset(int(word))] = rest.encode()
                word = "acknowledged"
            self.said[word] += 1

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def _is_stopped(self) -> bool:
        stats = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats} == {"T"}

    async def kill(self) -> None:
        """Kills the process, and hears all that it said."""
        self._process.kill()
        await self._process.wait()
        await self._listening

    async def pause(self) -> None:
        """Stops the process at a moment when it does not hold the lock."""
        with self._path.open("rb") as file:
            while True:
                self.send(signal.SIGSTOP)
                await eventually(self._is_stopped, what="all threads to stop")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.send(signal.SIGCONT)
                else:
                    fcntl.flock(file, fcntl.LOCK_UN)
                    return


async def all_lead(contenders: list[Contender]) -> None:
    """Returns once each of them has written for a while."""
    before = {contender: contender.said["acknowledged"] for contender in contenders}
    await eventually(
        lambda: all(contender.said["acknowledged"] > before[contender] + 20 for contender in contenders),
        timeout_seconds=30,
        what="everybody to lead",
    )


async def shut_out(zombie: Contender) -> None:
    """Continues a process that was paused while others led, and returns once it is told so."""
    fenced = zombie.said["fenced"]
    zombie.send(signal.SIGCONT)
    await eventually(lambda: zombie.said["fenced"] > fenced, timeout_seconds=30, what="the zombie to be shut out")


@pytest_asyncio.fixture(name="file_site")
async def _file_site(tmp_path: Path) -> AsyncIterator[FileSite]:
    site = FileSite(tmp_path)
    yield site
    await site.close()


@pytest.mark.asyncio
async def test_processes_that_are_stopped_and_killed_lose_and_mix_nothing(file_site: FileSite) -> None:
    contenders = [Contender(file_site.path, name) for name in ("a", "b", "c")]
    running = list(contenders)

    for contender in running:
        await contender.start()
    for turn in range(TURNS):
        await all_lead(running)
        zombie, victim = running[0], running[1]
        await zombie.pause()
        await victim.kill()
        fresh = Contender(file_site.path, f"fresh{turn}")
        await fresh.start()
        contenders.append(fresh)
        others = [contender for contender in running if contender not in (zombie, victim)] + [fresh]
        await all_lead(others)
        await shut_out(zombie)
        running = [*others, zombie]
    for contender in running:
        await contender.kill()
    records = await contents(await opened(file_site))
    check_terms(records)
    values = {offset: value for offset, _, value in records}
    written = [value for _, key, value in records if key != CLAIM_KEY]
    assert {sum(1 for _ in same) for _, same in itertools.groupby(written)} == {2}, "a batch is in half, or twice"
    for contender in contenders:
        assert contender.acknowledged.items() <= values.items(), "an acknowledged record is lost"
        assert contender.said["hindered"] == 0
