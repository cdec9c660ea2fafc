"""Replicas whose loads a test sets, and the looks that the autoscaler takes at them."""

from dataclasses import dataclass, field

from sharedlogkv_operator.autoscaler.decision import Decision
from sharedlogkv_operator.autoscaler.model import IDLE_CPU
from sharedlogkv_operator.autoscaler.observation import Observation, PodObservation, Sample
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.autoscaler.rules import decide
from sharedlogkv_operator.autoscaler.state import State

LOOK_SECONDS = 5.0
EPOCH = 1_000_000.0
SETTLED = 100
"""Looks after which averages and the stabilisation window know nothing else."""


@dataclass(slots=True)
class Pod:
    """One replica, with what it does a second. By default a record takes 100 µs of CPU and a request 200 µs.

    Attributes:
        lag: seconds by which it is behind.
        lag_slope: by how much that rises a second.
        applied, served, shed: records and requests a second.
        apply_cpu, serve_cpu: CPUs; None for what records and requests take by default.
    """

    is_ready: bool = True
    age: float = 3600.0
    is_leader: bool = False
    is_told: bool = True
    lag: float = 0.0
    lag_slope: float = 0.0
    applied: float = 2_000.0
    served: float = 1_000.0
    shed: float = 0.0
    apply_cpu: float | None = None
    serve_cpu: float | None = None
    limit: float = 1.0
    uptime: float = 3600.0
    totals: dict[str, float] = field(default_factory=dict)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        rates = {
            "applied": self.applied,
            "served": self.served,
            "shed": self.shed,
            "apply_cpu": self.applied * 100e-6 if self.apply_cpu is None else self.apply_cpu,
            "serve_cpu": IDLE_CPU + self.served * 200e-6 if self.serve_cpu is None else self.serve_cpu,
        }
        for name, rate in rates.items():
            self.totals[name] = self.totals.get(name, 0.0) + rate * seconds
        self.uptime += seconds
        self.age += seconds
        self.lag = max(0.0, self.lag + self.lag_slope * seconds)

    def observe(self, name: str, *, end: float, appends: float) -> PodObservation:
        """What a look at it shows."""
        totals = {key: self.totals.get(key, 0.0) for key in ("applied", "served", "shed", "apply_cpu", "serve_cpu")}
        behind = self.lag * appends if self.applied else end
        sample = Sample(
            uptime_seconds=self.uptime,
            position=int(end - behind),
            end=int(end),
            lag_seconds=self.lag,
            apply_cpu_seconds=totals["apply_cpu"],
            applied_records=int(totals["applied"]),
            applied_bytes=int(totals["applied"] * 100),
            serve_cpu_seconds=totals["serve_cpu"],
            served_requests=int(totals["served"]),
            shed_requests=int(totals["shed"]),
            cpu_limit=self.limit,
        )
        told = sample if self.is_told else None
        return PodObservation(name, self.is_ready, self.age, self.is_leader, told)


class Fleet:
    """A store's replicas.

    Attributes:
        pods: them, by name.
        replicas: how many the Deployment is asked for.
        appends: records written a second.
    """

    def __init__(self, count: int, *, policy: Policy | None = None, appends: float = 2_000.0, **load: float) -> None:
        self.pods = {f"store-{number}": Pod(applied=appends, **load) for number in range(1, count + 1)}  # type: ignore[arg-type] # numbers all
        self.replicas = count
        self.policy = policy or Policy(min_replicas=1)
        self.appends = appends
        self.state = State()
        self.now = EPOCH
        self.end = 1_000_000.0
        self._added = 0

    def set_all(self, **load: float | None) -> None:
        """Changes what every replica does."""
        for pod in self.pods.values():
            for name, value in load.items():
                setattr(pod, name, value)

    def look(self, count: int = 1) -> Decision:
        """The last of so many looks, 5 s apart; nothing of what is decided is carried out."""
        for _ in range(count - 1):
            self._look()
        return self._look()

    def _look(self) -> Decision:
        self.now += LOOK_SECONDS
        self.end += self.appends * LOOK_SECONDS
        for pod in self.pods.values():
            pod.advance(LOOK_SECONDS)
        pods = tuple(pod.observe(name, end=self.end, appends=self.appends) for name, pod in self.pods.items())
        decision = decide(Observation(self.replicas, pods), self.policy, self.state, now=self.now)
        self.state = decision.state
        return decision

    def obey(self, decision: Decision, *, age: float = 0.0, serves: bool = False, **load: float) -> None:
        """Has as many replicas as decided; new ones do as `load` says."""
        for name in decision.victims[: max(0, self.replicas - decision.desired)]:
            del self.pods[name]
        self.replicas = decision.desired
        while len(self.pods) < self.replicas:
            self._added += 1
            name = f"store-{100 + self._added}"  # that no other has, or had
            self.pods[name] = Pod(is_ready=serves, age=age, uptime=age, applied=self.appends, **load)  # type: ignore[arg-type] # as above
