"""Replicas and strangers on real sockets, with secrets in files."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import RequestId, Write, Written
from sharedlogkv_replica.engine.forward import Forwarder
from sharedlogkv_replica.engine.peer_handshake import Identifier
from sharedlogkv_replica.engine.peer_link import PeerDialer
from sharedlogkv_replica.engine.peer_wire import encode_frame, frame_limit_bytes
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerCounters, PeerLimits, Report
from sharedlogkv_replica.errors import NoLeader, OutcomeUnknown, PeerFault
from sharedlogkv_replica.server.peer_server import PeerServer
from tests.support.eventually import eventually
from tests.support.peers import LOG, SECRET, VALUE_LIMIT_BYTES, ScriptedLeader, led_by

pytestmark = pytest.mark.asyncio

QUICK = PeerLimits(handshake_seconds=0.2, tick_seconds=0.05, silent_ticks=10, last_backoff_seconds=0.1)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """The secret that all replicas share."""
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    return file


class Leader:
    """A replica that leads, on a port of this machine."""

    def __init__(self, secret_file: Path, *, limits: PeerLimits = QUICK) -> None:
        self.service = ScriptedLeader()
        self._secret_file = secret_file
        self._limits = limits
        self.server: PeerServer
        self.port = 0

    async def start(self) -> None:
        """Listens; at the same port when it did before."""
        self.server = PeerServer(
            self.service,
            identify=Identifier("leader", lambda: LOG, self._secret_file),
            frame_limit_bytes=frame_limit_bytes(VALUE_LIMIT_BYTES),
            limits=self._limits,
            counters=PeerCounters(),
        )
        await self.server.listen("127.0.0.1", self.port)
        self.port = self.server.port

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def failures(self) -> dict[PeerFault, int]:
        """Whom it refused."""
        return dict(self.server.counters.failures)


@asynccontextmanager
async def leading(secret_file: Path, *, limits: PeerLimits = QUICK) -> AsyncIterator[Leader]:
    leader = Leader(secret_file, limits=limits)
    await leader.start()
    try:
        yield leader
    finally:
        await leader.server.stop(timeout_seconds=0)


@asynccontextmanager
async def follower(secret_file: Path, *, timeout_seconds: float = 10, log_id: str = LOG) -> AsyncIterator[Forwarder]:
    dialer = PeerDialer(
        Identifier("follower", lambda: log_id, secret_file), lambda: Report(Position(7), fit=True), limits=QUICK
    )
    forwarder = Forwarder(ScriptedLeader(), ForwardLimits(timeout_seconds), dialer=dialer)
    try:
        yield forwarder
    finally:
        await forwarder.close()


def put(n: int, *, size: int = 10) -> Write:
    return Write(b"key-%d" % n, bytes(size), request=RequestId(f"id-{n}", "print"))


async def ended(reader: asyncio.StreamReader) -> None:
    """Returns once the other end has closed or reset the connection."""
    try:
        async with asyncio.timeout(10):
            while await reader.read(1 << 16):
                pass
    except ConnectionError:
        pass


async def test_a_thousand_clients_at_each_of_two_followers_write_at_once(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as one, follower(secret_file) as two:
        for forwarder in (one, two):
            forwarder.lead_by(led_by(leader.address))
        writes = [forwarder.write(put(n)) for n, forwarder in enumerate([one, two] * 1_000)]
        results = await asyncio.gather(*writes)
        assert sorted(result.offset for result in results if isinstance(result, Written)) == list(range(2_000))
        assert leader.server.counters.connections == 2


async def test_large_values_pass_both_ways_of_pressure(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file, timeout_seconds=30) as forwarder:
        forwarder.lead_by(led_by(leader.address))
        results = await asyncio.gather(*(forwarder.write(put(n, size=1 << 20)) for n in range(60)))
        assert len({result.offset for result in results if isinstance(result, Written)}) == 60
        assert {len(write.value or b"") for write in leader.service.taken} == {1 << 20}


async def test_a_leader_that_comes_back_at_its_address_gets_what_waited(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as forwarder:
        forwarder.lead_by(led_by(leader.address))
        assert await forwarder.write(put(0)) == Written(Offset(0))
        await leader.server.stop(timeout_seconds=0)
        write = forwarder.write(put(1))
        await asyncio.sleep(0)
        await leader.start()
        assert await write == Written(Offset(1))


async def test_a_connection_that_is_lost_under_way_costs_a_write_without_an_id_its_outcome(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as forwarder:
        leader.service.keeps = True
        forwarder.lead_by(led_by(leader.address))
        with_id, without = forwarder.write(put(0)), forwarder.write(Write(b"k", b"v"))
        await eventually(lambda: len(leader.service.kept) == 2)
        await leader.server.stop(timeout_seconds=0)
        leader.service.release()
        leader.service.keeps = False
        await leader.start()
        with pytest.raises(OutcomeUnknown):
            await without
        assert await with_id == Written(Offset(0), repeated=True)


async def test_a_new_secret_is_taken_up_without_a_restart(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as forwarder:
        forwarder.lead_by(led_by(leader.address))
        await forwarder.write(put(0))
        await asyncio.to_thread(secret_file.write_bytes, b"the next secret, as good as the last one")
        await forwarder.write(put(1))
        async with follower(secret_file) as late:
            late.lead_by(led_by(leader.address))
            assert await late.write(put(2)) == Written(Offset(2))
        assert leader.failures == {}


async def test_a_follower_with_another_secret_writes_nothing_and_stands_in_nobody_s_way(
    secret_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"another secret, as good as the first one")
    async with (
        leading(secret_file) as leader,
        follower(other, timeout_seconds=0.5) as impostor,
        follower(secret_file) as honest,
    ):
        for forwarder in (impostor, honest):
            forwarder.lead_by(led_by(leader.address))
        refused = impostor.write(put(0))
        assert await honest.write(put(1)) == Written(Offset(0))
        with pytest.raises(NoLeader):
            await refused
        assert leader.service.taken == [put(1)]


async def test_a_follower_of_another_log_is_refused_and_counted(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file, timeout_seconds=0.3, log_id="other") as lost:
        lost.lead_by(led_by(leader.address))
        with pytest.raises(NoLeader):
            await lost.write(put(0))
        assert set(leader.failures) == {PeerFault.LOG}
        assert leader.service.taken == []


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PeerFault.OVERSIZE),
        (bytes(64), PeerFault.MALFORMED),
        (encode_frame(bytes(1 << 20)), PeerFault.OVERSIZE),
        (b"", PeerFault.SILENT),
    ],
    ids=["http", "zeros", "a large frame", "nothing"],
)
async def test_a_stranger_is_shown_out(secret_file: Path, said: bytes, fault: PeerFault) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as forwarder:
        forwarder.lead_by(led_by(leader.address))
        await forwarder.write(put(0))
        reader, writer = await asyncio.open_connection("127.0.0.1", leader.port)
        writer.write(said)
        await ended(reader)
        writer.close()
        assert leader.failures == {fault: 1}
        assert await forwarder.write(put(1)) == Written(Offset(1))


async def test_what_was_recorded_of_a_connection_opens_no_other(secret_file: Path) -> None:
    recorded = bytearray()

    async def record(from_follower: asyncio.StreamReader, to_follower: asyncio.StreamWriter) -> None:
        """Stands in between, and passes everything on."""
        from_leader, to_leader = await asyncio.open_connection("127.0.0.1", leader.port)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, copy: bytearray) -> None:
            while data := await source.read(1 << 16):
                copy += data
                sink.write(data)
            sink.close()

        async with asyncio.TaskGroup() as both:
            both.create_task(pass_on(from_follower, to_leader, recorded))
            both.create_task(pass_on(from_leader, to_follower, bytearray()))

    async with (
        leading(secret_file) as leader,
        await asyncio.start_server(record, "127.0.0.1", 0) as between,
        follower(secret_file) as forwarder,
    ):
        forwarder.lead_by(led_by(f"127.0.0.1:{between.sockets[0].getsockname()[1]}"))
        assert await forwarder.write(put(0)) == Written(Offset(0))
        reader, writer = await asyncio.open_connection("127.0.0.1", leader.port)
        writer.write(recorded)
        await ended(reader)
        writer.close()
        assert leader.failures == {PeerFault.SECRET: 1}
        assert leader.service.taken == [put(0)]


async def test_a_peer_that_hangs_is_cut_and_the_others_go_on(secret_file: Path) -> None:
    async with leading(secret_file) as leader, follower(secret_file) as forwarder:
        forwarder.lead_by(led_by(leader.address))
        await forwarder.write(put(0))
        silent = socket.create_connection(("127.0.0.1", leader.port))
        try:
            await eventually(lambda: leader.failures.get(PeerFault.SILENT) == 1)
        finally:
            silent.close()
        assert await forwarder.write(put(1)) == Written(Offset(1))


async def test_a_leader_that_answers_nothing_is_left_for_the_next_one(secret_file: Path) -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await ended(reader)
        writer.close()

    async with (
        await asyncio.start_server(hang, "127.0.0.1", 0) as hung,
        leading(secret_file) as leader,
        follower(secret_file) as forwarder,
    ):
        forwarder.lead_by(led_by(f"127.0.0.1:{hung.sockets[0].getsockname()[1]}"))
        write = forwarder.write(put(0))
        await eventually(lambda: len(accepted) >= 2)
        forwarder.lead_by(led_by(leader.address, term=2))
        assert await write == Written(Offset(0))


async def test_a_leader_that_stops_asks_its_followers_to_go_and_loses_none_of_their_writes(secret_file: Path) -> None:
    async with leading(secret_file) as old, leading(secret_file) as new, follower(secret_file) as forwarder:
        forwarder.lead_by(led_by(old.address))
        old.service.keeps = True
        writes = [forwarder.write(Write(b"key-%d" % n, b"v")) for n in range(100)]
        await eventually(lambda: len(old.service.kept) == 100)
        stopping = asyncio.create_task(old.server.stop(timeout_seconds=10))
        late = forwarder.write(Write(b"late", b"v"))
        await asyncio.sleep(0)
        old.service.release()
        await asyncio.gather(*writes)
        await stopping
        last = forwarder.write(Write(b"last", b"v"))
        await asyncio.sleep(0)
        assert not last.done()
        forwarder.lead_by(led_by(new.address, term=2))
        assert isinstance(await late, Written)
        assert isinstance(await last, Written)
        taken = [write.key for service in (old.service, new.service) for write in service.taken]
        assert taken.count(b"late") == 1, "by the old one if it left before the goodbye was read, else by the new"
        assert [write.key for write in new.service.taken][-1] == b"last"
