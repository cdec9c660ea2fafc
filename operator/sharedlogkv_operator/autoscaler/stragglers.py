"""The rule for one replica that is behind while the others are not: its node is slow, or it is throttled or stuck.

More replicas would not help it. One is added, and when enough others serve, this one goes (a surge, as in a rollout).
One at a time, and not often: where nodes are slow in general, replacing would never end.
"""

from dataclasses import replace
from statistics import median
from typing import Final

from sharedlogkv_operator.autoscaler import trials
from sharedlogkv_operator.autoscaler.decision import Rule
from sharedlogkv_operator.autoscaler.scene import BOOT_LIMIT_SECONDS, Scene
from sharedlogkv_operator.autoscaler.state import Replacement, State
from sharedlogkv_operator.autoscaler.verdict import Verdict, hold

SUSPECT_SECONDS: Final = 15.0
PAUSE_SECONDS: Final = 180.0
"""From the end of one replacement to the beginning of the next."""
EXIT_SECONDS: Final = 60.0
"""How long the pod may still be there after the count went down; the ReplicaSet may have chosen another one."""


def follow(scene: Scene) -> State:
    """The state with the suspicion brought up to date."""
    state = scene.state
    name = _find_straggler(scene)
    if state.suspect is not None and state.suspect[0] == name:
        return state
    return replace(state, suspect=None if name is None else (name, scene.now))


def judge(scene: Scene) -> Verdict | None:
    """Begins a replacement, or goes on with the one under way."""
    state, now = scene.state, scene.now
    if state.replacement is not None:
        return _go_on(scene, state.replacement)
    if state.suspect is None or _is_overloaded(scene):
        return None
    name, since = state.suspect
    told = f"{name} is {scene.loads[name].lag_seconds:.1f} s behind, and the others are not"
    if now - since < SUSPECT_SECONDS or now - state.replaced_at < PAUSE_SECONDS:
        return hold(scene, Rule.STRAGGLER, f"{told}: it is watched")
    if any(pod.name == name and pod.is_leader for pod in scene.observation.pods):
        return hold(scene, Rule.STRAGGLER, f"{told}: it leads, and so it stays; hand the leadership over")
    replacement = Replacement(name, base=scene.replicas, started=now)
    begun = replace(state, suspect=None, replacement=replacement)
    return Verdict(Rule.STRAGGLER, scene.replicas + 1, f"{told}: it is replaced", state=begun)


def _find_straggler(scene: Scene) -> str | None:
    """The ready replica that is behind alone, and will be for long; None if there is none."""
    loads, policy = scene.loads, scene.policy
    if len(loads) < 2:
        return None
    worst = max(loads, key=lambda name: loads[name].lag_seconds)
    lags = [load.lag_seconds for load in loads.values()]
    usual = median(lags) if len(lags) > 2 else min(lags)
    if loads[worst].lag_seconds <= policy.target_lag_seconds or usual >= policy.target_lag_seconds / 2:
        return None
    # A replica that has just replayed the log is behind by as long as that took, and makes up for it.
    lag, slope = loads[worst].lag_seconds, loads[worst].lag_slope
    return None if slope < 0 and lag / -slope <= policy.catch_up_seconds else worst


def _is_overloaded(scene: Scene) -> bool:
    """Whether one may be behind for too many reads, to which more replicas are the answer, or on trial as such.

    Under too many reads all fall behind, though not at the same moment; and where clients keep to the replicas that
    they know, these look beside new ones as if they were behind for reasons of their own.
    """
    can_add = scene.replicas < scene.policy.max_replicas and scene.now >= scene.state.blocked_until
    return trials.is_awaited(scene) or (can_add and scene.reads_need_more)


def _go_on(scene: Scene, replacement: Replacement) -> Verdict | None:
    victim, base = replacement.victim, replacement.base
    ended = replace(scene.state, replacement=None, replaced_at=scene.now)
    if all(pod.name != victim for pod in scene.observation.pods):
        if scene.replicas <= base:
            return hold(scene, Rule.STRAGGLER, f"{victim} was replaced", state=ended)
        return Verdict(Rule.STRAGGLER, base, f"{victim} is gone, and so nothing need go for it", state=ended)
    if scene.replicas <= base:
        if scene.now - scene.state.scaled_at > EXIT_SECONDS:
            return hold(scene, Rule.STRAGGLER, f"{victim} is still there: given up", state=ended)
        return hold(scene, Rule.STRAGGLER, f"{victim} is on its way out")
    if any(pod.name == victim and pod.is_leader for pod in scene.observation.pods):
        return Verdict(Rule.STRAGGLER, base, f"{victim} leads by now, and so it stays", state=ended)
    others = sum(pod.name != victim for pod in scene.observation.ready)
    if others >= base:
        return Verdict(Rule.STRAGGLER, base, f"{others} other replicas serve, so {victim} goes", victims=(victim,))
    if scene.now - replacement.started > BOOT_LIMIT_SECONDS:
        return Verdict(Rule.STRAGGLER, base, f"no replica came to take the place of {victim}: given up", state=ended)
    return hold(scene, Rule.STRAGGLER, f"{victim} stays until another one serves")
