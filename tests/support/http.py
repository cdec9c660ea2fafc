"""A replica that serves HTTP on loopback, and a client that speaks it byte by byte.

The client shares no code with the server: what it takes for an answer is decided by RFC 9112 alone.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import orjson
import uvloop

from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.engine.leader_mode import LeaderSettings
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.memory import Fault, MemoryBroker, MemoryLog
from sharedlogkv_replica.server.admin import AdminHandler
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_messages import Handler
from sharedlogkv_replica.server.http_server import HttpServer
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.reads import ReadPolicy
from sharedlogkv_replica.server.routes import DataHandler
from tests.support.eventually import eventually

LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Reply:
    """One answer as the client read it.

    Attributes:
        status: the status code.
        headers: the fields by lower-case name, in order.
        body: the content.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the one field `name`; None if there is none."""
        values = [value for field_name, value in self.headers if field_name == name.lower()]
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else None

    @property
    def problem(self) -> str:
        """The slug of the problem that this answer reports."""
        assert self.header("content-type") == "application/problem+json", self
        document = orjson.loads(self.body)
        assert set(document) == {"type", "title", "status", "detail"}
        assert document["status"] == self.status
        prefix, _, slug = document["type"].rpartition("/")
        assert prefix == "https://sharedlog.dev/problems"
        return str(slug)

    @property
    def json(self) -> dict[str, object]:
        """The content, parsed."""
        document = orjson.loads(self.body)
        assert isinstance(document, dict)
        return document


async def read_reply(reader: asyncio.StreamReader, *, method: str = "GET") -> Reply:
    """Reads one final answer to a request with `method`.

    Raises:
        asyncio.IncompleteReadError: the connection ended first.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head[:-4].split("\r\n")
    version, status_text, _ = status_line.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    reply = Reply(int(status_text), headers, b"")
    length = reply.header("content-length")
    if reply.status in (204, 304) or reply.status < 200:
        assert length is None
    elif method != "HEAD":
        assert length is not None, "an answer that is not delimited"
        reply.body = await reader.readexactly(int(length))
    return reply


@dataclass(slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Writes raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, method: str = "GET") -> Reply:
        """Reads the next final answer."""
        return await asyncio.wait_for(read_reply(self.reader, method=method), 10)

    async def ask(self, method: str, target: str, *, body: bytes | None = None, **headers: str) -> Reply:
        """Sends one request and reads its answer; a header `Some-Name` is given as `some_name`."""
        await self.send(request(method, target, body=body, **headers))
        return await self.reply(method=method)

    async def ended(self) -> bytes:
        """What comes until the server ends the connection."""
        return await asyncio.wait_for(self.reader.read(), 10)

    def cut(self) -> None:
        """Cuts the connection with a reset, as a client does that crashes or gives up on unread bytes."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Closes the connection."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def request(method: str, target: str, *, body: bytes | None = None, **headers: str) -> bytes:
    """The bytes of one request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@dataclass(slots=True)
class Service:
    """A replica that follows a log in memory and serves it.

    Attributes:
        broker: the log; may be given records and faults.
        replica: what is served.
        server: the data port's server.
        admin: the admin port's server.
        work: the replica's own task.
    """

    broker: MemoryBroker
    replica: Replica
    server: HttpServer
    admin: HttpServer
    work: "asyncio.Task[None]"
    clients: list[Client] = field(default_factory=list)

    @property
    def counters(self) -> HttpCounters:
        """The data port's counters."""
        return self.server.counters

    @property
    def log_id(self) -> str:
        """The id of the log."""
        assert self.broker.log_id is not None
        return self.broker.log_id

    async def connect(self, *, port: int | None = None, read_limit_bytes: int = 1 << 16) -> Client:
        """A new connection to the data port, or to `port`."""
        reader, writer = await asyncio.open_connection(LOOPBACK, port or self.server.port, limit=read_limit_bytes)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def ask(self, method: str, target: str, *, body: bytes | None = None, **headers: str) -> Reply:
        """One request over a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(method, target, body=body, **headers)
        finally:
            await client.close()

    async def put(self, key: str, value: bytes) -> None:
        """Writes behind the replica's back, and returns once the replica has applied it."""
        offset = self.broker.append([Entry(key.encode(), value)])
        await eventually(lambda: self.replica.position > offset)

    async def await_read_waits(self, count: int) -> None:
        """Returns once so many reads have had to wait since the start."""
        await eventually(lambda: self.counters.read_waits == count)

    def next_token(self, *, ahead: int = 0) -> str:
        """The token of the record that will be written next, or `ahead` records after that."""
        return f"{self.log_id}:0:{self.broker.end + ahead}"


