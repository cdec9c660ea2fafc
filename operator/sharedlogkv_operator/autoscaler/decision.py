"""What is decided, and why."""

from dataclasses import dataclass
from enum import Enum

from sharedlogkv_operator.autoscaler.state import State


class Rule(Enum):
    """The rule that decided, in the order in which they are tried. docs/autoscaling.md explains them."""

    OUT_OF_BOUNDS = "OutOfBounds"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    BOOTING = "Booting"
    APPLY_STALLED = "ApplyStalled"
    FETCH_BOUND = "FetchBound"
    WRITE_BOUND = "WriteBound"
    STRAGGLER = "Straggler"
    INEFFECTIVE = "Ineffective"
    READ_STEAL = "ReadSteal"
    CATCH_UP = "CatchUp"
    DOWN = "Down"
    STEADY = "Steady"


class Limit(Enum):
    """Why there are not as many replicas as a rule wants."""

    MAXIMUM = "AtMaximum"
    EGRESS = "EgressBound"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Attributes:
        desired: how many replicas there shall be.
        rule: why.
        message: the same for people, with the numbers.
        limit: what kept the count below what the rule wants; None for nothing.
        victims: pods that shall go first when there are to be fewer, in this order.
        state: what to remember.
    """

    desired: int
    rule: Rule
    message: str
    limit: Limit | None
    victims: tuple[str, ...]
    state: State
