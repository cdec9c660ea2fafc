"""What is remembered from one look to the next."""

from dataclasses import dataclass, field

from sharedlogkv_operator.autoscaler.history import History
from sharedlogkv_operator.autoscaler.model import Estimates


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas the reads needed at some time.

    Attributes:
        at: when, in seconds since the epoch.
        need: just enough.
        keep: enough to go down to, with the reserve that keeps it from going up again at once.
    """

    at: float
    need: int
    keep: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A scale-up whose effect is awaited. What the replicas did that were there before it is compared.

    Attributes:
        origin: how many replicas there were.
        target: how many were asked for.
        served_since: when all of them served; None as long as they don't.
        pods: those that served before.
        offered_share: the share of all requests that came to one of these, on average.
        serve_cpu: the CPUs that one of these spent on requests, on average.
    """

    origin: int
    target: int
    served_since: float | None
    pods: tuple[str, ...]
    offered_share: float
    serve_cpu: float


@dataclass(frozen=True, slots=True)
class Replacement:
    """A replica that is behind the others, and is replaced: one more is started, then this one goes.

    Attributes:
        victim: the pod that shall go.
        base: how many replicas there were, and will be.
        started: when, in seconds since the epoch.
    """

    victim: str
    base: int
    started: float


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered; times are seconds since the epoch.

    Attributes:
        history: the latest samples.
        estimates: what was learned.
        wishes: the needs of the last while, oldest first.
        observed_since: when observation began; what happened before is unknown.
        trial: the scale-up whose effect is awaited.
        backoff_seconds: how long the last useless scale-up was not tried again; 0 for none.
        blocked_until: no scale-up before it.
        suspect: the pod that is behind the others, and since when.
        replacement: the replacement under way.
        replaced_at: when the last one ended.
        scaled_at: when the count was last changed.
    """

    history: History = field(default_factory=dict)
    estimates: Estimates = field(default_factory=Estimates)
    wishes: tuple[Wish, ...] = ()
    observed_since: float = 0.0
    trial: Trial | None = None
    backoff_seconds: float = 0.0
    blocked_until: float = 0.0
    suspect: tuple[str, float] | None = None
    replacement: Replacement | None = None
    replaced_at: float = 0.0
    scaled_at: float = 0.0
