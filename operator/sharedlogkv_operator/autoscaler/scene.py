"""One look with all that follows from it: what the rules judge."""

import math
from dataclasses import dataclass, replace

from sharedlogkv_operator.autoscaler import model
from sharedlogkv_operator.autoscaler.history import Load, extend_history, measure_ready
from sharedlogkv_operator.autoscaler.model import Estimates, typical
from sharedlogkv_operator.autoscaler.observation import Observation, PodObservation
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.state import State, Wish

BOOT_LIMIT_SECONDS = 600.0
"""A replica that takes longer to serve is waited for no longer."""
DOUBT_SECONDS = 30.0
"""How long reads must need more than there is before replicas are added, where that may be noise."""
TOLERANCE = 0.1
"""Reads need so much more than there is before replicas are added, as with a HorizontalPodAutoscaler: loads waver."""
DOWN_RESERVE = 0.05
"""A replica goes only if the rest could take so much more than there is, and none comes before there is a tenth more
than they should take: so none is missed soon."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen, known and wanted now.

    Attributes:
        observation: what is seen.
        policy: what the user wants.
        state: what was remembered, with this look added.
        loads: what the ready replicas did of late, by pod; those that were asked but once are not among them.
        now: seconds since the epoch.
    """

    observation: Observation
    policy: Policy
    state: State
    loads: dict[str, Load]
    now: float

    @property
    def replicas(self) -> int:
        """How many there shall be as yet."""
        return self.observation.replicas

    @property
    def estimates(self) -> Estimates:
        """What is known of costs and loads."""
        return self.state.estimates

    @property
    def lag_seconds(self) -> float:
        """The lag of a typical replica; 0 when none tells."""
        return typical(load.lag_seconds for load in self.loads.values()) if self.loads else 0.0

    @property
    def is_lagging(self) -> bool:
        """A typical replica is further behind than the user puts up with."""
        return self.lag_seconds > self.policy.target_lag_seconds

    @property
    def read_replicas(self) -> float:
        """How many replicas the reads need, as a fraction."""
        return self.estimates.replicas_for_reads(self.policy.read_utilization)

    @property
    def reads_need_more(self) -> bool:
        """The reads need more replicas than there are."""
        return self.read_replicas > self.replicas * (1 + TOLERANCE)

    @property
    def booting(self) -> tuple[PodObservation, ...]:
        """Pods that are on their way to serve."""
        return tuple(pod for pod in self.observation.pods if not pod.is_ready and pod.age_seconds < BOOT_LIMIT_SECONDS)

    @property
    def is_booting(self) -> bool:
        """Replicas are awaited: pods that do not serve yet, or that are not even there yet."""
        is_awaited = len(self.observation.pods) < self.replicas and self.now - self.state.scaled_at < BOOT_LIMIT_SECONDS
        return bool(self.booting) or is_awaited


def look(observation: Observation, policy: Policy, state: State, *, now: float) -> Scene:
    """The scene after one more look."""
    history = extend_history(state.history, observation)
    latest = measure_ready(history, observation, looks=1)
    ends = [pod.sample.end for pod in observation.pods if pod.sample is not None]
    estimates = model.update(state.estimates, tuple(latest.values()), end=max(ends, default=None), now=now)
    state = replace(
        state,
        history=history,
        estimates=estimates,
        observed_since=state.observed_since or now,
    )
    scene = Scene(observation, policy, state, measure_ready(history, observation), now)
    if not scene.loads:
        return scene
    kept = max(policy.scale_up_window_seconds, policy.scale_down_window_seconds, DOUBT_SECONDS)
    wishes = [wish for wish in state.wishes if wish.at >= now - kept]
    wish = Wish(
        now,
        need=_count(scene, reserve=0.0),
        keep=_count(scene, reserve=DOWN_RESERVE),
    )
    return replace(scene, state=replace(state, wishes=(*wishes, wish)))


def _count(scene: Scene, *, reserve: float) -> int:
    """Whole replicas for the reads and the reserve, within the minimum and one above the maximum."""
    policy = scene.policy
    wanted = scene.estimates.replicas_for_reads(policy.read_utilization, reserve=reserve)
    if math.isinf(wanted):  # records alone take what there is, and no count is enough: no wish to change it
        return scene.replicas
    return max(policy.min_replicas, min(math.ceil(wanted), policy.max_replicas + 1))
