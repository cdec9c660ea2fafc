"""Parses a SharedLogKV as the API server gives it into frozen dataclasses. Dicts from the API stop here.

The CRD validates and fills in defaults, so the parser only takes what is there; a missing or ill-typed field means that
another version of the CRD is installed, and becomes a `SpecInvalid`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeVar

from sharedlogkv_operator import names
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.errors import SpecInvalid
from sharedlogkv_operator.kafka_security import KafkaSecurity, parse_security

T = TypeVar("T")
JsonObject = Mapping[str, object]
"""A JSON object as the API server gives it: only this module and `desired` look inside."""


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


POD_SPEC_FIELDS = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets")


def parse_identity(body: JsonObject) -> Identity:
    """Which object `body` is; this much must parse for a status to be written at all.

    Raises:
        SpecInvalid: it has no proper metadata.
    """

    def parse(body: JsonObject) -> Identity:
        metadata = _object(body["metadata"])
        deletion = metadata.get("deletionTimestamp")
        return Identity(
            namespace=_string(metadata["namespace"]),
            name=_string(metadata["name"]),
            uid=_string(metadata["uid"]),
            generation=_integer(metadata["generation"]),
            resource_version=_string(metadata["resourceVersion"]),
            finalizers=tuple(_string(item) for item in _array(metadata.get("finalizers", []))),
            deletion_time=None if deletion is None else parse_time(_string(deletion)),
        )

    return _guard(parse, body)


def parse_resource(body: JsonObject) -> Resource:
    """The whole of the SharedLogKV `body`.

    Raises:
        SpecInvalid: a field that the CRD requires is missing, or is not of its type.
    """

    def parse(body: JsonObject) -> Resource:
        identity = parse_identity(body)
        return Resource(
            identity=identity,
            spec=_parse_spec(_object(body["spec"]), identity),
            pinned=_parse_pinned(_object(body.get("status", {}))),
            annotations={
                key: _string(value)
                for key, value in _object(_object(body["metadata"]).get("annotations", {})).items()
                if key.startswith(f"{names.GROUP}/")
            },
        )

    return _guard(parse, body)


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 text of the API server names, with its time zone.

    Raises:
        ValueError: it is no such text.
    """
    return datetime.fromisoformat(text)


def parse_scaling_mode(body: JsonObject) -> ScalingMode:
    """Who scales the SharedLogKV `body`; nobody where that can't be read."""
    try:
        return ScalingMode(_object(_object(body["spec"])["autoscaling"])["mode"])
    except (KeyError, TypeError, ValueError):
        return ScalingMode.NONE


def _parse_spec(spec: JsonObject, identity: Identity) -> Spec:
    topic = _object(spec["topic"])
    reads = _object(spec["reads"])
    config = {key: _string(value) for key, value in _object(topic.get("config", {})).items()}
    image = spec.get("image")
    kafka = _object(spec["kafka"])
    return Spec(
        bootstrap_servers=_string(kafka["bootstrapServers"]),
        kafka_security=parse_security(kafka),
        topic=TopicSpec(
            name=_string(topic.get("name", f"{identity.namespace}.{identity.name}")),
            replication_factor=_integer(topic["replicationFactor"]),
            min_in_sync_replicas=_integer(topic["minInSyncReplicas"]),
            config=config,
            adoption_policy=AdoptionPolicy(topic["adoptionPolicy"]),
            drift_policy=DriftPolicy(topic["driftPolicy"]),
            is_reclaimed=ReclaimPolicy(topic["reclaimPolicy"]) is ReclaimPolicy.DELETE
            and _boolean(topic["allowDataLoss"]),
        ),
        write_mode=WriteMode(spec["writeMode"]),
        lease_seconds=_integer(_object(spec["leader"])["leaseSeconds"]),
        reads=ReadsSpec(
            default_consistency=Consistency(reads["defaultConsistency"]), max_lag_ms=_integer(reads["maxLagMs"])
        ),
        replicas=0 if _boolean(spec["suspend"]) else _integer(spec["replicas"]),
        autoscaling=_parse_autoscaling(_object(spec["autoscaling"])),
        max_lag_seconds=_integer(spec["maxLagSeconds"]),
        image=None if image is None else _string(image),
        resources=_object(spec.get("resources", {})),
        pod_template=_parse_pod_template(_object(spec.get("podTemplate", {}))),
    )


def _parse_autoscaling(autoscaling: JsonObject) -> Autoscaling:
    behavior = _object(autoscaling["behavior"])
    up, down = _object(behavior["scaleUp"]), _object(behavior["scaleDown"])
    egress = autoscaling.get("maxBrokerEgressBytesPerSecond")
    return Autoscaling(
        ScalingMode(autoscaling["mode"]),
        Policy(
            min_replicas=_integer(autoscaling["minReplicas"]),
            max_replicas=_integer(autoscaling["maxReplicas"]),
            target_lag_seconds=_integer(autoscaling["targetLagSeconds"]),
            catch_up_seconds=_integer(autoscaling["catchUpSeconds"]),
            read_utilization=_integer(autoscaling["readUtilization"]) / 100,
            max_broker_egress_bytes_per_second=None if egress is None else _integer(egress),
            scale_up_window_seconds=_integer(up["stabilizationWindowSeconds"]),
            scale_down_window_seconds=_integer(down["stabilizationWindowSeconds"]),
            scale_down_period_seconds=_integer(down["periodSeconds"]),
        ),
    )


def _parse_pod_template(template: JsonObject) -> PodTemplate:
    constraints = template.get("topologySpreadConstraints")
    return PodTemplate(
        labels={key: _string(value) for key, value in _object(template.get("labels", {})).items()},
        annotations={key: _string(value) for key, value in _object(template.get("annotations", {})).items()},
        topology_spread_constraints=None if constraints is None else [_object(item) for item in _array(constraints)],
        pod_spec={field: template[field] for field in POD_SPEC_FIELDS if field in template},
    )


def _parse_pinned(status: JsonObject) -> PinnedTopic | None:
    if "topic" not in status:
        return None
    topic = _object(status["topic"])
    is_created = topic.get("origin") == names.ORIGIN_CREATED
    return PinnedTopic(name=_string(topic["name"]), id=_string(topic["id"]), is_created=is_created)


def build_pinned(pinned: PinnedTopic) -> JsonObject:
    """The binding as the status records it."""
    origin = names.ORIGIN_CREATED if pinned.is_created else names.ORIGIN_ADOPTED
    return {"name": pinned.name, "id": pinned.id, "origin": origin}


def _guard(parse: Callable[[JsonObject], T], body: JsonObject) -> T:
    """`parse(body)`, with what goes wrong in it as a `SpecInvalid`."""
    try:
        return parse(body)
    except KeyError as error:
        raise SpecInvalid(
            f"the resource lacks the field {error}: install the CRD of this operator's version"
        ) from error
    except (TypeError, ValueError) as error:
        raise SpecInvalid(
            f"the resource can't be read ({error}): install the CRD of this operator's version"
        ) from error


def _object(value: object) -> JsonObject:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no object")
    return value


def _array(value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{value!r} is no list")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no integer")
    return value
