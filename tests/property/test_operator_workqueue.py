"""The work queue against a model: nothing is lost, nothing runs twice at a time."""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sharedlogkv_operator.workqueue import Backoff, WorkQueue
from tests.support.virtual_time import VirtualTimeLoop

KEYS = st.sampled_from(["a", "b", "c", "d"])
SECONDS = st.integers(1, 200).map(lambda eighths: eighths / 8)
"""Their sums are exact: two moments are the same, or differ by more than the nanosecond that a loop does not see."""


class QueueMachine(RuleBasedStateMachine):
    """Adds, takes and ends keys in any order, and remembers which of them still must come."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.queue = self.runner.run(self.build())
        self.owed: set[str] = set()  # something happened to them since they were last taken
        self.later: dict[str, float] = {}  # they are to come by then
        self.running: set[str] = set()

    async def build(self) -> WorkQueue:
        return WorkQueue(backoff=Backoff(1, 8), chance=lambda: 0.0)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        async def add() -> None:
            self.queue.add(key)

        self.runner.run(add())
        self.owed.add(key)

    @rule(key=KEYS, seconds=SECONDS)
    def add_after(self, key: str, seconds: float) -> None:
        async def add() -> float:
            self.queue.add_after(key, seconds)
            return asyncio.get_running_loop().time() + seconds

        moment = self.runner.run(add())
        self.later[key] = min(moment, self.later.get(key, moment))

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        async def wait() -> float:
            await asyncio.sleep(seconds)
            return asyncio.get_running_loop().time()

        now = self.runner.run(wait())
        due = {key for key, moment in self.later.items() if moment <= now}
        self.owed |= due
        for key in due:
            del self.later[key]

    @precondition(lambda self: self.owed - self.running)
    @rule()
    def take(self) -> None:
        key = self.runner.run(asyncio.wait_for(self.queue.get(), 0.01))
        assert key not in self.running
        assert key in self.owed
        self.owed.discard(key)
        self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))

        async def done() -> None:
            self.queue.done(key)

        self.runner.run(done())
        self.running.discard(key)

    @invariant()
    def what_is_owed_and_not_running_waits(self) -> None:
        assert self.queue.depth == len(self.owed - self.running)

    def teardown(self) -> None:
        self.runner.close()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
