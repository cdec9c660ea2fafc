"""Decides in which write mode replicas run while a resource goes from one mode to another: pure.

Replicas of two modes that both write must never be there at the same time: a leaderless one appends past every
condition that a leader has checked. So the way from one to the other leads through ReadOnly, as one rollout more: reads
go on and writes wait. The rules, in order; the first that applies decides:

1. ReadOnly is wanted: it may be at once.
2. The Deployment, a ReplicaSet that may still make pods, or a pod that has not ended yet (one that is being stopped
   may still write) is of another mode that writes: ReadOnly for now.
3. Else the mode that is wanted.

They look at what is there and at nothing that was before, so a pass may be cut off anywhere. ReplicaSets must have been
listed before the pods: one that could make no more pods then has made none since.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sharedlogkv_operator import names
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.pods import is_ended
from sharedlogkv_operator.replica_container import read_template_variables, read_variables
from sharedlogkv_operator.spec import WriteMode


@dataclass(frozen=True, slots=True)
class Workload:
    """All that runs replicas, or may come to run them.

    Attributes:
        deployment: the Deployment; None when there is none.
        replica_sets: its ReplicaSets.
        pods: the pods, those on their way out as well.
    """

    deployment: JsonObject | None
    replica_sets: Sequence[JsonObject]
    pods: Sequence[JsonObject]


def choose_write_mode(wanted: WriteMode, workload: Workload) -> WriteMode:
    """The mode that replicas are to be in now, by the rules above."""
    if wanted is WriteMode.READ_ONLY:
        return wanted
    harmless = {None, WriteMode.READ_ONLY.value, wanted.value}
    return wanted if set(_find_modes(workload)) <= harmless else WriteMode.READ_ONLY


def parse_template_mode(owner: JsonObject) -> str | None:
    """The mode in which pods come of the Deployment or ReplicaSet `owner`; None if they are not ours."""
    return read_template_variables(owner).get(names.ENV_WRITE_MODE)


def _find_modes(workload: Workload) -> Iterable[str | None]:
    if workload.deployment is not None:
        yield parse_template_mode(workload.deployment)
    for replica_set in workload.replica_sets:
        if _may_make_pods(replica_set):
            yield parse_template_mode(replica_set)
    for pod in workload.pods:
        if not is_ended(pod):
            yield read_variables(pod).get(names.ENV_WRITE_MODE)


def _may_make_pods(replica_set: JsonObject) -> bool:
    """Whether pods may still come of it: it wants some, or its controller has not seen yet that it wants none."""
    try:
        metadata, spec, status = (replica_set[part] for part in ("metadata", "spec", "status"))
        seen = status["observedGeneration"] >= metadata["generation"]  # type: ignore[index] # opaque values
        return bool(spec["replicas"] or not seen or status["replicas"])  # type: ignore[index] # as above
    except (KeyError, TypeError):
        return True
