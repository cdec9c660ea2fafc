"""The rule that a scale-up must have helped: what it took off the replicas that were there is measured.

A scale-up helps if requests spread over the new replicas. They don't where clients hold on to their connections, or
where what is slow is something else; then it is undone, and none is tried for a while that doubles each time.
"""

from dataclasses import replace
from typing import Final

from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.history import Load
from sharedlogkv_operator.autoscaler.scene import BOOT_LIMIT_SECONDS, Scene
from sharedlogkv_operator.autoscaler.state import State, Trial
from sharedlogkv_operator.autoscaler.verdict import Verdict

TRIAL_SECONDS: Final = 30.0
"""From the moment in which all replicas serve: two windows."""
IMPROVEMENT: Final = 0.1
HALF: Final = 0.5
"""A few more than many take less than that off each. Half of what they would take, were reads even, is enough."""
FIRST_BACKOFF_SECONDS: Final = 600.0
"""Long enough that a useless try turns the count around twice in ten minutes at most."""
LAST_BACKOFF_SECONDS: Final = 3600.0
NEGLIGIBLE_CPU_SHARE: Final = 0.05


def begin(scene: Scene, target: int) -> Trial:
    """The trial of a scale-up to `target` now; one under way goes on with its own beginning."""
    if scene.state.trial is not None:
        return replace(scene.state.trial, target=target, served_since=None)
    loads = scene.loads
    return Trial(
        origin=scene.replicas,
        target=target,
        served_since=None,
        pods=tuple(sorted(loads)),
        offered_share=_offered_share(loads, tuple(loads)),
        serve_cpu=sum(load.serve_cpu for load in loads.values()) / len(loads),
    )


def follow(scene: Scene) -> State:
    """The state with the trial brought up to date: it ends where it has helped, or somebody else changed the count."""
    state, trial = scene.state, scene.state.trial
    if trial is None:
        return state
    if trial.target != scene.replicas:
        return replace(state, trial=None)
    if trial.served_since is None:
        serve = not scene.is_booting and len(scene.observation.ready) >= trial.target
        return replace(state, trial=replace(trial, served_since=scene.now)) if serve else state
    if _is_due(scene, trial) and _has_helped(scene, trial):
        return replace(state, trial=None, backoff_seconds=0.0)
    return state


def is_awaited(scene: Scene) -> bool:
    """Whether it is still to be seen if the last scale-up helped; False where its replicas never come to serve."""
    trial = scene.state.trial
    if trial is None:
        return False
    return trial.served_since is not None or scene.now - scene.state.scaled_at < BOOT_LIMIT_SECONDS


def judge(scene: Scene) -> Verdict | None:
    """Undoes a scale-up that has not helped."""
    trial = scene.state.trial
    if trial is None or not _is_due(scene, trial):
        return None
    backoff = min(LAST_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, 2 * scene.state.backoff_seconds))
    message = (
        f"{trial.target} replicas instead of {trial.origin} took nothing off those that were there: undone, and not "
        f"tried again for {backoff:.0f} s. Do clients spread their connections over all replicas?"
    )
    state = replace(scene.state, trial=None, backoff_seconds=backoff, blocked_until=scene.now + backoff)
    fresh = [pod for pod in scene.observation.pods if pod.name not in trial.pods and not pod.is_leader]
    victims = tuple(pod.name for pod in sorted(fresh, key=lambda pod: (pod.age_seconds, pod.name)))
    return Verdict(Rule.INEFFECTIVE, scene.policy.clamp(trial.origin), message, victims=victims, state=state)


def _is_due(scene: Scene, trial: Trial) -> bool:
    return trial.served_since is not None and scene.now - trial.served_since >= TRIAL_SECONDS


def _has_helped(scene: Scene, trial: Trial) -> bool:
    """Whether the old replicas have less to do; True as well where nothing can be told any more.

    Whether they fall behind less than before is no sign: that wavers, and has other causes.
    """
    old = [scene.loads[name] for name in trial.pods if name in scene.loads]
    if not old or trial.serve_cpu < NEGLIGIBLE_CPU_SHARE * scene.estimates.cpu_limit:
        return True
    least = min(IMPROVEMENT, HALF * (1 - trial.origin / trial.target))
    if _offered_share(scene.loads, trial.pods) <= (1 - least) * trial.offered_share:
        return True
    return sum(load.serve_cpu for load in old) / len(old) <= (1 - IMPROVEMENT) * trial.serve_cpu


def _offered_share(loads: dict[str, Load], pods: tuple[str, ...]) -> float:
    """The share of all requests that comes to one of `pods`, on average; 0 where there are none."""
    total = sum(load.offered for load in loads.values())
    found = [loads[name].offered for name in pods if name in loads]
    return sum(found) / len(found) / total if found and total else 0.0
