"""How the whole operator ends."""

import asyncio

import pytest
from kubernetes.aio.client import Configuration

from sharedlogkv_operator.app import Operator
from sharedlogkv_operator.config import Config
from sharedlogkv_operator.controller import Controller


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
