"""The samples of the last looks, and the rates that they amount to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sharedlogkv_operator.autoscaler.observation import Observation, Sample

WINDOW_LOOKS: Final = 3
"""A rate is taken over so many intervals between looks: one alone is noisy, and more would be late."""

History = Mapping[str, tuple[Sample, ...]]
"""The newest samples of each pod, oldest first, at most `WINDOW_LOOKS` + 1."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one replica does, over some time.

    Attributes:
        seconds: the time, above 0.
        apply_cpu: CPUs spent on records.
        applied: records applied a second.
        applied_bytes: their bytes a second.
        serve_cpu: CPUs spent on requests.
        served: requests carried out a second.
        shed: requests turned away a second.
        lag_seconds: the lag at the end of the time.
        lag_slope: by how much the lag rose, in seconds a second.
        lag_records: records not applied at the end of the time.
        is_applying: the position moved.
        is_behind_moving_end: the log's end moved.
        cpu_limit: CPUs that it can use.
    """

    seconds: float
    apply_cpu: float
    applied: float
    applied_bytes: float
    serve_cpu: float
    served: float
    shed: float
    lag_seconds: float
    lag_slope: float
    lag_records: int
    is_applying: bool
    is_behind_moving_end: bool
    cpu_limit: float

    @property
    def offered(self) -> float:
        """Requests that came a second."""
        return self.served + self.shed

    @property
    def utilization(self) -> float:
        """The share of the CPU that is used."""
        return (self.apply_cpu + self.serve_cpu) / self.cpu_limit


def extend_history(history: History, observation: Observation) -> History:
    """The history with what was seen now; pods that are gone are forgotten, and one that was restarted begins anew."""
    extended = {}
    for pod in observation.pods:
        samples = history.get(pod.name, ())
        if pod.sample is None:
            if samples:
                extended[pod.name] = samples
            continue
        if samples and not _follows(pod.sample, samples[-1]):
            samples = ()
        extended[pod.name] = (*samples, pod.sample)[-WINDOW_LOOKS - 1 :]
    return extended


def measure_load(first: Sample, last: Sample) -> Load:
    """What a replica did between two samples of one process."""
    seconds = last.uptime_seconds - first.uptime_seconds
    return Load(
        seconds=seconds,
        apply_cpu=(last.apply_cpu_seconds - first.apply_cpu_seconds) / seconds,
        applied=(last.applied_records - first.applied_records) / seconds,
        applied_bytes=(last.applied_bytes - first.applied_bytes) / seconds,
        serve_cpu=(last.serve_cpu_seconds - first.serve_cpu_seconds) / seconds,
        served=(last.served_requests - first.served_requests) / seconds,
        shed=(last.shed_requests - first.shed_requests) / seconds,
        lag_seconds=last.lag_seconds,
        lag_slope=(last.lag_seconds - first.lag_seconds) / seconds,
        lag_records=max(0, last.end - last.position),
        is_applying=last.position > first.position,
        is_behind_moving_end=last.end > first.end,
        cpu_limit=last.cpu_limit,
    )


def measure_ready(history: History, observation: Observation, *, looks: int = WINDOW_LOOKS) -> dict[str, Load]:
    """The loads of the ready pods that were asked now and at least once before, over up to `looks` intervals."""
    loads = {}
    for pod in observation.ready:
        samples = history.get(pod.name, ())[-looks - 1 :]
        if pod.sample is not None and len(samples) > 1:
            loads[pod.name] = measure_load(samples[0], samples[-1])
    return loads


def _follows(sample: Sample, earlier: Sample) -> bool:
    """Whether `sample` is later, and of the same process."""
    return (
        sample.uptime_seconds > earlier.uptime_seconds
        and sample.applied_records >= earlier.applied_records
        and sample.served_requests >= earlier.served_requests
    )
