"""Builds the manifests of a resource's children: one function per kind, pure, each the whole of what we want.

They are applied by server-side apply, so a field that is not here belongs to somebody else or to the API server.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kafka_security import FOLDER, VOLUME, build_environment, build_volume
from sharedlogkv_operator.replica_container import read_template_variables
from sharedlogkv_operator.spec import Identity, Resource, Spec, WriteMode

Manifest = dict[str, object]

COMPONENT_LABEL: Final = "app.kubernetes.io/component"
REPLICAS_SELECTOR: Final = f"app.kubernetes.io/managed-by={names.FIELD_MANAGER},{COMPONENT_LABEL}=replica"
"""The pods of all resources, by the labels that every one of them has."""
USER_ID = 65532
STOP_SECONDS = 30
PEER_SECRET_LENGTH = 32
"""The least length of a secret that replicas share; shorter ones could be guessed."""


def build_deployment(resource: Resource, *, topic_id: str, default_image: str) -> Manifest:
    """The Deployment of the replicas, bound to the topic with the id `topic_id`."""
    labels = build_labels(resource.identity)
    template = resource.spec.pod_template
    pod_metadata: Manifest = {"labels": {**template.labels, **labels}}
    if template.annotations:
        pod_metadata["annotations"] = dict(template.annotations)
    return _build_child(
        resource.identity,
        api_version="apps/v1",
        kind="Deployment",
        spec={
            # Where the operator scales, the count is not this manifest's: see `scale`.
            **({} if resource.spec.is_scaled else {"replicas": resource.spec.replicas}),
            "selector": {"matchLabels": build_selector(resource.identity)},
            # A new pod must serve before an old one goes: replicas are never fewer than the spec promises.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": pod_metadata,
                "spec": _build_pod_spec(resource, topic_id=topic_id, image=resource.spec.image or default_image),
            },
        },
    )


def build_service(resource: Resource) -> Manifest:
    """The Service at which clients reach any replica that is ready."""
    return _build_child(
        resource.identity,
        api_version="v1",
        kind="Service",
        spec={
            "type": "ClusterIP",
            "selector": build_selector(resource.identity),
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "http"}],
        },
    )


def build_peer_secret(resource: Resource, *, value: str) -> Manifest:
    """The Secret that holds `value`, by which replicas know each other, and the operator as well."""
    return _build_object(
        resource.identity,
        api_version="v1",
        kind="Secret",
        name=names.name_peer_secret(resource.identity.name),
        content={"type": "Opaque", "data": {names.PEER_SECRET_KEY: base64.b64encode(value.encode()).decode()}},
    )


def parse_peer_secret(secret: JsonObject) -> str | None:
    """What the Secret holds; None if that is nothing that replicas could share."""
    data = secret.get("data")
    encoded = data.get(names.PEER_SECRET_KEY) if isinstance(data, Mapping) else None
    try:
        value = base64.b64decode(str(encoded or ""), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return value if len(value) >= PEER_SECRET_LENGTH and value.isprintable() and " " not in value else None


def build_pod_disruption_budget(resource: Resource) -> Manifest | None:
    """The budget by which a drain takes one replica at a time; None for a single one, where it would block drains."""
    if resource.spec.replicas < 2:
        return None
    return _build_child(
        resource.identity,
        api_version="policy/v1",
        kind="PodDisruptionBudget",
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": build_selector(resource.identity)},
            # A replica that does not serve holds nothing that a drain could lose.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )


def build_labels(identity: Identity) -> dict[str, str]:
    """The labels of every child and pod. Our own alone: the resource's labels may be somebody's tracking marks."""
    return {
        "app.kubernetes.io/name": "sharedlogkv",
        "app.kubernetes.io/instance": identity.name,
        "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
        **build_selector(identity),
    }


def build_selector(identity: Identity) -> dict[str, str]:
    """The labels by which the replicas' pods are selected. A Deployment can't change its own, so neither may this."""
    return {COMPONENT_LABEL: "replica", names.CLUSTER_LABEL: identity.name}


def build_selector_text(identity: Identity) -> str:
    """The same as a label selector's text, for /scale and for listing pods."""
    return ",".join(f"{key}={value}" for key, value in sorted(build_selector(identity).items()))


def build_log_url(bootstrap_servers: str, topic_name: str) -> str:
    """The shared log as replicas are told of it."""
    return f"kafka://{bootstrap_servers}/{topic_name}"


def parse_bootstrap_servers(deployment: JsonObject) -> str | None:
    """The brokers that the Deployment's replicas are told of; None if it is not one of ours."""
    scheme, _, rest = read_template_variables(deployment).get(names.ENV_LOG, "").partition("://")
    brokers, slash, _ = rest.rpartition("/")
    return brokers if scheme == "kafka" and slash else None


def _build_child(identity: Identity, *, api_version: str, kind: str, spec: Manifest) -> Manifest:
    """A child with that spec, which bears the resource's name."""
    return _build_object(identity, api_version=api_version, kind=kind, name=identity.name, content={"spec": spec})


