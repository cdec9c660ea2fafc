"""What scales the simulated store: our decision, and others as their documentation says.

Source: Kubernetes, "Horizontal Pod Autoscaling" (algorithm, tolerance, stabilisation, default policies, pods that are
not ready); KEDA, "Apache Kafka" scaler (lag of a group, summed over partitions) and HPA `AverageValue`. KEDA is given
`allowIdleConsumers`, without which it would never go beyond the topic's one partition.
"""

import json
import math
from typing import Protocol

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.model import Estimates
from sharedlogkv_operator.autoscaler.observation import Observation, PodObservation, Sample
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.record import dump_state, load_state
from sharedlogkv_operator.autoscaler.rules import decide
from sharedlogkv_operator.autoscaler.state import State
from tests.simulation.world import RECORD_BYTES, Replica, World

MIN_REPLICAS = 2
MAX_REPLICAS = 20
TARGET_LAG_SECONDS = 5.0
USUAL_APPENDS = 2_000.0
"""From which whoever sets a threshold in records makes one of 5 seconds."""
LOOK_SECONDS = 5
SYNC_SECONDS = 15
EPOCH = 1_000_000.0
RESTART_SECONDS = 630


class Scaler(Protocol):
    """Looks at the world once a second, and may scale it."""

    def tick(self, world: World, *, blind: bool) -> None:
        """One second; `blind` while metrics can't be had."""
        ...


class Ours:
    """The operator's decision, every few seconds.

    Attributes:
        rules: how often each rule decided.
        told: when another rule than before decided, which it was, and what it said.
        estimates: what it knew after each look.
        state: what it remembers.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(min_replicas=MIN_REPLICAS, max_replicas=MAX_REPLICAS)
        self.state = State()
        self.rules: dict[Rule, int] = {}
        self.told: list[tuple[int, Rule, str]] = []
        self.estimates: list[Estimates] = []

    def tick(self, world: World, *, blind: bool) -> None:
        """See `Scaler`."""
        if world.second % LOOK_SECONDS:
            return
        pods = tuple(self._observe(replica, world, blind=blind) for replica in world.replicas)
        observation = Observation(len(world.replicas), pods)
        decision = decide(observation, self.policy, self.state, now=EPOCH + world.second)
        if not self.told or self.told[-1][1] is not decision.rule:
            self.told.append((world.second, decision.rule, decision.message))
        self.rules[decision.rule] = self.rules.get(decision.rule, 0) + 1
        self.state = decision.state
        self.estimates.append(decision.state.estimates)
        if decision.desired != len(world.replicas):
            world.scale(decision.desired, decision.victims)

    def _observe(self, replica: Replica, world: World, *, blind: bool) -> PodObservation:
        has_started = replica.serves or replica.target is not None
        sample = Sample(
            uptime_seconds=float(world.second - replica.created),
            position=int(replica.position),
            end=int(world.end),
            lag_seconds=replica.lag_seconds,
            apply_cpu_seconds=replica.apply_cpu,
            applied_records=int(replica.applied),
            applied_bytes=int(replica.applied * RECORD_BYTES),
            serve_cpu_seconds=replica.serve_cpu,
            served_requests=int(replica.served),
            shed_requests=int(replica.shed),
            cpu_limit=1.0,
        )
        return PodObservation(
            name=replica.name,
            is_ready=replica.serves,
            age_seconds=world.second - replica.created,
            is_leader=replica is world.replicas[0],
            sample=None if blind or not has_started else sample,
        )


class Restarted(Ours):
    """The same, by an operator that is restarted every `RESTART_SECONDS`: it knows but what the status holds."""

    def tick(self, world: World, *, blind: bool) -> None:
        """See `Scaler`."""
        if world.second % RESTART_SECONDS == RESTART_SECONDS - 1:
            self.state = load_state(json.loads(json.dumps(dump_state(self.state))))
        super().tick(world, blind=blind)


class Hpa:
    """The loop of a HorizontalPodAutoscaler; how many are wanted is up to the metric."""

    def __init__(self) -> None:
        self._wishes: list[tuple[int, int]] = []

    def tick(self, world: World, *, blind: bool) -> None:
        """See `Scaler`."""
        if world.second % SYNC_SECONDS or blind:  # without its metric it does nothing
            return
        current = len(world.replicas)
        wanted = self.want(world, current)
        self._wishes = [wish for wish in self._wishes if wish[0] > world.second - 300]
        self._wishes.append((world.second, wanted))
        up = min(wanted, max(2 * current, current + 4))
        down = max(count for _, count in self._wishes)
        desired = up if wanted > current else min(current, down)
        world.scale(max(MIN_REPLICAS, min(desired, MAX_REPLICAS)))

    def want(self, world: World, current: int) -> int:
        """The count by the metric alone."""
        raise NotImplementedError


class SumLag(Hpa):
    """KEDA's kafka trigger: the lag of all replicas, summed, over a threshold for each."""

    def want(self, world: World, current: int) -> int:
        """See `Hpa`; a replica that boots has committed nothing, and so is behind by all that it must replay."""
        lag = sum(r.replay if not r.serves else world.end - r.position for r in world.replicas)
        threshold = USUAL_APPENDS * TARGET_LAG_SECONDS
        return _apply_tolerance(lag / (threshold * current), current)


class MaxLag(Hpa):
    """A `Value` target on the greatest lag in seconds."""

    def want(self, world: World, current: int) -> int:
        """See `Hpa`."""
        lag = max((r.lag_seconds for r in world.serving), default=0.0)
        return _apply_tolerance(lag / TARGET_LAG_SECONDS, max(1, len(world.serving)), current=current)


class Cpu(Hpa):
    """A `Utilization` target of 70 % of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[int, float]] = {}

    def want(self, world: World, current: int) -> int:
        """See `Hpa`; pods that are not ready count as idle where it would go up, and not at all where it goes down."""
        usage = {}
        for replica in world.replicas:
            total = replica.apply_cpu + replica.serve_cpu
            seen = self._seen.get(replica.name)
            if seen is not None and replica.serves and world.second > seen[0] and total >= seen[1]:
                usage[replica.name] = (total - seen[1]) / (world.second - seen[0])
            self._seen[replica.name] = (world.second, total)
        if not usage:
            return current
        ratio = sum(usage.values()) / len(usage) / 0.7
        if ratio > 1.1 and len(usage) < len(world.replicas):
            ratio = max(1.0, sum(usage.values()) / len(world.replicas) / 0.7)
            return current if ratio <= 1.1 else math.ceil(ratio * len(world.replicas))
        return _apply_tolerance(ratio, len(usage), current=current)


def _apply_tolerance(ratio: float, replicas: int, *, current: int | None = None) -> int:
    """What an HPA makes of the ratio of a metric to its target."""
    current = replicas if current is None else current
    return current if abs(ratio - 1) <= 0.1 else math.ceil(replicas * ratio)
