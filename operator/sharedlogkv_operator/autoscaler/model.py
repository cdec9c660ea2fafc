"""The model of one replica: what a record and a request cost it, how much of both comes in, and what follows.

Costs are ratios of sums over all ready replicas, with older sums fading. A ratio of sums weighs every look by its work,
so one with few samples says little and one with many says much, whatever the noise; at standstill nothing is learned.
One sick replica does not set what a replica can do: it is what a healthy one can, and healthy ones alone teach costs.
The formulas use a replica's CPU limit `cpu_limit`, c_w CPU seconds a record, c_r CPU seconds a request, W records a
second appended and R requests a second offered to all replicas.
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from statistics import median_high
from typing import Final

from sharedlogkv_operator.autoscaler.history import Load

COST_HALF_LIFE_SECONDS: Final = 60.0
RISE_SECONDS: Final = 10.0
FALL_SECONDS: Final = 1.0
USUAL_SECONDS: Final = 60.0
"""The append rate is averaged twice. Replicas are sized for the lesser: for the usual rate while a surge rises, for
that of late, which falls fast, when it is over. A moment of many writes orders no replicas."""
REQUEST_SECONDS: Final = 20.0
USUAL_REQUEST_SECONDS: Final = 120.0
"""So is the request rate, and there the greater counts: too few replicas hurt sooner than too many."""
JUMP: Final = 1.3
"""A request rate that is this much greater than of late is no noise: it counts at once, so that one step is enough."""
FIRST_SECONDS: Final = 5.0
"""No average is over less; in the beginning it is over what was seen, lest the first look count for minutes."""

KNOWN_RECORDS: Final = 500.0
KNOWN_REQUESTS: Final = 200.0
"""A cost is known from so much work on."""
SHED_SHARE: Final = 0.1
"""Requests turned away are cheap, so a look with more of them than this teaches nothing of a request's cost."""
IDLE_CPU: Final = 0.01
"""What a replica without requests spends beside records, measured: probes, timers, and being asked. No other replica
takes that off it, and so it is no cost of requests."""
HEALTHY_SHARE: Final = 0.8
"""A replica with less than this share of the usual limit is throttled. It works in small slices, which cost more."""
READ_SHARE: Final = 0.95
"""Reads leave at least the rest of the CPU to records."""


@dataclass(frozen=True, slots=True)
class Tally:
    """CPU seconds and what they were spent on, fading with time."""

    cpu_seconds: float = 0.0
    count: float = 0.0

    def add(self, cpu_seconds: float, count: float, *, fade: float) -> "Tally":
        """The tally with what is new, after what was there has faded to the share `fade`."""
        return Tally(self.cpu_seconds * fade + cpu_seconds, self.count * fade + count)

    def cost(self, *, known_from: float) -> float | None:
        """CPU seconds for one; None as long as too little was seen."""
        return self.cpu_seconds / self.count if self.count >= known_from and self.cpu_seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Estimates:
    """What was learned until `at`.

    Attributes:
        at: seconds since the epoch; 0 before the first look.
        since: when the first look was.
        end: the log's end as last seen; None before it was.
        end_at: when that was.
        records: CPU spent on records.
        requests: CPU spent on requests.
        record_bytes: the mean size of a record; 0 as long as none was seen.
        append_rate: records appended a second of late; None as long as unknown.
        usual_append_rate: the same, over a longer time.
        request_rate: requests offered a second of late, to all replicas; None as long as unknown.
        usual_request_rate: the same, over a longer time.
        cpu_limit: CPUs that a healthy replica can use.
        apply_cpu: CPUs that a healthy replica spends on records.
        serve_cpu: CPUs that all replicas together spend on requests.
    """

    at: float = 0.0
    since: float = 0.0
    end: int | None = None
    end_at: float = 0.0
    records: Tally = Tally()
    requests: Tally = Tally()
    record_bytes: float = 0.0
    append_rate: float | None = None
    usual_append_rate: float | None = None
    request_rate: float | None = None
    usual_request_rate: float | None = None
    cpu_limit: float = 1.0
    apply_cpu: float = 0.0
    serve_cpu: float = 0.0

    @property
    def record_cost(self) -> float | None:
        """CPU seconds that a record takes (c_w)."""
        return self.records.cost(known_from=KNOWN_RECORDS)

    @property
    def request_cost(self) -> float | None:
        """CPU seconds that a request takes (c_r)."""
        return self.requests.cost(known_from=KNOWN_REQUESTS)

    @property
    def apply_ceiling(self) -> float | None:
        """Records a second that a replica without any reads applies: cpu_limit / c_w."""
        return None if self.record_cost is None else self.cpu_limit / self.record_cost

    @property
    def write_cpu(self) -> float:
        """CPUs that the appended records take of every replica: c_w · W; what was measured, where those are unknown."""
        if self.record_cost is None or self.append_rate is None or self.usual_append_rate is None:
            return self.apply_cpu
        return self.record_cost * min(self.append_rate, self.usual_append_rate)

    @property
    def read_cpu(self) -> float:
        """CPUs that the offered requests take of all replicas: c_r · R; what was measured, where those are unknown."""
        if self.request_cost is None or self.request_rate is None or self.usual_request_rate is None:
            return self.serve_cpu
        return self.request_cost * max(self.request_rate, self.usual_request_rate)

    def headroom(self, utilization: float) -> float:
        """CPUs that a replica has for requests, used to `utilization`; 0 or less when records alone take that much."""
        return self.cpu_limit * utilization - self.write_cpu

    def replicas_for_reads(self, utilization: float, *, reserve: float = 0.0) -> float:
        """How many replicas the reads need, as a fraction; more by the share `reserve`. Infinite without headroom."""
        headroom = self.headroom(utilization)
        if self.read_cpu <= 0:
            return 0.0
        return self.read_cpu * (1 + reserve) / headroom if headroom > 0 else math.inf

    def apply_rate(self, replicas: int) -> float:
        """Records a second that each of `replicas` replicas applies at full use; 0 where costs are unknown."""
        if self.record_cost is None:
            return 0.0
        reading = min(READ_SHARE * self.cpu_limit, self.read_cpu / replicas)
        return (self.cpu_limit - reading) / self.record_cost

    def drain_rate(self, replicas: int) -> float:
        """Records a second by which each of `replicas` replicas gains on the log at full use; below 0 it loses."""
        if self.record_cost is None or self.append_rate is None:
            return 0.0
        return self.apply_rate(replicas) - self.append_rate


