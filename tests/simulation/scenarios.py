"""What happens to the simulated store, and what came of it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.scalers import MIN_REPLICAS, TARGET_LAG_SECONDS, Cpu, MaxLag, Ours, Scaler, SumLag
from tests.simulation.world import Rate, World, pulse, steady

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Scenario:
    """One hour or more of a store's life.

    Attributes:
        name: for people.
        appends: records written, a second.
        reads: requests, a second.
        fetches: records that a replica can fetch, a second.
        blind: whether metrics are missing at a second.
        trouble: does something to the world at a second.
        seconds: how long it lasts.
        replicas: how many there are at the beginning.
        sticky: new replicas get no requests.
    """

    name: str
    appends: Rate
    reads: Rate
    fetches: Rate = field(default=lambda second: math.inf)
    blind: Callable[[int], bool] = field(default=lambda second: False)
    trouble: Callable[[World], None] = field(default=lambda world: None)
    seconds: int = HOUR
    replicas: int = MIN_REPLICAS
    sticky: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        pod_minutes: the sum over all replicas of how long they were there.
        late_seconds: seconds in which some serving replica was behind by more than the target, or none served.
        shed: the share of requests that were turned away.
        peak: the most replicas.
        turns: how often a scale-up followed a scale-down, or the reverse.
        worst_turns: the most of these in ten minutes.
        counts: replicas, second by second.
        lags: the greatest lag, second by second.
        scaler: what scaled.
    """

    pod_minutes: float
    late_seconds: int
    shed: float
    peak: int
    turns: int
    worst_turns: int
    counts: tuple[int, ...]
    lags: tuple[float, ...]
    scaler: Scaler


def slow_down_one(world: World) -> None:
    """From the fifth minute on the second replica gets a quarter of its CPU."""
    if world.second == 300:
        world.replicas[1].cpu = 0.25


def restart_all(world: World) -> None:
    """In the fifteenth minute every pod is gone and comes back."""
    if world.second == 900:
        for replica in world.replicas:
            replica.restart(world.second)


def day(second: int) -> float:
    """A day in four hours: quiet at night, busy twice, a peak at noon."""
    phase = 2 * math.pi * second / (4 * HOUR)
    return 6_500 - 4_500 * math.cos(phase) - 1_500 * math.cos(3 * phase)


SCENARIOS = (
    Scenario("read spike", steady(2_000), pulse(3_000, 14_000, start=600, seconds=900)),
    Scenario("write surge above the ceiling", pulse(2_000, 15_000, start=600, seconds=600), steady(3_000)),
    Scenario("one slow replica", steady(2_000), steady(3_000), trouble=slow_down_one),
    Scenario("steady writes, reads x 3", steady(6_000), pulse(2_000, 6_000, start=600, seconds=1_200), replicas=3),
    Scenario("boot storm", steady(2_000), steady(6_000), trouble=restart_all, replicas=3),
    Scenario("broker stall", steady(2_000), steady(3_000), lambda second: 0.0 if 900 <= second < 1_080 else math.inf),
    Scenario(
        "slow brokers", steady(2_000), steady(3_000), lambda second: 1_200.0 if 900 <= second < 1_200 else math.inf
    ),
    Scenario(
        "metrics outage",
        steady(2_000),
        pulse(9_000, 3_000, start=1_000, seconds=900),
        blind=lambda second: 960 <= second < 1_500,
        replicas=5,
    ),
    Scenario("clients that stay", steady(2_000), pulse(3_000, 9_000, start=600, seconds=1_200), sticky=True),
    Scenario("a day", steady(2_000), day, seconds=4 * HOUR),
)

SCALERS: dict[str, Callable[[], Scaler]] = {
    "SharedLogKV": Ours,
    "KEDA, sum of lag": SumLag,
    "HPA, greatest lag": MaxLag,
    "HPA, CPU 70 %": Cpu,
}


def play(scenario: Scenario, scaler: Scaler, *, seed: int) -> Result:
    """Plays a scenario to its end."""
    world = World(scenario.appends, scenario.reads, scenario.fetches, seed=seed, sticky=scenario.sticky)
    world.fill(scenario.replicas)
    counts: list[int] = []
    lags: list[float] = []
    offered = shed = 0.0
    gone: dict[str, tuple[float, float]] = {}
    for _ in range(scenario.seconds):
        world.step()
        scenario.trouble(world)
        lags.append(max((replica.lag_seconds for replica in world.serving), default=math.inf))
        counts.append(len(world.replicas))
        for replica in world.replicas:
            gone[f"{replica.name}/{replica.created}"] = (replica.served, replica.shed)
        scaler.tick(world, blind=scenario.blind(world.second))
    offered = sum(served + refused for served, refused in gone.values())
    shed = sum(refused for _, refused in gone.values())
    turns = find_turns(counts)
    return Result(
        pod_minutes=sum(counts) / 60,
        late_seconds=sum(lag > TARGET_LAG_SECONDS for lag in lags),
        shed=shed / offered if offered else 0.0,
        peak=max(counts),
        turns=len(turns),
        worst_turns=max((sum(turn <= other < turn + 600 for other in turns) for turn in turns), default=0),
        counts=tuple(counts),
        lags=tuple(lags),
        scaler=scaler,
    )


def find_turns(counts: list[int]) -> list[int]:
    """The seconds in which the count began to move the other way than at its last move."""
    turns, last = [], 0
    for second, (before, after) in enumerate(itertools.pairwise(counts), start=1):
        move = (after > before) - (after < before)
        if move and last and move != last:
            turns.append(second)
        last = move or last
    return turns
