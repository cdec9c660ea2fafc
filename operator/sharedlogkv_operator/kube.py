"""What the operator asks of the Kubernetes API server: few requests, of few kinds.

`KubeClient` is the seam; `ApiServer` implements it. Paths are written out: the operator knows its kinds, so it needs no
discovery.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from kubernetes.aio.client import Configuration

from sharedlogkv_operator import names
from sharedlogkv_operator.desired import Manifest
from sharedlogkv_operator.errors import KubeRefused
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kube_session import APPLY, JSON_PATCH, MERGE_PATCH, KubeSession
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.spec import Identity

RESOURCE_PATH: Final = f"/apis/{names.GROUP}/{names.VERSION}/namespaces/{{namespace}}/{names.PLURAL}/{{name}}"
COLLECTION_PATH: Final = f"/apis/{names.GROUP}/{names.VERSION}{{where}}/{names.PLURAL}"
PODS_PATH: Final = "/api/v1{where}/pods"
LEASES_PATH: Final = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
CHILD_PATHS: Final[Mapping[str, str]] = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Secret": "/api/v1/namespaces/{namespace}/secrets/{name}",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}",
}


class KubeClient(Protocol):
    """What the reconcile asks of Kubernetes. Every call raises `KubeUnavailable` or `KubeRefused` where it fails."""

    async def get_resource(self, namespace: str, name: str) -> JsonObject | None:
        """The SharedLogKV, fresh from the API server; None when there is none."""
        ...

    async def list_resources(self, *, demands_all: bool = False) -> Sequence[JsonObject]:
        """Every SharedLogKV that the operator may see.

        Args:
            demands_all: fails where one of the namespaces that are served refuses; else it fails where all do.
        """
        ...

    async def get_child(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """The child of that kind; None when there is none."""
        ...

    async def get_secret(self, namespace: str, name: str) -> JsonObject | None:
        """The Secret that a resource refers to; None when there is none."""
        ...

    async def apply_child(self, manifest: Manifest) -> JsonObject:
        """Applies the manifest with our field manager, taking over fields that others changed; the child after it."""
        ...

    async def create_child(self, manifest: Manifest) -> JsonObject:
        """Creates the object; the child after it. One that is there already is somebody else's doing: try again."""
        ...

    async def delete_child(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Deletes the child if it still is the one with that uid; gone already is as good."""
        ...

    async def list_pods(self, namespace: str | None, selector: str) -> Sequence[JsonObject]:
        """The pods with the labels that `selector` demands; with None, those of all namespaces that are served.

        It fails where one of these namespaces refuses.
        """
        ...

    async def list_replica_sets(self, namespace: str, selector: str) -> Sequence[JsonObject]:
        """The ReplicaSets with the labels that `selector` demands."""
        ...

    async def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """Sets these annotations of the pod, or removes those that are None; a pod that is gone needs none."""
        ...

    async def scale_deployment(self, deployment: JsonObject, replicas: int) -> None:
        """Has the Deployment ask for so many replicas, as the field manager that scales; not one of another uid."""
        ...

    async def remove_annotation(self, identity: Identity, key: str, *, value: str) -> None:
        """Removes the annotation from the resource as long as it has that value; a resource that is gone has none.

        Raises:
            KubeRefused: it has another value, or none.
        """
        ...

    async def write_status(self, identity: Identity, status: Mapping[str, object]) -> JsonObject | None:
        """Replaces the status of the resource; the resource after it, None if it is gone."""
        ...

    async def write_finalizers(self, identity: Identity, finalizers: Sequence[str]) -> JsonObject | None:
        """Replaces the finalizers, if the resource is still as `identity` says; the resource after it, None if gone."""
        ...

    async def post_event(self, event: Manifest) -> None:
        """Posts a core/v1 Event, or counts it once more if it was posted before."""
        ...


class ApiServer:
    """The API server, over one shared HTTP session."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        metrics: Metrics,
        namespaces: Sequence[str] = (),
        reload: Callable[[], Awaitable[Configuration]] | None = None,
    ) -> None:
        """Connects on first use.

        Args:
            configuration: where the API server is, and how to log in.
            metrics: where requests are counted.
            namespaces: where there are resources of ours; empty for the whole cluster.
            reload: reads anew how to log in, when a token was refused.
        """
        self._places = [f"/namespaces/{namespace}" for namespace in namespaces] or [""]
        self._session = KubeSession(configuration, metrics=metrics, reload=reload)

    async def get_resource(self, namespace: str, name: str) -> JsonObject | None:
        """See `KubeClient`."""
        return await self._session.find("GET", RESOURCE_PATH.format(namespace=namespace, name=name))

    async def list_resources(self, *, demands_all: bool = False) -> Sequence[JsonObject]:
        """See `KubeClient`."""
        return await self._list_served(COLLECTION_PATH, demands_all=demands_all)

    async def get_child(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """See `KubeClient`."""
        return await self._session.find("GET", CHILD_PATHS[kind].format(namespace=namespace, name=name))

    async def get_secret(self, namespace: str, name: str) -> JsonObject | None:
        """See `KubeClient`."""
        return await self._session.find("GET", CHILD_PATHS["Secret"].format(namespace=namespace, name=name))

    async def apply_child(self, manifest: Manifest) -> JsonObject:
        """See `KubeClient`."""
        metadata = manifest["metadata"]
        assert isinstance(metadata, Mapping)
        path = CHILD_PATHS[str(manifest["kind"])].format(namespace=metadata["namespace"], name=metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._session.request("PATCH", path, query=query, body=manifest, content_type=APPLY)

    async def create_child(self, manifest: Manifest) -> JsonObject:
        """See `KubeClient`."""
        metadata = manifest["metadata"]
        assert isinstance(metadata, Mapping)
        path = CHILD_PATHS[str(manifest["kind"])].format(namespace=metadata["namespace"], name="").removesuffix("/")
        return await self._session.request("POST", path, query={"fieldManager": names.FIELD_MANAGER}, body=manifest)

    async def delete_child(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """See `KubeClient`."""
        path = CHILD_PATHS[kind].format(namespace=namespace, name=name)
        await self._session.find("DELETE", path, body={"preconditions": {"uid": uid}})

    async def list_pods(self, namespace: str | None, selector: str) -> Sequence[JsonObject]:
        """See `KubeClient`."""
        if namespace is None:
            return await self._list_served(PODS_PATH, demands_all=True, labelSelector=selector)
        return await self._session.list(PODS_PATH.format(where=f"/namespaces/{namespace}"), labelSelector=selector)

    async def list_replica_sets(self, namespace: str, selector: str) -> Sequence[JsonObject]:
        """See `KubeClient`."""
        return await self._session.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets", labelSelector=selector)

    async def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """See `KubeClient`."""
        path, change = f"/api/v1/namespaces/{namespace}/pods/{name}", {"metadata": {"annotations": annotations}}
        query = {"fieldManager": names.FIELD_MANAGER}
        await self._session.find("PATCH", path, query=query, body=change, content_type=MERGE_PATCH)

    async def scale_deployment(self, deployment: JsonObject, replicas: int) -> None:
        """See `KubeClient`."""
        metadata = deployment["metadata"]
        assert isinstance(metadata, Mapping)
        path = CHILD_PATHS["Deployment"].format(namespace=metadata["namespace"], name=metadata["name"])
        query = {"fieldManager": names.SCALE_MANAGER, "force": "true"}
        manifest = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {key: metadata[key] for key in ("namespace", "name", "uid")},
            "spec": {"replicas": replicas},
        }
        await self._session.request("PATCH", path, query=query, body=manifest, content_type=APPLY)

    async def remove_annotation(self, identity: Identity, key: str, *, value: str) -> None:
        """See `KubeClient`."""
        path = RESOURCE_PATH.format(namespace=identity.namespace, name=identity.name)
        where = f"/metadata/annotations/{key.replace('~', '~0').replace('/', '~1')}"
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": identity.uid},
            {"op": "test", "path": where, "value": value},
            {"op": "remove", "path": where},
        ]
        query = {"fieldManager": names.FIELD_MANAGER}
        await self._session.find("PATCH", path, query=query, body=operations, content_type=JSON_PATCH)

    async def write_status(self, identity: Identity, status: Mapping[str, object]) -> JsonObject | None:
        """See `KubeClient`."""
        path = RESOURCE_PATH.format(namespace=identity.namespace, name=identity.name) + "/status"
        # The test keeps our status off an object that was deleted and created anew meanwhile.
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": identity.uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._session.find("PATCH", path, query=query, body=operations, content_type=JSON_PATCH)

    async def write_finalizers(self, identity: Identity, finalizers: Sequence[str]) -> JsonObject | None:
        """See `KubeClient`."""
        path = RESOURCE_PATH.format(namespace=identity.namespace, name=identity.name)
        metadata = {
            "uid": identity.uid,
            "resourceVersion": identity.resource_version,
            "finalizers": list(finalizers),
        }
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._session.find(
            "PATCH", path, query=query, body={"metadata": metadata}, content_type=MERGE_PATCH
        )

    async def post_event(self, event: Manifest) -> None:
        """See `KubeClient`."""
        metadata = event["metadata"]
        assert isinstance(metadata, Mapping)
        collection = f"/api/v1/namespaces/{metadata['namespace']}/events"
        path = f"{collection}/{metadata['name']}"
        earlier = await self._session.find("GET", path)
        if earlier is None:
            await self._session.request("POST", collection, body=event)
            return
        count = earlier.get("count")
        repetition = {
            "count": (count if isinstance(count, int) else 0) + 1,
            "lastTimestamp": event["lastTimestamp"],
        }
        await self._session.find("PATCH", path, body=repetition, content_type=MERGE_PATCH)

    async def get_lease(self, namespace: str, name: str) -> JsonObject | None:
        """See `LeaseClient`."""
        return await self._session.find("GET", f"{LEASES_PATH.format(namespace=namespace)}/{name}")

    async def write_lease(self, manifest: JsonObject) -> JsonObject:
        """See `LeaseClient`."""
        metadata = manifest["metadata"]
        assert isinstance(metadata, Mapping)
        collection = LEASES_PATH.format(namespace=metadata["namespace"])
        if "resourceVersion" not in metadata:
            return await self._session.request("POST", collection, body=manifest)
        return await self._session.request("PUT", f"{collection}/{metadata['name']}", body=manifest)

    async def is_served(self) -> bool:
        """Whether the API server knows our kind, that is, whether the CRD is installed.

        Raises:
            KubeUnavailable: the API server can't be reached.
            KubeRefused: we may not list our own resources, in any of the namespaces.
        """
        refusals: list[KubeRefused] = []
        for where in self._places:
            try:
                found = await self._session.find("GET", COLLECTION_PATH.format(where=where), query={"limit": "1"})
                return found is not None
            except KubeRefused as error:  # by one namespace: it is the same kind in the others
                refusals.append(error)
        raise refusals[0]

    async def close(self) -> None:
        """Ends the session."""
        await self._session.close()

    async def _list_served(self, path: str, *, demands_all: bool = False, **query: str) -> Sequence[JsonObject]:
        """What `path` lists in all namespaces that are served; one that refuses us (it may be gone) is passed over.

        Raises:
            KubeRefused: every one refuses; or one does, and all are demanded.
        """
        found: list[JsonObject] = []
        refusals: list[KubeRefused] = []
        for where in self._places:
            try:
                found += await self._session.list(path.format(where=where), **query)
            except KubeRefused as error:
                log.warning("a namespace is passed over", error=str(error))
                refusals.append(error)
        if refusals and (demands_all or len(refusals) == len(self._places)):
            raise refusals[0]
        return found
