"""The answering end: whom it believes, what it refuses, and that a bad connection harms no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.core.writes import Write
from sharedlogkv_replica.engine.peer_handshake import NONCE_BYTES, AskingHandshake, Hello, PeerIdentity
from sharedlogkv_replica.engine.peer_wire import (
    Answer,
    ErrorAnswer,
    FrameSplitter,
    Goodbye,
    IndexAnswer,
    IndexQuestion,
    Question,
    ReportAnswer,
    ReportQuestion,
    WrittenAnswer,
    decode_answers,
    encode_frame,
    question_of,
)
from sharedlogkv_replica.engine.peers import PeerLimits
from sharedlogkv_replica.errors import PeerFault
from sharedlogkv_replica.server.peer_connection import PeerConnection
from sharedlogkv_replica.server.peer_server import PeerServer
from tests.support.eventually import eventually
from tests.support.network import Network, Pipe
from tests.support.peers import LOG, ScriptedLeader, identity, peer_server

pytestmark = pytest.mark.asyncio

ADDRESS = "leader:8081"


class Client(asyncio.Protocol):
    """A peer, or somebody who would be one, that says what a test has it say."""

    def __init__(self) -> None:
        self.transport: Pipe
        self.heard = bytearray()
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Pipe)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True

    def say(self, data: bytes | bytearray) -> None:
        self.transport.write(data)

    async def gone(self) -> None:
        await eventually(lambda: self.ended, what="the end of the connection")

    async def frame(self) -> bytes:
        """The next frame's payload."""
        while True:
            for payload in FrameSplitter(limit_bytes=1 << 20).split(bytes(self.heard)):
                found = bytes(payload)
                del self.heard[: 4 + len(found)]
                return found
            assert not self.ended
            await asyncio.sleep(0.001)

    async def prove(self, who: PeerIdentity | None = None, *, nonce: bytes = bytes(NONCE_BYTES)) -> None:
        """Passes the handshake."""
        handshake = AskingHandshake(who or identity(), nonce=nonce)
        self.say(handshake.hello)
        proof, _ = handshake.prove(memoryview(await self.frame()))
        self.say(proof)

    def ask(self, *questions: Question) -> None:
        self.say(encode_frame(questions))

    async def answers(self, count: int) -> list[Answer | Goodbye]:
        found: list[Answer | Goodbye] = []
        while len(found) < count:
            found += decode_answers(memoryview(await self.frame()))
        return found


@dataclass
class Service:
    """A server on a network in memory, and its connections so far."""

    network: Network
    leader: ScriptedLeader
    server: PeerServer
    connections: list[PeerConnection] = field(default_factory=list)

    def accept(self) -> PeerConnection:
        connection = PeerConnection(self.server)
        self.connections.append(connection)
        return connection

    async def connect(self) -> Client:
        client = Client()
        await self.network.connect(client, ADDRESS)
        return client

    async def peer(self) -> Client:
        client = await self.connect()
        await client.prove()
        return client

    def tick(self, count: int) -> None:
        for _ in range(count):
            for connection in self.connections:
                connection.tick()

    @property
    def failures(self) -> dict[PeerFault, int]:
        return dict(self.server.counters.failures)


@asynccontextmanager
async def serving(limits: PeerLimits | None = None) -> AsyncIterator[Service]:
    leader = ScriptedLeader()
    service = Service(Network(), leader, peer_server(leader, limits=limits))
    service.network.servers[ADDRESS] = service.accept
    try:
        yield service
    finally:
        await service.server.stop(timeout_seconds=0)
    assert service.server.counters.open_connections == 0


def put(n: int) -> Question:
    return question_of(Write(b"key-%d" % n, b"v"), timeout_seconds=5)


async def test_a_peer_may_ask_in_the_breath_in_which_it_proves() -> None:
    async with serving() as service:
        service.leader.index = Offset(3)
        client = await service.connect()
        handshake = AskingHandshake(identity(), nonce=bytes(NONCE_BYTES))
        client.say(handshake.hello)
        proof, _ = handshake.prove(memoryview(await client.frame()))
        client.say(proof + encode_frame([IndexQuestion(), put(0)]))
        assert await client.answers(2) == [IndexAnswer(0, Offset(3)), WrittenAnswer(1, Offset(0), repeated=False)]


