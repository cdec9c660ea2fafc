"""What the user wants of the scaling; the defaults are the CRD's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The bounds and the aims.

    Attributes:
        min_replicas: never fewer, 1 or more.
        max_replicas: never more, but for the moment in which one replica is replaced.
        target_lag_seconds: the lag that readers put up with.
        catch_up_seconds: how long it may take to get back to it.
        read_utilization: the share of a replica's CPU that reads and records together may take, 0 to 1.
        max_broker_egress_bytes_per_second: no scale-up beyond this rate of all replicas' fetches; None: no bound.
        scale_up_window_seconds: a scale-up goes to the least count that was wanted within this time.
        scale_down_window_seconds: a scale-down goes to the greatest count that was wanted within this time.
        scale_down_period_seconds: at least so long between two steps down.
    """

    min_replicas: int = 2
    max_replicas: int = 10
    target_lag_seconds: float = 5.0
    catch_up_seconds: float = 120.0
    read_utilization: float = 0.75
    max_broker_egress_bytes_per_second: int | None = None
    scale_up_window_seconds: float = 0.0
    scale_down_window_seconds: float = 300.0
    scale_down_period_seconds: float = 30.0

    def clamp(self, replicas: int) -> int:
        """The count within the bounds that is nearest to `replicas`."""
        return max(self.min_replicas, min(replicas, self.max_replicas))
