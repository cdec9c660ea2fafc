"""The Kubernetes API as a test sees it: any request, the answer as it comes. Nothing of the operator is used here."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

Manifest = dict[str, Any]

RESOURCES = "/apis/sharedlog.dev/v1alpha1/namespaces/{namespace}/sharedlogkvs"
KINDS = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "SharedLogKV": RESOURCES,
}
MERGE = "application/merge-patch+json"


async def load_configuration(kubeconfig: str) -> kubernetes_client.Configuration:
    """How to log in, by this file."""
    configuration = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # the client is typed in part
        config_file=kubeconfig, client_configuration=configuration
    )
    return configuration


class KubeApi:
    """The API server, with the rights of whoever runs the tests."""

    def __init__(self, configuration: kubernetes_client.Configuration) -> None:
        self._client = kubernetes_client.ApiClient(configuration)

    async def request(
        self, method: str, path: str, *, body: object = None, content_type: str = "application/json", **query: str
    ) -> tuple[int, Manifest]:
        """The HTTP status and the JSON answer."""
        status, text = await self._exchange(method, path, body=body, content_type=content_type, query=query)
        return status, json.loads(text)

    async def _exchange(
        self, method: str, path: str, *, body: object, content_type: str, query: Mapping[str, str]
    ) -> tuple[int, bytes]:
        serialized = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=20)
        response = await self._client.call_api(*serialized, _request_timeout=timeout)
        text: bytes = await response.read()  # type: ignore[no-untyped-call]  # the client is typed in part
        return response.status, text

    async def call(self, method: str, path: str, **arguments: Any) -> Manifest:
        """The answer to a request that must succeed."""
        status, answer = await self.request(method, path, **arguments)
        assert status < 300, f"{method} {path}: {status} {answer.get('message')}"
        return answer

    async def create(self, kind: str, manifest: Manifest, **query: str) -> Manifest:
        """The object, just created."""
        path = KINDS[kind].format(namespace=manifest["metadata"]["namespace"])
        return await self.call("POST", path, body=manifest, **query)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The object; None when there is none."""
        status, answer = await self.request("GET", f"{KINDS[kind].format(namespace=namespace)}/{name}")
        assert status in (200, 404), answer
        return answer if status == 200 else None

    async def versions_after(self, kind: str, namespace: str, name: str, resource_version: str) -> list[Manifest]:
        """Every state that an object was in since that one, in order; the last one is what it was when it went."""
        query = {"watch": "true", "resourceVersion": resource_version, "timeoutSeconds": "1"}
        query["fieldSelector"] = f"metadata.name={name}"
        path = KINDS[kind].format(namespace=namespace)
        status, text = await self._exchange("GET", path, body=None, content_type="application/json", query=query)
        assert status == 200, text
        return [json.loads(line)["object"] for line in text.splitlines()]

    async def list(self, kind: str, namespace: str) -> "list[Manifest]":
        """All objects of that kind."""
        items: list[Manifest] = (await self.call("GET", KINDS[kind].format(namespace=namespace)))["items"]
        return items

    async def patch(self, kind: str, namespace: str, name: str, change: Manifest, *, part: str = "") -> Manifest:
        """The object after a merge patch; `part` may be `/status` or `/scale`."""
        path = f"{KINDS[kind].format(namespace=namespace)}/{name}{part}"
        return await self.call("PATCH", path, body=change, content_type=MERGE)

    async def delete(self, kind: str, namespace: str, name: str, **options: object) -> None:
        """Deletes the object; `options` as in DeleteOptions."""
        path = f"{KINDS[kind].format(namespace=namespace)}/{name}"
        await self.call("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1", **options})

    async def close(self) -> None:
        """Ends the session."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the client is typed in part


@asynccontextmanager
async def connect(kubeconfig: str) -> AsyncIterator[KubeApi]:
    """The API server that this file names."""
    api = KubeApi(await load_configuration(kubeconfig))
    try:
        yield api
    finally:
        await api.close()


def build_store(namespace: str, name: str = "store", *, servers: str = "kafka:9092", **spec: Any) -> Manifest:
    """A SharedLogKV for one broker; `spec` overrides whole fields of the spec."""
    topic = {"replicationFactor": 1, "minInSyncReplicas": 1}
    return {
        "apiVersion": "sharedlog.dev/v1alpha1",
        "kind": "SharedLogKV",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"kafka": {"bootstrapServers": servers}, "topic": topic, **spec},
    }


def unique(prefix: str) -> str:
    """A name that nobody else has."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


async def until(
    probe: Callable[[], Awaitable[object]], *, what: str, timeout_seconds: float = 20, every_seconds: float = 0.05
) -> Any:
    """What `probe` returns, as soon as that is true.

    Raises:
        AssertionError: it was not in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        result = await probe()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        await asyncio.sleep(every_seconds)


def condition(body: Mapping[str, Any] | None, type_: str) -> Manifest:
    """A condition in an object's status; empty when it has none."""
    conditions = ((body or {}).get("status") or {}).get("conditions", [])
    return next((dict(item) for item in conditions if item["type"] == type_), {})
