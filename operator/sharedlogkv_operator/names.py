"""The names that the operator gives and obeys: of the API, of labels, and of what replicas read from their environment.

The environment variables and ports are the contract with the replica program, which this program never imports.
"""

from typing import Final

GROUP: Final = "sharedlog.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "sharedlogkvs"
KIND: Final = "SharedLogKV"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "sharedlogkv-operator"
TOPIC_FINALIZER: Final = f"{GROUP}/topic"
"""On a resource whose topic shall be deleted with it, and on no other."""

ORIGIN_CREATED: Final = "Created"
ORIGIN_ADOPTED: Final = "Adopted"
"""How a resource came by its topic, in `status.topic.origin`. Only a created one is ever deleted."""

CLUSTER_LABEL: Final = f"{GROUP}/cluster"
"""On every child and pod: the name of the resource that it belongs to."""

DIGEST_ANNOTATION: Final = f"{GROUP}/applied-digest"
"""On every child: the digest of the manifest last applied, which shows that a field is no longer wanted."""

PAUSED_ANNOTATION: Final = f"{GROUP}/paused"
"""On a resource, by a person, with the value "true": the operator looks, and changes nothing."""

PLAN_ANNOTATION: Final = f"{GROUP}/plan"
"""The same, and the status tells what would change."""

ACCEPT_LOSS_ANNOTATION: Final = f"{GROUP}/accept-topic-loss"
"""On a resource, by a person: the id of the topic whose loss is accepted. Removed once the resource has a fit topic."""

TRANSFER_ANNOTATION: Final = f"{GROUP}/transfer-leader"
"""On a resource, by a person: the pod that shall lead. Removed once that is settled, one way or the other."""

SCALE_MANAGER: Final = "sharedlogkv-autoscaler"
"""The field manager of a Deployment's count where the operator scales; the rest of it belongs to `FIELD_MANAGER`."""

PAUSE_SCALING_ANNOTATION: Final = f"{GROUP}/pause-scaling"
"""On a resource, by a person: "true" leaves the count as it is."""

CONTAINER: Final = "replica"
HTTP_PORT: Final = 8080
ADMIN_PORT: Final = 9090
PEER_PORT: Final = 8081

PEER_SECRET_KEY: Final = "secret"
"""Under which key of its Secret the secret is that replicas share; also the name of its file."""

PEER_SECRET_DIRECTORY: Final = "/etc/sharedlogkv/peers"
"""Where a replica finds it."""

ENV_LOG: Final = "SLKV_REPLICA_LOG"
ENV_TOPIC_ID: Final = "SLKV_REPLICA_TOPIC_ID"
ENV_WRITE_MODE: Final = "SLKV_REPLICA_WRITE_MODE"
ENV_NAME: Final = "SLKV_REPLICA_NAME"
ENV_HTTP_PORT: Final = "SLKV_REPLICA_HTTP_PORT"
ENV_ADMIN_PORT: Final = "SLKV_REPLICA_ADMIN_PORT"
ENV_LEASE_SECONDS: Final = "SLKV_REPLICA_LEASE_SECONDS"
ENV_PEER_PORT: Final = "SLKV_REPLICA_PEER_PORT"
ENV_PEER_ADDRESS: Final = "SLKV_REPLICA_PEER_ADDRESS"
ENV_PEER_SECRET_FILE: Final = "SLKV_REPLICA_PEER_SECRET_FILE"
ENV_DEFAULT_CONSISTENCY: Final = "SLKV_REPLICA_DEFAULT_CONSISTENCY"
ENV_DEFAULT_MAX_LAG_MS: Final = "SLKV_REPLICA_DEFAULT_MAX_LAG_MS"
ENV_KAFKA_TLS: Final = "SLKV_REPLICA_KAFKA_TLS"
ENV_KAFKA_CA_FILE: Final = "SLKV_REPLICA_KAFKA_CA_FILE"
ENV_KAFKA_CERTIFICATE_FILE: Final = "SLKV_REPLICA_KAFKA_CERTIFICATE_FILE"
ENV_KAFKA_KEY_FILE: Final = "SLKV_REPLICA_KAFKA_KEY_FILE"
ENV_KAFKA_SASL_MECHANISM: Final = "SLKV_REPLICA_KAFKA_SASL_MECHANISM"
ENV_KAFKA_SASL_USERNAME: Final = "SLKV_REPLICA_KAFKA_SASL_USERNAME"
ENV_KAFKA_SASL_PASSWORD_FILE: Final = "SLKV_REPLICA_KAFKA_SASL_PASSWORD_FILE"
ENV_MAX_LAG_SECONDS: Final = "SLKV_REPLICA_MAX_LAG_SECONDS"


def name_peer_secret(resource_name: str) -> str:
    """The name of the Secret that holds what a resource's replicas share.

    Not the resource's own name, as the other children have: a user's Secret may well bear that.
    """
    return f"{resource_name}-peers"
