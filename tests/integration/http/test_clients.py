"""Clients that others wrote get along with the server."""

import asyncio
import http.client
import subprocess
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.http import LOOPBACK, Service, serving_in_a_thread


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving_in_a_thread() as running:
        yield running


def test_the_standard_librarys_client(service: Service) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, service.server.port, timeout=10)
    connection.request("PUT", "/v1/kv/stdlib", body=b"x" * 100_000)
    put = connection.getresponse()
    assert (put.status, put.read()) == (204, b"")
    token = str(put.getheader("SLKV-Token"))
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/v1/kv/stdlib", headers={"SLKV-Token": token})
        get = connection.getresponse()
        assert get.status == 200
        assert get.read() == (b"" if method == "HEAD" else b"x" * 100_000)
    connection.request("PUT", "/v1/kv/chunks", body=iter([b"a", b"b" * 5000, b"c"]), encode_chunked=True)
    assert connection.getresponse().read() == b""
    connection.request("GET", "/v1/kv/chunks?consistency=linearizable")
    assert connection.getresponse().read() == b"a" + b"b" * 5000 + b"c"
    connection.close()


def test_aiohttp_with_many_requests_at_once(service: Service) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(f"http://{LOOPBACK}:{service.server.port}") as session:

            async def write_and_read(number: int) -> None:
                url = f"/v1/kv/aiohttp/{number}"
                async with session.put(url, data=b"%d" % number) as put:
                    assert put.status == 204
                    token = put.headers["SLKV-Token"]
                async with session.get(url, headers={"SLKV-Token": token}) as get:
                    assert await get.read() == b"%d" % number
                async with session.delete(url) as deleted:
                    assert deleted.status == 204

            await asyncio.gather(*(write_and_read(number) for number in range(200)))

    asyncio.run(run())


@pytest.mark.parametrize("options", [[], ["--http2"], ["--http1.0"], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_with_a_large_value(service: Service, options: list[str]) -> None:
    url = f"http://{LOOPBACK}:{service.server.port}/v1/kv/curl"
    value = bytes(range(256)) * 4096
    if options == ["--http1.0"]:
        value = value[:1000]
    put = ["curl", "-sS", "--fail-with-body", *options, "-X", "PUT", "--data-binary", "@-", url]
    subprocess.run(put, input=value, check=True, timeout=20)
    get = ["curl", "-sS", "--fail", *options[:1], url + "?consistency=linearizable"]
    if options[:1] == ["-H"]:
        get = ["curl", "-sS", "--fail", url + "?consistency=linearizable"]
    assert subprocess.run(get, stdout=subprocess.PIPE, check=True, timeout=20).stdout == value