async def test_answers_come_as_they_are_ready_and_in_one_write_a_turn() -> None:
    async with serving() as service:
        client = await service.peer()
        service.leader.keeps = True
        client.ask(*(put(n) for n in range(100)), IndexQuestion())
        assert await client.answers(1) == [IndexAnswer(100, Offset(0))]
        writes = len(client.transport.other.written)
        service.leader.release()
        assert len(await client.answers(100)) == 100
        assert len(client.transport.other.written) == writes + 1


async def test_a_report_is_taken_down_under_the_name_that_was_proved() -> None:
    async with serving() as service:
        client = await service.peer()
        client.ask(ReportQuestion(Position(17), fit=False))
        assert await client.answers(1) == [ReportAnswer(0)]
        assert service.leader.peers == {"replica-1": (17, False)}


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PeerFault.OVERSIZE),
        (bytes(100), PeerFault.MALFORMED),
        (encode_frame(["garbage"]), PeerFault.MALFORMED),
        (b"\xff\xff\xff\xff", PeerFault.OVERSIZE),
        (encode_frame(bytes(2000)), PeerFault.OVERSIZE),
        (encode_frame([IndexQuestion()]), PeerFault.MALFORMED),
        (encode_frame(Hello("sharedlogkv-peer", 99, LOG, "newer", bytes(NONCE_BYTES))), PeerFault.VERSION),
        (encode_frame(Hello("sharedlogkv-peer", 1, "other", "lost", bytes(NONCE_BYTES))), PeerFault.LOG),
    ],
    ids=["http", "zeros", "garbage", "a length alone", "large", "a question at once", "version", "log"],
)
async def test_a_stranger_is_refused_counted_and_logged_and_nobody_else_notices(
    said: bytes, fault: PeerFault, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as service:
        peer = await service.peer()
        stranger = await service.connect()
        stranger.say(said)
        await stranger.gone()
        assert service.failures == {fault: 1}
        (record,) = [record for record in caplog.records if record.message == "a peer was refused"]
        assert (vars(record)["fault"], bool(vars(record)["detail"])) == (fault.value, True)
        peer.ask(put(0))
        assert await peer.answers(1) == [WrittenAnswer(0, Offset(0), repeated=False)]


async def test_whoever_has_another_secret_is_refused() -> None:
    async with serving() as service:
        client = await service.connect()
        honest = AskingHandshake(identity(), nonce=bytes(NONCE_BYTES))
        client.say(honest.hello)
        proof, _ = honest.prove(memoryview(await client.frame()))
        client.say(proof[:-1] + bytes([proof[-1] ^ 1]) + encode_frame([put(0)]))
        await client.gone()
        assert service.failures == {PeerFault.SECRET: 1}
        assert service.leader.taken == []


async def test_a_connection_that_is_replayed_byte_by_byte_is_refused() -> None:
    async with serving() as service:
        client = await service.peer()
        client.ask(put(0))
        await client.answers(1)
        replay = await service.connect()
        replay.say(client.transport.output)
        await replay.gone()
        assert service.failures == {PeerFault.SECRET: 1}
        assert len(service.leader.taken) == 1


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (encode_frame(["garbage"]), PeerFault.MALFORMED),
        (encode_frame([[77, 1]]), PeerFault.MALFORMED),
        (b"\x00\x20\x00\x00", PeerFault.OVERSIZE),
    ],
    ids=["garbage", "an unknown question", "too large"],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_and_what_it_had_asked_is_carried_out(
    said: bytes, fault: PeerFault
) -> None:
    async with serving() as service:
        client, other = await service.peer(), await service.peer()
        service.leader.keeps = True
        client.ask(put(0))
        await eventually(lambda: service.leader.kept)
        other.ask(put(1))
        await eventually(lambda: len(service.leader.kept) == 2)
        client.say(said)
        await client.gone()
        assert service.failures == {fault: 1}
        service.leader.release()
        assert await other.answers(1) == [WrittenAnswer(0, Offset(1), repeated=False)]


