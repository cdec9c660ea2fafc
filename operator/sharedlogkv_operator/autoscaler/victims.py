"""Which replica goes when there are to be fewer."""

from sharedlogkv_operator.autoscaler.observation import PodObservation
from sharedlogkv_operator.autoscaler.scene import Scene


def choose_victims(scene: Scene) -> tuple[str, ...]:
    """All pods, the one first that is missed least: not ready, farthest behind, youngest. A leader comes last."""

    def regret(pod: PodObservation) -> tuple[bool, bool, float, float, str]:
        load = scene.loads.get(pod.name)
        lag_seconds = load.lag_seconds if load is not None else 0.0
        is_behind = lag_seconds > scene.policy.target_lag_seconds
        return (pod.is_leader, pod.is_ready, -lag_seconds if is_behind else 0.0, pod.age_seconds, pod.name)

    return tuple(pod.name for pod in sorted(scene.observation.pods, key=regret))
