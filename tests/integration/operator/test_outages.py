"""The operator without what it stands on: its Lease, the API server, a watch that says nothing, a token."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import yaml

from tests.support.cluster import Cluster
from tests.support.commands import run
from tests.support.environment import Environment
from tests.support.kubernetes import KubeApi, build_store, condition, until
from tests.support.operator_process import Running, running
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

Manifest = dict[str, Any]
Told = Callable[[], Awaitable[bool]]

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
NOWHERE = "127.0.0.1:1"


class Stores:
    """Stores without a Kafka: that their status is written shows that an operator looks after them."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    async def create(self, name: str) -> None:
        await self.api.create("SharedLogKV", build_store(self.namespace, name, servers=NOWHERE))

    async def is_told(self, name: str) -> bool:
        """Whether an operator has told of the trouble with it."""
        body = await self.api.get("SharedLogKV", self.namespace, name)
        return condition(body, "Ready").get("reason") == "KafkaUnavailable"

    async def until_told(self, name: str, *, timeout_seconds: float = 20) -> None:
        await until(lambda: self.is_told(name), what=f"a word about {name}", timeout_seconds=timeout_seconds)


@pytest.fixture
def stores(cluster: Cluster, api: KubeApi, namespace: str) -> Stores:
    """Those of the test's namespace; there are none yet."""
    return Stores(api, namespace)


@pytest_asyncio.fixture
async def pair(environment: Environment, namespace: str) -> AsyncIterator[tuple[Running, Running]]:
    """Two operators of one Lease: the one that works, and the one that stands by."""
    options = {"namespaces": namespace, "lease": f"{namespace}/operator"}
    async with running(environment.kubeconfig, **options) as leader:
        await until(lambda: leads(leader), what="a leader")
        async with running(environment.kubeconfig, **options) as other:
            await until(other.is_ready, what="one that stands by")
            yield leader, other


async def leads(operator: Running) -> bool:
    return "slkv_operator_leader 1.0" in (await operator.get("/metrics"))[1] and await operator.is_ready()


async def test_of_two_operators_one_works_and_the_other_is_ready_to(
    pair: tuple[Running, Running], stores: Stores, api: KubeApi
) -> None:
    leader, other = pair
    await stores.create("one")
    await stores.until_told("one")
    assert not await leads(other)
    assert "slkv_operator_reconcile_errors_total 0.0" in (await other.get("/metrics"))[1]
    lease = await api.call("GET", f"{LEASES.format(namespace=stores.namespace)}/operator")
    assert lease["spec"]["leaseTransitions"] == 0
    holder = next(line["identity"] for line in leader.lines if line["message"] == "leading")
    assert lease["spec"]["holderIdentity"] == holder


async def test_a_stopped_operator_hands_over_at_once(pair: tuple[Running, Running], stores: Stores) -> None:
    leader, other = pair
    assert await leader.stop() == 0
    await until(lambda: leads(other), what="a new leader", timeout_seconds=8)
    await stores.create("one")
    await stores.until_told("one")


async def test_a_killed_operator_is_followed_when_its_lease_lapses(
    pair: tuple[Running, Running], stores: Stores
) -> None:
    leader, other = pair
    assert await leader.stop(signal.SIGKILL) == -signal.SIGKILL
    await until(lambda: leads(other), what="a new leader", timeout_seconds=30)
    await stores.create("one")
    await stores.until_told("one")


async def test_an_operator_that_was_frozen_for_longer_than_its_lease_ends(pair: tuple[Running, Running]) -> None:
    leader, other = pair
    leader.process.send_signal(signal.SIGSTOP)
    await until(lambda: leads(other), what="a new leader", timeout_seconds=30)
    assert await leader.stop(signal.SIGCONT) == 1
    assert any("Lease" in str(line) for line in leader.lines if line["level"] == "error")
    assert await leads(other)


