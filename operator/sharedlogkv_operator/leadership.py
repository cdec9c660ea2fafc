"""Reads from what the replicas tell who leads, and what follows from it for their pods: pure.

The replicas elect their leader through the log, without Kubernetes; here it is only learned, a little later. Of several
that say they lead, the one of the highest term does: an earlier one has not noticed yet that the log refuses it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sharedlogkv_operator.pods import PodView

LEADER_COST: Final = "1000"
"""The pod-deletion-cost of the leader's pod. Others have none, which counts as 0, and go first when there are too many.

Source: Kubernetes, "ReplicaSet", Pod deletion cost. It is a preference, among pods of one ReplicaSet that are as Ready
as each other; a rollout takes the old ReplicaSet's pods one by one, and so the leader last.
"""


@dataclass(frozen=True, slots=True)
class LeaderReport:
    """What one replica tells of the leadership.

    Attributes:
        is_leader: it leads itself, with a lease that holds.
        name: whom it holds for the leader; None for nobody.
        term: the number of that leader's leadership; None where it knows none.
        refusal: why it may not lead, in the log's words; empty for no such thing.
    """

    is_leader: bool
    name: str | None
    term: int | None
    refusal: str


@dataclass(frozen=True, slots=True)
class Leader:
    """The replica that leads: the name of its pod, and its term."""

    name: str
    term: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads, as far as the replicas tell.

    Attributes:
        leader: the leader; None where nobody leads, or nobody tells.
        is_told: at least one replica told something.
        refusal: why a replica may not lead; empty where none says so.
    """

    leader: Leader | None
    is_told: bool
    refusal: str


def find_leader(reports: Mapping[str, LeaderReport]) -> Leadership:
    """Who leads, from what each pod's replica tells, by the pods' names.

    A leader that does not tell itself is believed in when its followers name it: who can't be asked from here may
    still lead. Where it tells that it does not lead, what followers still think of it is out of date.
    """
    claims = [
        Leader(pod if report.is_leader else report.name, report.term)
        for pod, report in reports.items()
        if report.name is not None and report.term is not None and (report.is_leader or report.name not in reports)
    ]
    return Leadership(
        leader=max(claims, key=lambda leader: leader.term, default=None),
        is_told=bool(reports),
        refusal=next((report.refusal for report in reports.values() if report.refusal), ""),
    )


def find_deletion_costs(pods: Sequence[PodView], leader: Leader | None) -> dict[str, str | None]:
    """The pods whose deletion cost is not what it should be, and what it should be; None for none at all.

    Nothing changes while no leader is known. Costs that somebody else has set are left alone, except on the leader.
    """
    if leader is None:
        return {}
    wanted = {pod.name: LEADER_COST if pod.name == leader.name else None for pod in pods}
    return {
        pod.name: wanted[pod.name]
        for pod in pods
        if pod.deletion_cost != wanted[pod.name] and (wanted[pod.name] or pod.deletion_cost == LEADER_COST)
    }
