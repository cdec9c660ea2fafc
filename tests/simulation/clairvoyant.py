"""What a scaler could do at best that knew the load beforehand: a bound to hold the others to.

It has as many replicas as the load needs when they use all of their CPU, each started just so early that it serves in
time. Where writes come faster than a replica applies them no count is enough: there it takes the fewest with which it
is back in time. It replaces a replica that it knows to be slow. Nobody else can know any of this, and whoever wants a
reserve needs more.
"""

import itertools
import math
from dataclasses import dataclass

from sharedlogkv_operator.autoscaler.policy import Policy
from tests.simulation.scalers import MAX_REPLICAS, MIN_REPLICAS, TARGET_LAG_SECONDS
from tests.simulation.scenarios import Result, Scenario, play
from tests.simulation.world import IDLE_CPU, RECORD_COST, REPLAY_RECORDS, REQUEST_COST, START_SECONDS, World

BOOT_SECONDS = START_SECONDS + int(REPLAY_RECORDS * RECORD_COST) + 1
CATCH_UP_SECONDS = int(Policy().catch_up_seconds)
PATIENCE_SECONDS = BOOT_SECONDS + CATCH_UP_SECONDS
"""The lag bound is kept by whoever is late for at most so much longer than could not be helped: without foresight a
boot and `catchUpSeconds`. Ours needs the latter alone, but a narrower bound would leave fewer to compare it with."""
LEADS = (BOOT_SECONDS, BOOT_SECONDS + 60)
"""A replica has yet to apply what was written while it replayed, which takes longer where reads leave it little CPU."""
SLACKS = (0.0, 0.02, 0.04)
"""CPUs left over, where records fall behind without: loads and costs waver."""
ALL_CPU = 1 - IDLE_CPU


class Constant:
    """The same count from the first second on."""

    def __init__(self, count: int) -> None:
        self._count = count

    def tick(self, world: World, *, blind: bool) -> None:
        """See `Scaler`."""
        world.scale(self._count)


class Clairvoyant:
    """As many as will be needed in `lead` seconds; `hopeless` where no count is enough, until that is made up for."""

    def __init__(self, needs: list[float], *, lead: int, hopeless: int) -> None:
        known = [hopeless if math.isinf(need) else int(need) for need in needs]
        self._plan = [max(known[second : second + lead]) for second in range(len(known))]
        self._hopeless = hopeless
        self._begins = needs.index(math.inf) if math.inf in needs else len(needs)

    def tick(self, world: World, *, blind: bool) -> None:
        """See `Scaler`."""
        count = self._plan[min(world.second, len(self._plan) - 1)]
        is_late = any(replica.lag_seconds > TARGET_LAG_SECONDS for replica in world.serving)
        if is_late and world.second >= self._begins:
            count = max(count, self._hopeless)
        slow = [replica for replica in world.replicas if replica.cpu < 1]
        if slow and len(world.serving) - len(slow) < count:
            count += len(slow)
        world.scale(count, tuple(replica.name for replica in slow))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no scaler can do better.

    Attributes:
        least_late_seconds: how long any of them is late at least.
        foreseen: the cheapest result with foresight that keeps the lag bound, by the last of the CPU.
        reserved: the same with the reserve that `readUtilization` leaves, as ours is told to.
        hopeless: where no count keeps up with the writes, the results of the counts up to half of the most that stay
            until that is made up for; empty elsewhere.
    """

    least_late_seconds: int
    foreseen: Result
    reserved: Result
    hopeless: tuple[Result, ...]

    def waste(self, result: Result) -> float:
        """The pod-minutes beyond what foresight with the same reserve takes."""
        return result.pod_minutes - self.reserved.pod_minutes

    def least_late_within(self, pod_minutes: float) -> int:
        """How long foresight is late at least, above the ceiling, that takes no more than so many pod-minutes.

        The same count as long as anybody is late is the best use of them: what reads take of each of F replicas goes
        with 1/F, whose mean is least where F does not change.
        """
        return min(result.late_seconds for result in self.hopeless if result.pod_minutes <= pod_minutes)

    def is_kept(self, result: Result) -> bool:
        """Whether the lag bound was kept: late for at most `PATIENCE_SECONDS` longer than could not be helped."""
        return result.late_seconds <= self.least_late_seconds + PATIENCE_SECONDS


def find_bounds(scenario: Scenario, *, seed: int) -> Bounds:
    """The bounds of a scenario, with the noise of `seed`."""
    constants = [play(scenario, Constant(count), seed=seed) for count in (scenario.replicas, MAX_REPLICAS)]
    least = min(result.late_seconds for result in constants)

    most = least + PATIENCE_SECONDS
    kept = [result for result in constants if result.late_seconds <= most]

    foreseen, reserved = (
        _play_clairvoyant(scenario, seed=seed, cpu=cpu, late_seconds=most)
        for cpu in (ALL_CPU, Policy().read_utilization)
    )
    cheapest = min([*kept, foreseen], key=lambda result: result.pod_minutes)
    return Bounds(least, foreseen=cheapest, reserved=reserved, hopeless=_play_hopeless(scenario, seed=seed))


def _play_hopeless(scenario: Scenario, *, seed: int) -> tuple[Result, ...]:
    needs = _foresee(scenario, cpu=ALL_CPU)
    if math.inf not in needs:
        return ()
    plans = (Clairvoyant(needs, lead=LEADS[-1], hopeless=count) for count in range(MIN_REPLICAS, MAX_REPLICAS // 2 + 1))
    return tuple(play(scenario, plan, seed=seed) for plan in plans)


def _play_clairvoyant(scenario: Scenario, *, seed: int, cpu: float, late_seconds: int) -> Result:
    """The first result that is late no longer than that, from the cheapest plan on."""
    most = MAX_REPLICAS if math.isinf(max(_foresee(scenario, cpu=cpu))) else MIN_REPLICAS
    slacks = SLACKS if most == MIN_REPLICAS else SLACKS[:1]
    for hopeless, slack, lead in itertools.product(range(MIN_REPLICAS, most + 1), slacks, LEADS):
        plan = Clairvoyant(_foresee(scenario, cpu=cpu - slack), lead=lead, hopeless=hopeless)
        found = play(scenario, plan, seed=seed)
        if found.late_seconds <= late_seconds:
            return found
    raise AssertionError(f"no plan keeps the lag bound: {scenario.name}")


def _foresee(scenario: Scenario, *, cpu: float) -> list[float]:
    """The fewest replicas that keep up, second by second."""
    return [_need(scenario, second, cpu=cpu) for second in range(scenario.seconds)]


def _need(scenario: Scenario, second: int, *, cpu: float) -> float:
    """The fewest replicas that keep up at a second; infinite where none do."""
    if scenario.sticky:  # further ones would get no requests
        return MIN_REPLICAS
    left = cpu - RECORD_COST * scenario.appends(second)
    if left <= 0:
        return math.inf
    return max(MIN_REPLICAS, math.ceil(round(scenario.reads(second) * REQUEST_COST / left, 6)))