@contextlib.asynccontextmanager
async def serving(
    *,
    limits: Limits | None = None,
    write_mode: WriteMode = WriteMode.LEADERLESS,
    default_level: Level = Level.EVENTUAL,
    default_max_lag_ms: int = 1000,
    read_timeout_seconds: float = 5.0,
    write_timeout_seconds: float = 5.0,
    value_limit_bytes: int = 1 << 20,
    handler: Handler | None = None,
    secret: bytes | None = None,
    ready: bool = True,
) -> AsyncIterator[Service]:
    """A service on free ports of loopback.

    Args:
        limits: of the data port.
        write_mode: of the replica; with `Leader` it leads, being alone.
        default_level: of a read that names none.
        default_max_lag_ms: of a bounded read that names none.
        read_timeout_seconds: the longest wait of a read.
        write_timeout_seconds: the longest wait of a write.
        value_limit_bytes: the largest value.
        handler: serve this on the data port instead of the replica.
        secret: the one that the replicas share.
        ready: the log can be reached, and the replica is ready; False: neither.
    """
    broker = MemoryBroker(batch_limit_bytes=2 << 20)
    if not ready:
        broker.fault = Fault.UNREACHABLE
    log = MemoryLog(broker)
    election = LeaderSettings(
        "test-0", address="", lease_seconds=60.0, jitter=0.0, write_timeout_seconds=write_timeout_seconds
    )
    replica = Replica(
        log,
        name=election.name,
        write_mode=write_mode,
        write_timeout_seconds=write_timeout_seconds,
        value_limit_bytes=value_limit_bytes,
        leader=election if write_mode is WriteMode.LEADER else None,
    )
    clock, counters = CoarseClock(), HttpCounters()
    policy = ReadPolicy(read_timeout_seconds, default_level, default_max_lag_ms)
    data = DataHandler(replica, counters=counters, clock=clock, policy=policy)
    server = HttpServer(handler or data, limits=limits or Limits(), clock=clock, counters=counters)
    metrics = b"# TYPE slkv_replica_up gauge\nslkv_replica_up 1.0\n"
    admin_handler = AdminHandler(replica, metrics=lambda: metrics, secret=lambda: secret)
    admin = HttpServer(admin_handler, limits=Limits(), clock=CoarseClock(), counters=HttpCounters())
    await server.listen(LOOPBACK, 0)
    await admin.listen(LOOPBACK, 0)
    service = Service(broker, replica, server, admin, asyncio.create_task(replica.run()))
    try:
        if ready:
            await eventually(lambda: replica.standing.ready)
        if write_mode is WriteMode.LEADER:
            await eventually(lambda: replica.lease_index() is not None)
        yield service
    finally:
        for client in service.clients:
            await client.close()
        await server.stop(timeout_seconds=1)
        await admin.stop(timeout_seconds=1)
        service.work.cancel()
        await asyncio.wait([service.work])


@contextlib.contextmanager
def serving_in_a_thread(
    *, write_mode: WriteMode = WriteMode.LEADERLESS, read_timeout_seconds: float = 5.0
) -> Iterator[Service]:
    """A service for clients that block: it runs on a loop of its own in another thread."""
    up = threading.Event()
    services: list[Service] = []
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        end = asyncio.Event()
        async with serving(write_mode=write_mode, read_timeout_seconds=read_timeout_seconds) as service:
            services.append(service)
            ends.append((asyncio.get_running_loop(), end))
            up.set()
            await end.wait()

    thread = threading.Thread(target=uvloop.run, args=(run(),), name="service")
    thread.start()
    try:
        assert up.wait(10), "the service did not start"
        yield services[0]
    finally:
        for loop, end in ends:
            loop.call_soon_threadsafe(end.set)
        thread.join(10)
