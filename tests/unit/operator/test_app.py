"""How the whole operator ends, and when its probes want it to."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from kubernetes.aio.client import Configuration

from sharedlogkv_operator.app import Operator
from sharedlogkv_operator.autoscaling_loop import AutoscalingLoop
from sharedlogkv_operator.config import Config
from sharedlogkv_operator.controller import Controller
from sharedlogkv_operator.http_server import HttpServer


@pytest.mark.asyncio
async def test_workers_that_a_bug_has_ended_end_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    async def meet_a_bug(_: Controller) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Controller, "run", meet_a_bug)  # no input is known to do it
    config = Config(replica_image="image:1", http_host="127.0.0.1", http_port=0)
    operator = Operator(config, Configuration(host="http://127.0.0.1:1"))  # nobody listens there
    try:
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(30):
                await operator.run(asyncio.Event(), on_listening=lambda port: None)
    finally:
        await operator.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("lease", "expected"),
    [
        (None, (503, "the scaling has not looked at any replicas for 1000 s\n")),
        (("ops", "operator"), (200, "ok\n")),
    ],
    ids=["one that works", "one that waits for its Lease"],
)
async def test_the_scaling_must_tick_where_the_operator_works_and_not_where_it_can_t_even_read_its_lease(
    monkeypatch: pytest.MonkeyPatch, lease: tuple[str, str] | None, expected: tuple[int, str]
) -> None:
    monkeypatch.setattr(AutoscalingLoop, "tick_age_seconds", 1000.0)  # which is long to wait for
    config = Config(replica_image="image:1", http_host="127.0.0.1", http_port=0, lease=lease)
    operator = Operator(config, Configuration(host="http://127.0.0.1:1"))  # nobody listens there
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(operator.run(stop, on_listening=listening.set_result))
    try:
        url = f"http://127.0.0.1:{await listening}/healthz"
        async with asyncio.timeout(30), aiohttp.ClientSession() as session, session.get(url) as response:
            assert (response.status, await response.text()) == expected
        stop.set()
        await running
    finally:
        await operator.close()


@pytest.mark.asyncio
async def test_the_liveness_probe_fails_with_the_reason_while_the_operator_is_stuck() -> None:
    stalls: Iterator[str | None] = iter([None, "a reconcile has run for 121 s", None])
    server = HttpServer(
        find_stall=lambda: next(stalls), find_unreadiness=lambda: "not watching yet", render_metrics=lambda: b""
    )
    port = await server.start("127.0.0.1", 0)
    answers = []
    async with aiohttp.ClientSession() as session:
        for path in ("/healthz", "/healthz", "/healthz", "/readyz"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                answers.append((response.status, await response.text()))
    await server.close()
    assert answers == [
        (200, "ok\n"),
        (503, "a reconcile has run for 121 s\n"),
        (200, "ok\n"),
        (503, "not watching yet\n"),
    ]
