"""Requests to the Kubernetes API server, each with a deadline, and what their answers mean.

On the official client's session, which brings TLS, tokens and their renewal.
"""

import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME
from yaml import YAMLError

from sharedlogkv_operator.errors import ConfigError, KubeRefused, KubeUnavailable
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.metrics import Metrics

REQUEST_SECONDS: Final = 10.0
PAGE_LIMIT: Final = 500

APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"

TRANSIENT: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,  # a token just being renewed
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)


class KubeSession:
    """One shared HTTP session with the API server."""

    def __init__(
        self,
        configuration: kubernetes_client.Configuration,
        *,
        metrics: Metrics,
        reload: Callable[[], Awaitable[kubernetes_client.Configuration]] | None = None,
    ) -> None:
        """Connects on first use.

        Args:
            configuration: where the API server is, and how to log in.
            metrics: where requests are counted.
            reload: reads anew how to log in, when a token was refused.
        """
        self._configuration = configuration
        self._client = kubernetes_client.ApiClient(configuration)
        self._metrics = metrics
        self._reload = reload

    async def close(self) -> None:
        """Ends the session."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the client is typed in part

    async def list(self, path: str, **query: str) -> Sequence[JsonObject]:
        """The whole list, page by page.

        Raises:
            KubeUnavailable, KubeRefused: as `request`.
        """
        found: list[JsonObject] = []
        query["limit"] = str(PAGE_LIMIT)
        while True:
            page = await self.request("GET", path, query=query)
            items, metadata = page["items"], page["metadata"]
            assert isinstance(items, list)
            assert isinstance(metadata, Mapping)
            found += items
            if not metadata.get("continue"):
                return found
            query["continue"] = str(metadata["continue"])

    async def find(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> JsonObject | None:
        """As `request`, but None when there is no such object.

        Raises:
            KubeUnavailable, KubeRefused: as `request`.
        """
        try:
            return await self.request(method, path, query=query, body=body, content_type=content_type)
        except NotFound:
            return None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> JsonObject:
        """The answer to one request, within its deadline.

        Raises:
            KubeUnavailable: no answer, or one that calls for another try.
            KubeRefused: any other refusal.
        """
        try:
            status, answer = await self._exchange(method, path, query=query, body=body, content_type=content_type)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._metrics.count_kube_request(method, "unreachable")
            raise KubeUnavailable(f"the API server gave no answer to {method} {path}: {_describe(error)}") from error
        self._metrics.count_kube_request(method, str(status))
        if status < HTTPStatus.BAD_REQUEST:
            return answer
        message = str(answer.get("message", f"status {status}"))
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound(message)
        if status == HTTPStatus.UNAUTHORIZED and self._reload is not None:
            try:
                self._configuration.api_key = (await self._reload()).api_key
            except ConfigError as error:  # whoever renews the log-in may just be at it
                raise KubeUnavailable(f"{message}, and for now there is {error}") from error
        if status in TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise KubeUnavailable(message)
        raise KubeRefused(message)

    async def _exchange(
        self, method: str, path: str, *, query: Mapping[str, str] | None, body: object, content_type: str
    ) -> tuple[int, JsonObject]:
        serialized = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._client.call_api(*serialized, _request_timeout=timeout)
        text = await response.read()  # type: ignore[no-untyped-call]  # as above
        answer: object = {}
        with contextlib.suppress(ValueError):  # a proxy in between may answer with anything
            answer = json.loads(text)
        return response.status, answer if isinstance(answer, Mapping) else {}


class NotFound(KubeRefused):
    """There is no such object."""


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def load_configuration() -> kubernetes_client.Configuration:
    """Where the API server is and how to log in: `KUBECONFIG`, else the pod's service account, else ~/.kube/config.

    Raises:
        ConfigError: none of them is usable.
    """
    configuration = kubernetes_client.Configuration()
    try:
        if "KUBECONFIG" not in os.environ and Path(SERVICE_TOKEN_FILENAME).exists():  # noqa: ASYNC240 -- at start
            kubernetes_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # as above
        else:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]  # as above
                client_configuration=configuration
            )
    except (kubernetes_config.ConfigException, OSError, LookupError, TypeError, ValueError, YAMLError) as error:
        raise ConfigError(f"no way to log in to Kubernetes: {_describe(error)}") from error
    return configuration
