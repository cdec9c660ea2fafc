"""What one rule says of a scene."""

from dataclasses import dataclass

from sharedlogkv_operator.autoscaler.decision import Limit, Rule
from sharedlogkv_operator.autoscaler.scene import Scene
from sharedlogkv_operator.autoscaler.state import State


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word of the rule that matched.

    Attributes:
        rule: which it is.
        desired: how many replicas there shall be.
        message: why, for people.
        limit: what kept the count below what the rule wants.
        victims: pods that shall go first; empty for the usual choice.
        state: what to remember instead of the scene's state; None for that.
    """

    rule: Rule
    desired: int
    message: str
    limit: Limit | None = None
    victims: tuple[str, ...] = ()
    state: State | None = None


def hold(scene: Scene, rule: Rule, message: str, *, limit: Limit | None = None, state: State | None = None) -> Verdict:
    """The count stays."""
    return Verdict(rule, scene.replicas, message, limit=limit, state=state)
