"""What the client of the API server makes of namespaces that refuse it, and of a token that is refused."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from sharedlogkv_operator.errors import ConfigError, KubeRefused, KubeUnavailable
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.metrics import Metrics

pytestmark = pytest.mark.asyncio

PATH = "/apis/sharedlog.dev/v1alpha1/namespaces/{namespace}/sharedlogkvs"


@asynccontextmanager
async def serving(
    *namespaces: str,
    refusing: Collection[str] = (),
    installed: bool = True,
    token: str | None = None,
    reload: Callable[[], Awaitable[Configuration]] | None = None,
) -> AsyncIterator[ApiServer]:
    """A client that serves these namespaces, each with one resource of its name, and an API server for it.

    With `token` that takes this one alone; the client has none, and `reload` to read it by.
    """

    async def answer(request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        if token not in (None, request.headers.get("Authorization")):
            return web.json_response({"message": "Unauthorized"}, status=401)
        if namespace in refusing:
            return web.json_response({"message": f"forbidden in {namespace}"}, status=403)
        if not installed:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"metadata": {}, "items": [{"metadata": {"name": namespace}}]})

    application = web.Application()
    application.router.add_get(PATH, answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    configuration = Configuration(host=f"http://{host}:{port}")
    client = ApiServer(configuration, metrics=Metrics(), namespaces=namespaces, reload=reload)
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


async def list_names(client: ApiServer, *, demands_all: bool = False) -> list[object]:
    return [item["metadata"]["name"] for item in await client.list_resources(demands_all=demands_all)]  # type: ignore[index] # as served


async def test_a_namespace_that_refuses_is_passed_over_in_a_list() -> None:
    async with serving("a", "b", "c", refusing={"b"}) as client:
        assert await list_names(client) == ["a", "c"]


async def test_a_list_that_must_be_whole_fails_where_a_namespace_refuses() -> None:
    async with serving("a", "b", "c", refusing={"b"}) as client:
        with pytest.raises(KubeRefused, match="forbidden in b"):
            await list_names(client, demands_all=True)
    async with serving("a", "b") as client:
        assert await list_names(client, demands_all=True) == ["a", "b"]


async def test_a_list_fails_where_all_namespaces_refuse() -> None:
    async with serving("a", "b", refusing={"a", "b"}) as client:
        with pytest.raises(KubeRefused, match="forbidden in a"):
            await list_names(client)


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_token_that_is_refused_is_read_anew_and_one_that_is_just_being_written_is_waited_for(
    failures: int,
) -> None:
    readings = iter([ConfigError("no way to log in to Kubernetes: half a file")] * failures)

    async def reload() -> Configuration:
        for error in readings:
            raise error
        return Configuration(api_key={"BearerToken": "Bearer new"})

    async with serving("a", token="Bearer new", reload=reload) as client:
        for _ in range(1 + failures):
            with pytest.raises(KubeUnavailable, match="Unauthorized"):
                await list_names(client)
        assert await list_names(client) == ["a"]


async def test_the_crd_is_looked_for_in_the_first_namespace_that_does_not_refuse() -> None:
    async with serving("a", "b", refusing={"a"}) as client:
        assert await client.is_served()
    async with serving("a", "b", refusing={"a"}, installed=False) as client:
        assert not await client.is_served()
    async with serving("a", "b", refusing={"a", "b"}) as client:
        with pytest.raises(KubeRefused, match="forbidden in a"):
            await client.is_served()
