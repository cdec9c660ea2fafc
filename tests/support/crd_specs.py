"""Parts of specs for tests of the CRD, and what the API server would say to a whole one."""

from typing import Any

from tests.support.environment import Environment
from tests.support.kubernetes import RESOURCES, connect

Manifest = dict[str, Any]
POD_AFFINITY_TERM = {
    "topologyKey": "zone",
    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
    "namespaceSelector": {"matchLabels": {"c": "d"}},
    "namespaces": ["e"],
    "matchLabelKeys": ["pod-template-hash"],
}
NODE_TERM = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
FULL_TEMPLATE = {
    "labels": {"team": "a", "example.com/tier": "b"},
    "annotations": {"note": "any text: at all"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [
        {"operator": "Exists"},
        {"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 30},
        {"key": "k", "operator": "Exists", "effect": "NoSchedule"},
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [NODE_TERM]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": NODE_TERM}],
        },
        "podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": POD_AFFINITY_TERM}]
        },
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [POD_AFFINITY_TERM]},
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2},
        {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "Honor"},
    ],
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}


async def try_create(environment: Environment, manifest: Manifest) -> tuple[int, Manifest]:
    """What the API server would say to it, without keeping it; unknown fields are refused, as kubectl has it."""
    async with connect(environment.kubeconfig) as api:
        path = RESOURCES.format(namespace="default")
        return await api.request("POST", path, body=manifest, dryRun="All", fieldValidation="Strict")


def with_topic(**fields: object) -> Manifest:
    return {"topic": {"replicationFactor": 1, "minInSyncReplicas": 1, **fields}}


def with_servers(servers: str) -> Manifest:
    return {"kafka": {"bootstrapServers": servers}}


def with_kafka(**fields: object) -> Manifest:
    return {"kafka": {"bootstrapServers": "kafka:9093", **fields}}


def sasl(mechanism: str, username: str = "alice") -> Manifest:
    return {"mechanism": mechanism, "username": username, "passwordSecretRef": {"name": "alice"}}


def with_template(**fields: object) -> Manifest:
    return {"podTemplate": fields}
