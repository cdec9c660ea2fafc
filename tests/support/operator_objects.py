"""Objects as the API server would give them, for tests of the operator that have none."""

from typing import Any

from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.spec import Resource
from sharedlogkv_operator.topic import ObservedTopic, build_topic_config

Manifest = dict[str, Any]

UID = "5f0c0a5e-3c5f-4d8a-9a3e-0d6f7a1b2c3d"
SERVERS = "kafka:9092"
TOPIC_DEFAULTS: Manifest = {
    "replicationFactor": 3,
    "minInSyncReplicas": 2,
    "adoptionPolicy": "IfCompatible",
    "driftPolicy": "Enforce",
    "reclaimPolicy": "Retain",
    "allowDataLoss": False,
}


def build_resource_body(*, spec: Manifest | None = None, metadata: Manifest | None = None, **top: Any) -> Manifest:
    """A SharedLogKV named `demo/store` with the CRD's defaults filled in, overridden by what is given."""
    overrides = dict(spec or {})
    topic = {**TOPIC_DEFAULTS, **overrides.pop("topic", {})}
    return {
        "apiVersion": "sharedlog.dev/v1alpha1",
        "kind": "SharedLogKV",
        "metadata": {
            "namespace": "demo",
            "name": "store",
            "uid": UID,
            "generation": 1,
            "resourceVersion": "1",
            **(metadata or {}),
        },
        "spec": {
            "kafka": {"bootstrapServers": SERVERS},
            "topic": topic,
            "writeMode": "Leaderless",
            "leader": {"leaseSeconds": 3},
            "reads": {"defaultConsistency": "Eventual", "maxLagMs": 1000},
            "suspend": False,
            "replicas": 3,
            "autoscaling": build_autoscaling(**overrides.pop("autoscaling", {})),
            "maxLagSeconds": 30,
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
            **overrides,
        },
        **top,
    }


def build_autoscaling(**overrides: Any) -> Manifest:
    """The spec's `autoscaling` with the CRD's defaults, overridden by what is given."""
    return {
        "mode": "None",
        "minReplicas": 2,
        "maxReplicas": 10,
        "targetLagSeconds": 5,
        "catchUpSeconds": 120,
        "readUtilization": 75,
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 300, "periodSeconds": 30},
        },
        **overrides,
    }


def build_resource(**arguments: Any) -> Resource:
    """The same, parsed."""
    return parse_resource(build_resource_body(**arguments))


def build_topic(resource: Resource, *, id: str = "topic-1", **changes: Any) -> ObservedTopic:  # noqa: A002 -- as the field
    """The topic as Kafka would describe it after the operator created it; `config` overrides single settings."""
    config = {**build_topic_config(resource.spec.topic), "compression.type": "producer", **changes.pop("config", {})}
    fields = {"partitions": 1, "replication_factor": resource.spec.topic.replication_factor, **changes}
    return ObservedTopic(id=id, config=config, **fields)
