"""What the scaling has to tell in a resource's status, and where passes find it: no IO.

One task decides (`autoscaling_loop`), and passes write the status; they meet here. A resource is looked at from its
first pass on, and until a pass finds that it is gone, or shall not be scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sharedlogkv_operator.autoscaler.decision import Decision, Limit, Rule
from sharedlogkv_operator.autoscaler.record import dump_state
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.reasons import Reason, ScalingReason
from sharedlogkv_operator.status import Condition, Truth, Verdict, format_time

SCALING_CONDITIONS: Final = ("ScalingActive", "ScalingLimited", "ScalingEffective")
HALTS: Final = frozenset({Reason.SUSPENDED.value, Reason.PAUSED.value, Reason.PLANNING.value})
"""The reasons of ScalingActive while nothing is decided, since nothing is carried out or no replica runs."""

CHANGES_SHOWN: Final = 5
USELESS: Final = frozenset({Rule.APPLY_STALLED, Rule.FETCH_BOUND, Rule.WRITE_BOUND, Rule.INEFFECTIVE})
"""With these more replicas do not help."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is to be told of one resource.

    Attributes:
        conditions: the three conditions, or the one that says that others scale.
        status: `status.scaling`; None to leave it out.
    """

    conditions: tuple[Condition, ...]
    status: JsonObject | None


NO_SCALING: Final = Scaling((), None)
BY_OTHERS: Final = Scaling(
    (
        Condition(
            "ScalingActive",
            Truth.TRUE,
            ScalingReason.EXTERNAL.value,
            "whoever scales this resource sets its replicas, and the operator follows",
        ),
    ),
    None,
)


class ScalingBoard:
    """The resources that the operator scales, and what was last decided on each. Keys are `namespace/name`."""

    def __init__(self) -> None:
        self._told: dict[str, Scaling | None] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """The resources to look at."""
        return tuple(self._told)

    def watch(self, key: str) -> Scaling | None:
        """Has the resource looked at from now on; what is to be told of it, None where nothing was decided yet."""
        return self._told.setdefault(key, None)

    def forget(self, key: str) -> None:
        """The resource is gone, or is not scaled any more."""
        self._told.pop(key, None)

    def publish(self, key: str, scaling: Scaling) -> bool:
        """Has that told from now on; False where it already was, or the resource is not scaled any more."""
        if key not in self._told or self._told[key] == scaling:
            return False
        self._told[key] = scaling
        return True


def build_scaling(decision: Decision, previous: JsonObject, *, replicas: int, now: datetime) -> Scaling:
    """What is to be told of a decision that was carried out.

    Args:
        decision: what was decided.
        previous: `status.scaling` as it was.
        replicas: how many replicas there were.
        now: when it was decided.
    """
    status: dict[str, object] = {"desiredReplicas": decision.desired}
    changes = previous.get("changes", [])
    assert isinstance(changes, list)
    if decision.desired != replicas:
        change = {
            "time": format_time(now),
            "from": replicas,
            "to": decision.desired,
            "reason": decision.rule.value,
            "message": decision.message,
        }
        changes = [change, *changes][:CHANGES_SHOWN]
    if changes:
        status["changes"] = changes
    if memory := dump_state(decision.state):
        status["memory"] = memory
    return Scaling(_judge(decision), status)


def build_pause(previous: JsonObject) -> Scaling:
    """What is to be told while a person has paused the scaling."""
    text = "paused by the annotation sharedlog.dev/pause-scaling: the count stays"
    condition = Condition("ScalingActive", Truth.FALSE, ScalingReason.PAUSED.value, text)
    return Scaling((condition,), previous or None)


def build_refusal(desired: int, words: str, previous: JsonObject) -> Scaling:
    """What is to be told while the API server does not let the count become `desired`."""
    text = f"the count should be {desired}, and the API server refuses: {words}"
    return Scaling((Condition("ScalingActive", Truth.FALSE, ScalingReason.REFUSED.value, text),), previous or None)


def build_halt(halt: Verdict, previous: JsonObject) -> Scaling:
    """What is to be told while nothing is decided, for one of the reasons `HALTS`; what was learned is kept."""
    return Scaling((Condition("ScalingActive", Truth.FALSE, halt.reason.value, halt.message),), previous or None)


def parse_scaling(body: JsonObject) -> JsonObject:
    """`status.scaling` of the resource; empty where there is none."""
    status = body.get("status")
    scaling = status.get("scaling") if isinstance(status, Mapping) else None
    return scaling if isinstance(scaling, Mapping) else {}


def is_worth_telling(scaling: Scaling, told: Scaling | None) -> bool:
    """Whether `scaling` says something else than what was told: numbers in a message alone do not count."""
    if told is None:
        return True
    return _essence(scaling) != _essence(told)


def _essence(scaling: Scaling) -> object:
    return [(c.type, c.truth, c.reason) for c in scaling.conditions], scaling.status


def _judge(decision: Decision) -> tuple[Condition, ...]:
    rule, message = decision.rule, decision.message
    active = Truth.FALSE if rule is Rule.METRICS_UNAVAILABLE else Truth.TRUE
    return (
        Condition("ScalingActive", active, rule.value, message),
        _judge_limit(decision.limit, message),
        Condition("ScalingEffective", Truth.FALSE, rule.value, message)
        if rule in USELESS
        else Condition("ScalingEffective", Truth.TRUE, ScalingReason.EFFECTIVE.value, ""),
    )


def _judge_limit(limit: Limit | None, message: str) -> Condition:
    if limit is None:
        return Condition("ScalingLimited", Truth.FALSE, ScalingReason.WITHIN_LIMITS.value, "")
    return Condition("ScalingLimited", Truth.TRUE, limit.value, message)
