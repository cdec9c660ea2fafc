"""Probes, metrics and status on the admin port."""

import pytest

from tests.support.eventually import eventually
from tests.support.http import serving

pytestmark = pytest.mark.asyncio


async def test_the_admin_port_answers_probes_metrics_and_status() -> None:
    async with serving() as service:
        admin = await service.connect(port=service.admin.port)
        assert (await admin.ask("GET", "/livez")).body == b"ok\n"
        assert (await admin.ask("GET", "/readyz?verbose")).body == b"ok\n"
        metrics = await admin.ask("GET", "/metrics")
        assert metrics.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        assert metrics.body.startswith(b"# TYPE")
        status = await admin.ask("GET", "/status")
        assert (status.json["ready"], status.json["reason"]) == (True, "Serving")
        assert (await admin.ask("HEAD", "/status")).status == 200
        assert (await admin.ask("GET", "/v1/kv/a")).problem == "no-such-path"
        assert (await admin.ask("GET", "/livez#x")).problem == "bad-request"
        assert (await admin.ask("POST", "/livez")).header("allow") == "GET, HEAD"
        assert (await admin.ask("POST", "/livez", body=b"1")).problem == "value-too-large"


async def test_probes_tell_the_standing_of_a_replica_that_is_not_ready() -> None:
    async with serving() as service:
        admin = await service.connect(port=service.admin.port)
        service.broker.recreate()
        await eventually(lambda: not service.replica.standing.ready)
        reply = await admin.ask("GET", "/readyz")
        assert (reply.status, reply.body.split(b":")[0]) == (503, b"LogReplaced")
        assert (await admin.ask("GET", "/livez")).status == 200
