"""However the bytes of requests are cut into pieces, the answers are the same, and in order."""

import asyncio
import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_connection import HttpConnection
from sharedlogkv_replica.server.http_server import HttpServer
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.reads import ReadPolicy
from sharedlogkv_replica.server.routes import DataHandler
from tests.support.eventually import eventually
from tests.support.http import request
from tests.support.transport import RecordingTransport

CHUNKED = b"PUT /v1/kv/chunked HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n"

REQUESTS = st.one_of(
    st.sampled_from(
        [
            request("GET", "/v1/kv/present"),
            request("GET", "/v1/kv/present", user_agent="test", accept="*/*"),
            request("GET", "/v1/kv/present", connection="keep-alive"),
            request("HEAD", "/v1/kv/present"),
            request("GET", "/v1/kv/missing"),
            request("GET", "/v1/kv/%70resent"),
            request("GET", "/v1/kv/present?consistency=eventual"),
            request("GET", "/v1/kv/present", if_none_match='"0"'),
            request("GET", "/v1/kv?prefix=present"),
            request("GET", "/v1/kv/present", upgrade="h2c", connection="upgrade"),
            request("PUT", "/v1/kv/up", body=b"graded", upgrade="h2c", connection="upgrade"),
            request("DELETE", "/v1/kv/other"),
            request("POST", "/v1/kv/present"),
            request("GET", "/nowhere"),
            b"\r\n" + request("GET", "/v1/kv/present"),
            b"GET /v1/kv/present HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ]
    ),
    st.binary(max_size=300).map(lambda body: request("PUT", "/v1/kv/written", body=body)),
    st.builds(  # of several keys, which are carried out together
        lambda n, body: request("PUT", f"/v1/kv/written-{n}", body=body), st.integers(0, 3), st.binary(max_size=30)
    ),
    st.lists(st.binary(min_size=1, max_size=40), max_size=5).map(
        lambda chunks: CHUNKED % b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    ),
)
UNANSWERED = (b"", b"GET /v1/kv/pre")
LAST = st.sampled_from([*UNANSWERED, request("GET", "/v1/kv/present", connection="close"), b"NONSENSE\r\n\r\n"])


def comparable(output: bytes) -> bytes:
    """`output` without what tells the time: dates, and how far the map was."""
    output = re.sub(rb"Date: [^\r]*\r\n", b"", output)
    return re.sub(rb"SLKV-Token: [^\r]*\r\n", b"", output)


async def answers(pieces: list[bytes], *, expected: int, settle: bool) -> tuple[bytes, bool]:
    """What the pieces are answered, `expected` times, and whether the connection ends; `settle`: with pauses."""
    broker = MemoryBroker()
    broker.append([Entry(b"present", b"value")])
    replica = Replica(
        MemoryLog(broker), name="t", write_mode=WriteMode.LEADERLESS, write_timeout_seconds=5, value_limit_bytes=1 << 20
    )
    work = asyncio.create_task(replica.run())
    try:
        await eventually(lambda: replica.standing.ready)
        clock, counters = CoarseClock(), HttpCounters()
        handler = DataHandler(replica, counters=counters, clock=clock, policy=ReadPolicy(timeout_seconds=5))
        server = HttpServer(handler, limits=Limits(pipelined_requests=3), clock=clock, counters=counters)
        connection = HttpConnection(server)
        transport = RecordingTransport(connection)
        for piece in pieces:
            await eventually(transport.is_reading)
            if transport.ended:
                break
            connection.data_received(piece)
            if settle:
                await asyncio.sleep(0)
        await eventually(lambda: transport.output.count(b"HTTP/1.1 ") >= expected)
        return comparable(transport.output), transport.ended
    finally:
        work.cancel()
        await asyncio.wait([work])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces."""
    borders = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


@settings(max_examples=80)
@given(
    requests=st.lists(REQUESTS, min_size=1, max_size=12),
    last=LAST,
    places=st.lists(st.integers(0, 10_000), max_size=12),
    settle=st.booleans(),
)
def test_pieces_do_not_matter(requests: list[bytes], last: bytes, places: list[int], settle: bool) -> None:
    data = b"".join(requests) + last
    answered_last = last not in UNANSWERED
    expected = len(requests) + answered_last
    one_by_one, ended = asyncio.run(answers([*requests, last], expected=expected, settle=True))
    assert (one_by_one.count(b"HTTP/1.1 "), ended) == (expected, answered_last)
    assert asyncio.run(answers(cut(data, places), expected=expected, settle=settle)) == (one_by_one, ended)


@settings(max_examples=25)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=3), last=LAST)
def test_single_bytes_do_not_matter(requests: list[bytes], last: bytes) -> None:
    data = b"".join(requests) + last
    expected = len(requests) + (last not in UNANSWERED)
    whole = asyncio.run(answers([data], expected=expected, settle=True))
    single = [data[index : index + 1] for index in range(len(data))]
    assert asyncio.run(answers(single, expected=expected, settle=False)) == whole
