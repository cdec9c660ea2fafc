"""A SharedLogKV as frozen dataclasses: who it is, what is wanted, and what its status records for us to come back to.

`resource_parser` makes them of what the API server gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kafka_security import KafkaSecurity


class WriteMode(Enum):
    """Who may write."""

    LEADER = "Leader"
    LEADERLESS = "Leaderless"
    READ_ONLY = "ReadOnly"


class Consistency(Enum):
    """What a read promises that asks for nothing else."""

    EVENTUAL = "Eventual"
    BOUNDED = "Bounded"
    SESSION = "Session"
    LINEARIZABLE = "Linearizable"


class ReclaimPolicy(Enum):
    """What becomes of the topic when its resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class AdoptionPolicy(Enum):
    """What becomes of a topic that was there before its resource."""

    NEVER = "Never"
    IF_COMPATIBLE = "IfCompatible"
    ALWAYS = "Always"


class DriftPolicy(Enum):
    """What becomes of settings of the topic that are not as the resource has them."""

    ENFORCE = "Enforce"
    WARN = "Warn"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """The topic that is wanted.

    Attributes:
        name: its name.
        replication_factor: on how many brokers it is to be.
        min_in_sync_replicas: how many of them have a write before it is acknowledged.
        config: the user's own settings, without ours.
        adoption_policy: whether a topic that is there already may be used.
        drift_policy: whether settings that drifted are set back.
        is_reclaimed: it goes with its resource, as both `reclaimPolicy` and `allowDataLoss` say.
    """

    name: str
    replication_factor: int
    min_in_sync_replicas: int
    config: Mapping[str, str]
    adoption_policy: AdoptionPolicy
    drift_policy: DriftPolicy
    is_reclaimed: bool


@dataclass(frozen=True, slots=True)
class ReadsSpec:
    """How reads are answered that do not say it themselves; `max_lag_ms` bounds a bounded one."""

    default_consistency: Consistency
    max_lag_ms: int


class ScalingMode(Enum):
    """Who says how many replicas there are: the spec, the operator, or others by way of the spec."""

    NONE = "None"
    BUILT_IN = "BuiltIn"
    EXTERNAL = "External"


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Who scales, and by what; the policy counts where the operator does."""

    mode: ScalingMode
    policy: Policy


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What the user wants on the pods, as parts of a pod's manifest.

    Attributes:
        labels: further labels of the pods.
        annotations: annotations of the pods.
        topology_spread_constraints: instead of the operator's own; None when the user gives none.
        pod_spec: the other fields, by the names that they bear in a pod's spec.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    topology_spread_constraints: Sequence[JsonObject] | None
    pod_spec: JsonObject


@dataclass(frozen=True, slots=True)
class Spec:
    """What the user wants.

    Attributes:
        bootstrap_servers: the brokers to begin with.
        topic: the topic.
        write_mode: who may write.
        lease_seconds: for how long one sign of life vouches for a leader.
        reads: how reads are answered that do not say it themselves.
        replicas: how many replicas are to serve; 0 while the store is suspended.
        autoscaling: who scales, and by what.
        max_lag_seconds: replicas turn reads away before their map is older; 0 for never.
        image: the replicas' image; None where the operator's default shall be used.
        resources: of a replica.
        pod_template: what else the pods shall have.
    """

    bootstrap_servers: str
    kafka_security: KafkaSecurity
    topic: TopicSpec
    write_mode: WriteMode
    lease_seconds: int
    reads: ReadsSpec
    replicas: int
    autoscaling: Autoscaling
    max_lag_seconds: int
    image: str | None
    resources: JsonObject
    pod_template: PodTemplate

    @property
    def is_scaled(self) -> bool:
        """Whether the operator scales; a store that is suspended has no replicas, whoever scales it."""
        return self.autoscaling.mode is ScalingMode.BUILT_IN and self.replicas > 0


@dataclass(frozen=True, slots=True)
class PinnedTopic:
    """The topic that a resource is bound to, as its status records it.

    Attributes:
        name: its name.
        id: its id, by Kafka.
        is_created: this operator created it for this resource; else it was found there, and may be others' too.
    """

    name: str
    id: str
    is_created: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object it is, and where it stands in its life.

    Attributes:
        namespace: its namespace.
        name: its name.
        uid: unique over all time; an object recreated under the same name has another.
        generation: rises with every change of the spec.
        resource_version: changes with every change.
        finalizers: what must be done before it may go.
        deletion_time: when its deletion was asked for; None while it lives.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    finalizers: tuple[str, ...]
    deletion_time: datetime | None


@dataclass(frozen=True, slots=True)
class Resource:
    """A SharedLogKV: who it is, what is wanted, and what its status records for us to come back to.

    Attributes:
        identity: who it is.
        spec: what is wanted for good.
        pinned: the topic that it is bound to; None before the first time.
        annotations: what is asked for in passing: its annotations under our prefix.
    """

    identity: Identity
    spec: Spec
    pinned: PinnedTopic | None
    annotations: Mapping[str, str]