async def test_a_stranger_that_says_nothing_is_let_go() -> None:
    async with serving() as service:
        client = await service.connect()
        service.tick(2)
        assert not client.ended
        service.tick(1)
        await client.gone()
        assert service.failures == {PeerFault.SILENT: 1}


async def test_a_peer_that_falls_silent_is_let_go_and_one_that_reports_is_not() -> None:
    async with serving() as service:
        silent, reporting = await service.peer(), await service.peer()
        await eventually(lambda: service.server.counters.connections == 2)
        for n in range(10):
            reporting.ask(ReportQuestion(Position(n), fit=True))
            await reporting.answers(1)
            service.tick(1)
        await silent.gone()
        assert not reporting.ended
        assert service.failures == {PeerFault.SILENT: 1}


async def test_a_peer_that_takes_no_answers_is_read_no_more_and_then_let_go() -> None:
    async with serving() as service:
        client = await service.peer()
        await eventually(lambda: service.server.counters.connections == 1)
        client.transport.pause_reading()
        for _ in range(40):
            client.ask(*[IndexQuestion()] * 1_000)
            await asyncio.sleep(0.01)
        asked = service.leader.indexes
        assert asked < 40_000
        assert not client.transport.other.is_reading()
        service.tick(5)
        await asyncio.sleep(0.1)
        assert service.failures == {PeerFault.SLOW: 1}


async def test_a_peer_with_too_much_under_way_is_read_no_further() -> None:
    async with serving(PeerLimits(unanswered_questions=10)) as service:
        client = await service.peer()
        service.leader.keeps = True
        for n in range(30):
            client.ask(put(n))
            await asyncio.sleep(0.001)
        assert len(service.leader.taken) == 10
        service.tick(20)
        while len(service.leader.taken) < 30:
            service.leader.release()
            await asyncio.sleep(0.001)
        service.leader.release()
        assert len(await client.answers(30)) == 30
        assert service.failures == {}


async def test_more_connections_than_the_limit_are_turned_away() -> None:
    async with serving(PeerLimits(connections=2)) as service:
        peers = [await service.peer(), await service.peer()]
        await eventually(lambda: service.server.counters.connections == 2)
        late = await service.connect()
        await late.gone()
        assert service.failures == {PeerFault.CROWDED: 1}
        assert not any(peer.ended for peer in peers)


async def test_strangers_can_not_keep_peers_out_for_long() -> None:
    async with serving(PeerLimits(strangers=2)) as service:
        strangers = [await service.connect(), await service.connect()]
        late = await service.connect()
        await late.gone()
        service.tick(3)
        for stranger in strangers:
            await stranger.gone()
        peer = await service.peer()
        peer.ask(IndexQuestion())
        assert await peer.answers(1) == [IndexAnswer(0, Offset(0))]


async def test_a_stop_answers_what_is_under_way_refuses_what_comes_and_asks_peers_to_go() -> None:
    async with serving() as service:
        client, stranger = await service.peer(), await service.connect()
        service.leader.keeps = True
        client.ask(put(0))
        await eventually(lambda: service.leader.kept)
        stopping = asyncio.create_task(service.server.stop(timeout_seconds=10))
        assert await client.answers(1) == [Goodbye()]
        await stranger.gone()
        client.ask(put(1))
        (refused,) = await client.answers(1)
        assert isinstance(refused, ErrorAnswer)
        assert (refused.number, refused.kind) == (1, "no-leader")
        service.leader.release()
        assert await client.answers(1) == [WrittenAnswer(0, Offset(0), repeated=False)]
        assert not stopping.done()
        client.transport.close()
        await stopping


async def test_a_peer_that_does_not_go_is_cut_at_the_deadline() -> None:
    async with serving() as service:
        client = await service.peer()
        await eventually(lambda: service.server.counters.connections == 1)
        await service.server.stop(timeout_seconds=3)
        await client.gone()


async def test_an_asker_that_is_gone_stops_no_write() -> None:
    async with serving() as service:
        client = await service.peer()
        service.leader.keeps = True
        client.ask(put(0))
        await eventually(lambda: service.leader.kept)
        client.transport.abort()
        await client.gone()
        service.leader.release()
        await asyncio.sleep(0.1)
        assert service.server.counters.open_connections == 0