@pytest_asyncio.fixture
async def proxied(environment: Environment, tmp_path: Path) -> AsyncIterator[tuple[Path, TcpProxy]]:
    """A kubeconfig by which everything passes a proxy, and that proxy."""
    config = yaml.safe_load(await asyncio.to_thread(Path(environment.kubeconfig).read_text))
    server = config["clusters"][0]["cluster"]
    where = urlsplit(server["server"])
    async with tcp_proxy() as proxy:
        port = await proxy.port_to(str(where.hostname), int(where.port or 443))
        server["server"] = f"https://127.0.0.1:{port}"
        file = tmp_path / "proxied"
        file.write_text(yaml.safe_dump(config))
        yield file, proxy


async def test_a_watch_that_went_silent_is_begun_anew_within_90_seconds(
    proxied: tuple[Path, TcpProxy], stores: Stores
) -> None:
    kubeconfig, proxy = proxied
    async with running(kubeconfig, namespaces=stores.namespace) as operator:
        await until(operator.is_ready, what="a ready operator")
        await stores.create("before")
        await stores.until_told("before")
        proxy.freeze()
        await stores.create("after")
        await stores.until_told("after", timeout_seconds=90)
        assert (await operator.get("/healthz"))[0] == 200


@pytest.mark.faults
async def test_an_outage_of_the_api_server_is_survived_and_what_was_changed_meanwhile_is_seen(
    environment: Environment, stores: Stores
) -> None:
    assert environment.testbed, "this stops the API server: deselect it on a cluster of yours by -m 'not faults'"
    async with running(environment.kubeconfig, namespaces=stores.namespace, resync_seconds=5) as operator:
        await until(operator.is_ready, what="a ready operator")
        await stores.create("before")
        await stores.until_told("before")
        await asyncio.to_thread(run, environment.testbed, "fault", "apiserver-stop", timeout_seconds=60)

        async def has_noticed() -> bool:
            return any("gave no answer" in str(line.get("error")) for line in operator.lines)

        try:
            await until(has_noticed, what="a word about the outage", timeout_seconds=60)
            assert (await operator.get("/healthz"))[0] == 200, "a restart would cure no outage"
        finally:
            await asyncio.to_thread(run, environment.testbed, "fault", "apiserver-start", timeout_seconds=90)
        await stores.create("after")
        await stores.until_told("after", timeout_seconds=60)
        assert operator.process.returncode is None


async def test_a_token_that_is_refused_is_replaced_by_the_one_that_the_configuration_now_has(
    environment: Environment, api: KubeApi, stores: Stores, cluster: Cluster, tmp_path: Path
) -> None:
    namespace = stores.namespace
    cluster.kubectl("create", "serviceaccount", "operator", namespace=namespace)
    role = ("--clusterrole=cluster-admin", f"--serviceaccount={namespace}:operator")
    cluster.kubectl("create", "rolebinding", "operator", *role, namespace=namespace)
    admin = yaml.safe_load(await asyncio.to_thread(Path(environment.kubeconfig).read_text))
    file = tmp_path / "kubeconfig"

    async def write_token(bound_to: str) -> None:
        """A token that ends with that Secret."""
        cluster.kubectl("create", "secret", "generic", bound_to, namespace=namespace)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/operator/token"
        spec = {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": bound_to}}
        token = (await api.call("POST", path, body={"spec": spec}))["status"]["token"]
        user = {"name": admin["contexts"][0]["context"]["user"], "user": {"token": token}}
        file.write_text(json.dumps({**admin, "users": [user]}))

    await write_token("first")
    async with running(file, namespaces=namespace, resync_seconds=1) as operator:
        await until(operator.is_ready, what="a ready operator")
        await stores.create("before")
        await stores.until_told("before")
        cluster.kubectl("delete", "secret", "first", namespace=namespace)

        async def is_refused() -> bool:
            return 'status="401"' in (await operator.get("/metrics"))[1]

        await until(is_refused, what="a refused token", timeout_seconds=60)
        await write_token("second")
        await stores.create("after")
        await stores.until_told("after", timeout_seconds=60)
        assert operator.process.returncode is None
