"""Where a run takes place: brokers, a topic, replicas, clients at work, and somebody who watches the log."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeVar

from sharedlogkv_replica.core.leadership import Claim, Resign
from tests.chaos.history import Recorder
from tests.chaos.log_watch import LogWatch
from tests.chaos.replicas import Replica, leaders
from tests.support.commands import run
from tests.support.kafka import KafkaCluster
from tests.support.waiting import DeadlinePassed, wait_until

T = TypeVar("T")

TOPIC_CONFIG: Final = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "min.insync.replicas": "2",
    # Compaction all the time, of everything but the last while, in which requests are remembered.
    "min.compaction.lag.ms": "20000",
    "max.compaction.lag.ms": "25000",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "5000",
    "delete.retention.ms": "600000",
}
RECOVERY_SECONDS: Final = 120.0
OUTAGE_SECONDS: Final = 0.3
"""For so long writes never wait when all is well."""


class DidNotBite(AssertionError):
    """A nemesis did its work, and nothing was disturbed: such a run proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that a nemesis can lay hands on; its methods may be called from one task at a time.

    Attributes:
        testbed: The program of the testbed.
        kafka: The brokers, with all rights.
        brokers: How many there are; they bear the numbers from 1 on.
        topic: The log.
        replicas: All replicas, also those that don't run.
        recorder: The history.
        watch: What the log says.
        chance: Draws what is left to chance.
        has_leader: The replicas run in `Leader` mode.
        say: Tells the person who waits.
    """

    testbed: str
    kafka: KafkaCluster
    brokers: int
    topic: str
    replicas: Sequence[Replica]
    recorder: Recorder
    watch: LogWatch
    chance: random.Random
    has_leader: bool
    say: Callable[[str], None]

    def note(self, text: str) -> None:
        """Tells what is done, the person and the history."""
        self.recorder.note(text)
        self.say(text)

    async def fault(self, *words: str) -> None:
        """Breaks or mends something of the testbed."""
        await asyncio.to_thread(run, self.testbed, "fault", *words, timeout_seconds=120)

    async def victim(self) -> Replica:
        """The leader; where there are none by design, any replica."""
        if not self.has_leader:
            return self.chance.choice([replica for replica in self.replicas if replica.runs])
        return (await self.until(lambda: leaders(self.replicas), "a leader"))[0]

    async def until(self, probe: Callable[[], T | None], what: str, *, seconds: float = RECOVERY_SECONDS) -> T:
        """Waits for a state; what `probe` returns once it is true.

        Raises:
            DeadlinePassed: It is not reached.
        """
        return await asyncio.to_thread(wait_until, probe, what=what, timeout_seconds=seconds)

    async def until_bitten(self, probe: Callable[[], T | None], what: str, *, seconds: float = RECOVERY_SECONDS) -> T:
        """Waits for the evidence that something was disturbed.

        Raises:
            DidNotBite: There is none.
        """
        try:
            return await self.until(probe, what, seconds=seconds)
        except DeadlinePassed as error:
            raise DidNotBite(f"not seen: {what}") from error

    async def until_new_term(self, than: int | None, what: str) -> None:
        """Waits until somebody else has claimed; a no-op where nobody leads.

        Raises:
            DidNotBite: Nobody did.
        """
        if not self.has_leader:
            return
        begin = time.monotonic()
        await self.until_bitten(lambda: self.watch.term != than, f"a new term after {what}")
        offset, claim = self.watch.claims[-1]
        took = time.monotonic() - begin
        self.note(f"  {claim.replica} claimed term {offset} as {claim.writer} after {took:.1f} s")

    async def until_disturbed(self, mark: int, what: str) -> None:
        """Waits until writes behind the mark have failed or are in doubt.

        Raises:
            DidNotBite: None did.
        """

        def disturbed() -> int:
            return len(self.recorder.writes_ended("fail", "info", since=mark))

        count = await self.until_bitten(disturbed, f"disturbed writes after {what}")
        self.note(f"  {count} writes failed or are in doubt")

    async def until_steady(self, replicas: Sequence[Replica] | None = None) -> None:
        """Waits until all replicas are Ready and clients' writes are acknowledged again."""
        mark = self.recorder.mark
        begin = time.monotonic()
        for replica in self.replicas if replicas is None else replicas:
            await asyncio.to_thread(replica.await_ready)
        await self.until(lambda: len(self.recorder.writes_ended("ok", since=mark)) >= 20, "acknowledged writes")
        self.note(f"  steady again after {time.monotonic() - begin:.1f} s")

    def disturbances(self, mark: int, seen: int) -> list[str]:
        """What was disturbed behind the mark, and behind so many records about leadership, in words; empty: nothing."""
        records = [entry.record for entry in self.watch.seen[seen:]]
        changes = sum(isinstance(record, Claim | Resign) for record in records)
        troubled = len(self.recorder.writes_ended("fail", "info", since=mark))
        outage = self.longest_outage(mark)
        found = {
            f"{changes} claims and resignations": changes > 0,
            f"{troubled} writes that failed or are in doubt": troubled > 0,
            f"no write acknowledged for {outage:.1f} s": outage >= OUTAGE_SECONDS,
        }
        return [words for words, disturbed in found.items() if disturbed]

    def longest_outage(self, mark: int) -> float:
        """The longest time without an acknowledged write, from the last one before the mark on, in seconds."""
        last = self.recorder.last_acknowledged(before=mark)
        ends = self.recorder.writes_ended("ok", since=mark)
        times = [end.at for end in ([last] if last is not None else []) + ends]
        return max((late - early for early, late in pairwise(times)), default=0) / 1e9