def update(estimates: Estimates, loads: Collection[Load], *, end: int | None, now: float) -> Estimates:
    """What is known after a look.

    Args:
        estimates: what was known before.
        loads: what the ready replicas did since the last look.
        end: the log's end, the farthest that any replica saw; None when none told.
        now: seconds since the epoch.
    """
    seconds = now - estimates.at if estimates.at and now > estimates.at else 0.0
    since = estimates.since or now
    learned = replace(_learn_appends(estimates, end, now=now), at=now, since=since)
    if not loads:
        return learned
    seen_seconds = max(FIRST_SECONDS, now - since)
    fade = 0.5 ** (seconds / COST_HALF_LIFE_SECONDS)
    # Of two the greater: a replica may be short of CPU, or of records, but has nothing more than a healthy one.
    cpu_limit = median_high(load.cpu_limit for load in loads)
    healthy = [load for load in loads if load.cpu_limit >= HEALTHY_SHARE * cpu_limit]
    honest = [load for load in healthy if load.shed <= SHED_SHARE * load.offered]
    records = sum(load.applied * load.seconds for load in healthy)
    fetched = sum(load.applied_bytes * load.seconds for load in healthy)
    offered = sum(load.offered for load in loads)
    return replace(
        learned,
        records=learned.records.add(sum(load.apply_cpu * load.seconds for load in healthy), records, fade=fade),
        requests=learned.requests.add(
            sum(_serving(load) * load.seconds for load in honest),
            sum(load.offered * load.seconds for load in honest),
            fade=fade if honest else 1.0,
        ),
        record_bytes=fetched / records if records >= KNOWN_RECORDS else learned.record_bytes,
        request_rate=_leap(learned.request_rate, offered, seconds / min(REQUEST_SECONDS, seen_seconds)),
        usual_request_rate=_drift(
            learned.usual_request_rate, offered, seconds / min(USUAL_REQUEST_SECONDS, seen_seconds)
        ),
        cpu_limit=cpu_limit,
        apply_cpu=median_high(load.apply_cpu for load in healthy),
        serve_cpu=sum(map(_serving, loads)),
    )


def _learn_appends(estimates: Estimates, end: int | None, *, now: float) -> Estimates:
    seconds = now - estimates.end_at
    if end is None:
        return estimates
    if estimates.end is None or end < estimates.end or seconds <= 0:  # never seen, or another log
        return replace(estimates, end=end, end_at=now)
    rate = (end - estimates.end) / seconds
    known = estimates.append_rate
    time_constant = RISE_SECONDS if known is None or rate > known else FALL_SECONDS
    seen_seconds = max(FIRST_SECONDS, now - estimates.since)
    return replace(
        estimates,
        end=end,
        end_at=now,
        append_rate=_drift(known, rate, seconds / time_constant),
        usual_append_rate=_drift(estimates.usual_append_rate, rate, seconds / min(USUAL_SECONDS, seen_seconds)),
    )


def _serving(load: Load) -> float:
    """CPUs that the replica spends on requests."""
    return max(0.0, load.serve_cpu - IDLE_CPU)


def _leap(known: float | None, new: float, time_constants: float) -> float:
    """As `_drift`, but up at once where the new value is far above."""
    return new if known is not None and new > JUMP * known else _drift(known, new, time_constants)


def _drift(known: float | None, new: float, time_constants: float) -> float:
    """An exponential average, `time_constants` later; the first value as it is."""
    return new if known is None else new + (known - new) * math.exp(-time_constants)


def typical(values: Iterable[float]) -> float:
    """The median; of two the less, which a single sick replica does not spoil. There must be one."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