def _build_object(identity: Identity, *, api_version: str, kind: str, name: str, content: Manifest) -> Manifest:
    """An object of that name that belongs to the resource, with that content beside its metadata."""
    manifest: Manifest = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": identity.namespace,
            "labels": build_labels(identity),
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": identity.name,
                    "uid": identity.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        **content,
    }
    digest = _digest(manifest)
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    metadata["annotations"] = {names.DIGEST_ANNOTATION: digest}
    return manifest


def _build_pod_spec(resource: Resource, *, topic_id: str, image: str) -> Manifest:
    pod_spec: Manifest = {
        **resource.spec.pod_template.pod_spec,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_build_container(resource, topic_id=topic_id, image=image)],
    }
    volumes = _build_volumes(resource)
    if volumes:
        pod_spec["volumes"] = volumes
    if resource.spec.kafka_security.files:
        # Changed for nobody else: it is part of the template, and would roll every replica.
        pod_spec["securityContext"]["fsGroup"] = USER_ID  # type: ignore[index] # the object above
    constraints = _build_spread_constraints(resource)
    if constraints:
        pod_spec["topologySpreadConstraints"] = constraints
    return pod_spec


def _build_container(resource: Resource, *, topic_id: str, image: str) -> Manifest:
    spec = resource.spec
    environment: list[Manifest] = [
        {"name": names.ENV_LOG, "value": build_log_url(spec.bootstrap_servers, spec.topic.name)},
        {"name": names.ENV_TOPIC_ID, "value": topic_id},
        {"name": names.ENV_WRITE_MODE, "value": spec.write_mode.value},
        {"name": names.ENV_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": names.ENV_HTTP_PORT, "value": str(names.HTTP_PORT)},
        {"name": names.ENV_ADMIN_PORT, "value": str(names.ADMIN_PORT)},
        {"name": names.ENV_MAX_LAG_SECONDS, "value": str(spec.max_lag_seconds)},
        {"name": names.ENV_DEFAULT_CONSISTENCY, "value": spec.reads.default_consistency.value.lower()},
        {"name": names.ENV_DEFAULT_MAX_LAG_MS, "value": str(spec.reads.max_lag_ms)},
        *build_environment(spec.kafka_security),
    ]
    ports: list[Manifest] = [
        {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
        {"name": "admin", "containerPort": names.ADMIN_PORT, "protocol": "TCP"},
    ]
    if spec.write_mode is WriteMode.LEADER:
        environment += _build_leader_environment(spec.lease_seconds)
        ports.append({"name": "peer", "containerPort": names.PEER_PORT, "protocol": "TCP"})
    container: Manifest = {
        "name": names.CONTAINER,
        "image": image,
        "command": ["sharedlogkv-replica"],
        "env": environment,
        "ports": ports,
        # Liveness does not wait for the replay, which may be long; so no startup probe is needed.
        "livenessProbe": _build_probe("/livez", period_seconds=10, timeout_seconds=5),
        "readinessProbe": _build_probe("/readyz", period_seconds=2, timeout_seconds=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if spec.resources:
        container["resources"] = dict(spec.resources)
    if mounts := _build_volume_mounts(spec):
        container["volumeMounts"] = mounts
    return container


def _build_volumes(resource: Resource) -> list[Manifest]:
    """The Secrets that the pods get as files."""
    volumes: list[Manifest] = []
    if resource.spec.write_mode is WriteMode.LEADER:
        secret_name = names.name_peer_secret(resource.identity.name)
        volumes.append({"name": "peers", "secret": {"secretName": secret_name}})
    if (kafka := build_volume(resource.spec.kafka_security)) is not None:
        volumes.append(kafka)
    return volumes


def _build_volume_mounts(spec: Spec) -> list[Manifest]:
    """Where the same volumes are."""
    mounts: list[Manifest] = []
    if spec.write_mode is WriteMode.LEADER:
        mounts.append({"name": "peers", "mountPath": names.PEER_SECRET_DIRECTORY, "readOnly": True})
    if spec.kafka_security.files:
        mounts.append({"name": VOLUME, "mountPath": FOLDER, "readOnly": True})
    return mounts


def _build_leader_environment(lease_seconds: int) -> list[Manifest]:
    """What a replica must know to lead, and to be reached by its peers."""
    return [
        {"name": names.ENV_LEASE_SECONDS, "value": str(lease_seconds)},
        {"name": names.ENV_PEER_PORT, "value": str(names.PEER_PORT)},
        # Kubernetes puts in the variables that stand before.
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": names.ENV_PEER_ADDRESS, "value": "$(POD_IP)"},
        {"name": names.ENV_PEER_SECRET_FILE, "value": f"{names.PEER_SECRET_DIRECTORY}/{names.PEER_SECRET_KEY}"},
    ]


def _build_probe(path: str, *, period_seconds: int, timeout_seconds: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": timeout_seconds,
        "failureThreshold": 3,
    }


def _build_spread_constraints(resource: Resource) -> list[Manifest]:
    """The user's constraints, on our own pods unless they select others; else a soft spread over zones and nodes."""
    selector = {"matchLabels": build_selector(resource.identity)}
    own = resource.spec.pod_template.topology_spread_constraints
    if own is not None:
        return [{"labelSelector": selector, **constraint} for constraint in own]
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
            "matchLabelKeys": ["pod-template-hash"],  # else pods of the old template would skew a rollout
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _digest(manifest: Mapping[str, object] | JsonObject) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
