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

CONTAINER: Final = "replica"
HTTP_PORT: Final = 8080
ADMIN_PORT: Final = 9090

ENV_LOG: Final = "SLKV_REPLICA_LOG"
ENV_TOPIC_ID: Final = "SLKV_REPLICA_TOPIC_ID"
ENV_WRITE_MODE: Final = "SLKV_REPLICA_WRITE_MODE"
ENV_NAME: Final = "SLKV_REPLICA_NAME"
ENV_HTTP_PORT: Final = "SLKV_REPLICA_HTTP_PORT"
ENV_ADMIN_PORT: Final = "SLKV_REPLICA_ADMIN_PORT"
