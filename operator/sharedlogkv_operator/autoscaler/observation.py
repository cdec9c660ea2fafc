"""What one look at a store's replicas shows. Counters rise from a replica's start; rates are made of two looks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """What one replica tells of its work.

    Attributes:
        uptime_seconds: since its start, by its own monotonic clock; falls when it is another process.
        position: the next offset that it applies.
        end: the log's end as it last saw it.
        lag_seconds: the age of the oldest record that it has not applied; 0 for none.
        apply_cpu_seconds: CPU spent on fetching and applying records.
        applied_records: records applied.
        applied_bytes: their keys and values.
        serve_cpu_seconds: CPU spent on everything else, which is mostly requests.
        served_requests: requests carried out.
        shed_requests: requests turned away because there was too much to do.
        cpu_limit: CPUs that it can use: its container's limit, and never more than one.
    """

    uptime_seconds: float
    position: int
    end: int
    lag_seconds: float
    apply_cpu_seconds: float
    applied_records: int
    applied_bytes: int
    serve_cpu_seconds: float
    served_requests: int
    shed_requests: int
    cpu_limit: float


@dataclass(frozen=True, slots=True)
class PodObservation:
    """One replica's pod.

    Attributes:
        name: the pod's name.
        is_ready: requests are sent to it.
        age_seconds: since the pod was made.
        is_leader: it leads the writes.
        sample: what it tells; None when it could not be asked.
    """

    name: str
    is_ready: bool
    age_seconds: float
    is_leader: bool
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class Observation:
    """A store's replicas.

    Attributes:
        replicas: how many the Deployment is asked for.
        pods: those that are there and not on their way out.
    """

    replicas: int
    pods: tuple[PodObservation, ...]

    @property
    def ready(self) -> tuple[PodObservation, ...]:
        """The pods that requests are sent to."""
        return tuple(pod for pod in self.pods if pod.is_ready)
