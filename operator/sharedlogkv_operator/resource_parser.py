"""Parses a SharedLogKV as the API server gives it into the dataclasses of `spec`. Its dicts stop here.

The CRD validates and fills in defaults, so the parser only takes what is there; a missing or ill-typed field means that
another version of the CRD is installed, and becomes a `SpecInvalid`.
"""

from collections.abc import Callable
from typing import TypeVar

from sharedlogkv_operator import names
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.errors import SpecInvalid
from sharedlogkv_operator.json_fields import (
    JsonObject,
    as_array,
    as_boolean,
    as_integer,
    as_object,
    as_string,
    as_strings,
    parse_time,
)
from sharedlogkv_operator.kafka_security import parse_security
from sharedlogkv_operator.spec import (
    AdoptionPolicy,
    Autoscaling,
    Consistency,
    DriftPolicy,
    Identity,
    PinnedTopic,
    PodTemplate,
    ReadsSpec,
    ReclaimPolicy,
    Resource,
    ScalingMode,
    Spec,
    TopicSpec,
    WriteMode,
)

T = TypeVar("T")

POD_SPEC_FIELDS = ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets")


def parse_identity(body: JsonObject) -> Identity:
    """Which object `body` is; this much must parse for a status to be written at all.

    Raises:
        SpecInvalid: it has no proper metadata.
    """

    def parse(body: JsonObject) -> Identity:
        metadata = as_object(body["metadata"])
        deletion = metadata.get("deletionTimestamp")
        return Identity(
            namespace=as_string(metadata["namespace"]),
            name=as_string(metadata["name"]),
            uid=as_string(metadata["uid"]),
            generation=as_integer(metadata["generation"]),
            resource_version=as_string(metadata["resourceVersion"]),
            finalizers=tuple(as_string(item) for item in as_array(metadata.get("finalizers", []))),
            deletion_time=None if deletion is None else parse_time(as_string(deletion)),
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
            spec=_parse_spec(as_object(body["spec"]), identity),
            pinned=_parse_pinned(as_object(body.get("status", {}))),
            annotations={
                key: value
                for key, value in as_strings(as_object(body["metadata"]).get("annotations", {})).items()
                if key.startswith(f"{names.GROUP}/")
            },
        )

    return _guard(parse, body)


def parse_scaling_mode(body: JsonObject) -> ScalingMode:
    """Who scales the SharedLogKV `body`; nobody where that can't be read."""
    try:
        return ScalingMode(as_object(as_object(body["spec"])["autoscaling"])["mode"])
    except (KeyError, TypeError, ValueError):
        return ScalingMode.NONE


def _parse_spec(spec: JsonObject, identity: Identity) -> Spec:
    topic = as_object(spec["topic"])
    reads = as_object(spec["reads"])
    image = spec.get("image")
    kafka = as_object(spec["kafka"])
    return Spec(
        bootstrap_servers=as_string(kafka["bootstrapServers"]),
        kafka_security=parse_security(kafka),
        topic=TopicSpec(
            name=as_string(topic.get("name", f"{identity.namespace}.{identity.name}")),
            replication_factor=as_integer(topic["replicationFactor"]),
            min_in_sync_replicas=as_integer(topic["minInSyncReplicas"]),
            config=as_strings(topic.get("config", {})),
            adoption_policy=AdoptionPolicy(topic["adoptionPolicy"]),
            drift_policy=DriftPolicy(topic["driftPolicy"]),
            is_reclaimed=ReclaimPolicy(topic["reclaimPolicy"]) is ReclaimPolicy.DELETE
            and as_boolean(topic["allowDataLoss"]),
        ),
        write_mode=WriteMode(spec["writeMode"]),
        lease_seconds=as_integer(as_object(spec["leader"])["leaseSeconds"]),
        reads=ReadsSpec(
            default_consistency=Consistency(reads["defaultConsistency"]), max_lag_ms=as_integer(reads["maxLagMs"])
        ),
        replicas=0 if as_boolean(spec["suspend"]) else as_integer(spec["replicas"]),
        autoscaling=_parse_autoscaling(as_object(spec["autoscaling"])),
        max_lag_seconds=as_integer(spec["maxLagSeconds"]),
        image=None if image is None else as_string(image),
        resources=as_object(spec.get("resources", {})),
        pod_template=_parse_pod_template(as_object(spec.get("podTemplate", {}))),
    )


def _parse_autoscaling(autoscaling: JsonObject) -> Autoscaling:
    behavior = as_object(autoscaling["behavior"])
    up, down = as_object(behavior["scaleUp"]), as_object(behavior["scaleDown"])
    egress = autoscaling.get("maxBrokerEgressBytesPerSecond")
    return Autoscaling(
        ScalingMode(autoscaling["mode"]),
        Policy(
            min_replicas=as_integer(autoscaling["minReplicas"]),
            max_replicas=as_integer(autoscaling["maxReplicas"]),
            target_lag_seconds=as_integer(autoscaling["targetLagSeconds"]),
            catch_up_seconds=as_integer(autoscaling["catchUpSeconds"]),
            read_utilization=as_integer(autoscaling["readUtilization"]) / 100,
            max_broker_egress_bytes_per_second=None if egress is None else as_integer(egress),
            scale_up_window_seconds=as_integer(up["stabilizationWindowSeconds"]),
            scale_down_window_seconds=as_integer(down["stabilizationWindowSeconds"]),
            scale_down_period_seconds=as_integer(down["periodSeconds"]),
        ),
    )


def _parse_pod_template(template: JsonObject) -> PodTemplate:
    constraints = template.get("topologySpreadConstraints")
    return PodTemplate(
        labels=as_strings(template.get("labels", {})),
        annotations=as_strings(template.get("annotations", {})),
        topology_spread_constraints=None
        if constraints is None
        else [as_object(item) for item in as_array(constraints)],
        pod_spec={field: template[field] for field in POD_SPEC_FIELDS if field in template},
    )


def _parse_pinned(status: JsonObject) -> PinnedTopic | None:
    if "topic" not in status:
        return None
    topic = as_object(status["topic"])
    is_created = topic.get("origin") == names.ORIGIN_CREATED
    return PinnedTopic(name=as_string(topic["name"]), id=as_string(topic["id"]), is_created=is_created)


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
