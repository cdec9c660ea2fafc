"""The asking end: connects, proves, asks, and comes back after whatever happened."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.engine.peer_handshake import AnsweringHandshake, PeerIdentity
from sharedlogkv_replica.engine.peer_link import Connect, PeerDialer, PeerLink
from sharedlogkv_replica.engine.peer_wire import (
    Answer,
    FrameSplitter,
    Goodbye,
    IndexAnswer,
    IndexQuestion,
    decode_questions,
    encode_frame,
)
from sharedlogkv_replica.engine.peers import PeerLimits, Report
from sharedlogkv_replica.errors import PeerFault, PeerRefused
from sharedlogkv_replica.server.peer_connection import PeerConnection
from tests.support.eventually import eventually
from tests.support.network import Network
from tests.support.peers import ScriptedLeader, identity, peer_server

pytestmark = pytest.mark.asyncio

ADDRESS = "leader:8081"


class Notebook:
    """An asker that takes down what it hears."""

    size_bytes = 64

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.losses: list[bool] = []

    def answered(self, answer: Answer) -> None:
        self.answers.append(answer)

    def lost(self, *, sent: bool) -> None:
        self.losses.append(sent)


class StrangePeer(asyncio.Protocol):
    """Passes the handshake, and then says what a test has it say to each frame of questions."""

    def __init__(self, says: Callable[[int], bytes]) -> None:
        self._says = says
        self._handshake = AnsweringHandshake(identity)
        self._splitter = FrameSplitter(limit_bytes=1 << 20)
        self._numbers = 0
        self._proved = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for payload in self._splitter.split(data):
            if self._proved:
                self._numbers += len(decode_questions(payload))
                self._transport.write(self._says(self._numbers - 1))
            elif self._handshake.challenged:
                self._handshake.verify(payload)
                self._proved = True
            else:
                self._transport.write(self._handshake.challenge(payload, nonce=bytes(32), frame_limit_bytes=1 << 20))


@asynccontextmanager
async def linked(
    network: Network,
    *,
    identify: Callable[[], PeerIdentity] = identity,
    limits: PeerLimits | None = None,
    connect: Connect | None = None,
) -> AsyncIterator[tuple[PeerLink, PeerDialer]]:
    dialer = PeerDialer(
        identify=identify,
        report=lambda: Report(Position(0), fit=True),
        limits=limits or PeerLimits(),
        connect=connect or network.connect,
    )
    link = dialer.dial(ADDRESS, on_room=lambda: None)
    try:
        yield link, dialer
    finally:
        await link.close()


def serve(network: Network, *, secret: bytes | None = None) -> ScriptedLeader:
    leader = ScriptedLeader()
    server = peer_server(leader) if secret is None else peer_server(leader, secret=secret)
    network.servers[ADDRESS] = lambda: PeerConnection(server)
    return leader


async def test_a_question_is_answered_to_whoever_asked() -> None:
    network = Network()
    serve(network).index = Offset(5)
    async with linked(network) as (link, dialer):
        await link.until_connected()
        asker = Notebook()
        number = link.ask(IndexQuestion(), asker)
        await eventually(lambda: asker.answers)
        assert asker.answers == [IndexAnswer(number, Offset(5))]
        assert dialer.counters.connections == dialer.counters.open_connections == 1


async def test_attempts_follow_one_another_ever_more_slowly() -> None:
    async with linked(Network()) as (link, dialer):
        failures = dialer.counters.failures
        await asyncio.sleep(1)
        assert 4 <= failures[PeerFault.UNREACHABLE] <= 6
        await asyncio.sleep(100)
        assert failures[PeerFault.UNREACHABLE] == pytest.approx(56, abs=5)
        assert not link.connected


async def test_a_failure_is_told_once_and_not_at_every_attempt(caplog: pytest.LogCaptureFixture) -> None:
    network = Network()
    async with linked(network) as (link, _):
        await asyncio.sleep(30)
        assert [record.message for record in caplog.records] == ["no connection to the leader"]
        serve(network, secret=b"another secret of good length")
        await asyncio.sleep(30)
        assert [getattr(record, "fault", "") for record in caplog.records if record.message[:2] == "no"] == [
            "unreachable",
            "secret",
        ]
        serve(network)
        with caplog.at_level(logging.INFO):
            await link.until_connected()
        assert caplog.records[-1].message == "connected to the leader"


async def test_a_leader_without_our_secret_is_never_asked_anything() -> None:
    network = Network()
    leader = serve(network, secret=b"another secret of good length")
    async with linked(network) as (link, dialer):
        await asyncio.sleep(10)
        assert not link.connected
        assert dialer.counters.failures[PeerFault.SECRET] > 3
        assert not leader.peers


async def test_a_secret_that_comes_late_is_enough() -> None:
    network = Network()
    serve(network)
    missing = True

    def identify() -> PeerIdentity:
        if missing:
            raise PeerRefused(PeerFault.NO_SECRET, "there is no secret")
        return identity()

    async with linked(network, identify=identify) as (link, dialer):
        await asyncio.sleep(10)
        assert dialer.counters.failures[PeerFault.NO_SECRET] > 3
        assert network.pipes == []
        missing = False
        await link.until_connected()


async def test_a_leader_of_another_log_refuses_in_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    network = Network()
    serve(network)
    async with linked(network, identify=lambda: identity(log_id="another")) as (link, dialer):
        await asyncio.sleep(10)
        assert not link.connected
        assert dialer.counters.failures[PeerFault.LOG] > 3
    told = [
        getattr(record, "detail", "") for record in caplog.records if record.message == "no connection to the leader"
    ]
    assert len(told) == 1
    assert "follows log 'another'" in told[0]


async def test_a_handshake_that_hangs_is_given_up() -> None:
    network = Network()
    network.servers[ADDRESS] = asyncio.Protocol
    async with linked(network) as (_, dialer):
        await asyncio.sleep(2.5)
        assert dialer.counters.failures[PeerFault.SILENT] == 1


async def test_a_leader_that_falls_silent_is_cut_and_its_questions_are_lost() -> None:
    network = Network()
    serve(network)
    async with linked(network) as (link, dialer):
        await link.until_connected()
        network.freeze()
        asker = Notebook()
        link.ask(IndexQuestion(), asker)
        await asyncio.sleep(6)
        assert asker.losses == [True]
        assert dialer.counters.failures[PeerFault.SILENT] >= 1
        network.thaw()
        await link.until_connected()


async def test_a_question_that_never_left_is_told_as_unsent() -> None:
    network = Network()
    serve(network)
    async with linked(network) as (link, _):
        await link.until_connected()
        asker = Notebook()
        link.ask(IndexQuestion(), asker)
        network.cut()
        assert asker.losses == [False]
        assert not link.ready


async def test_a_forgotten_asker_hears_nothing() -> None:
    network = Network()
    leader = serve(network)
    async with linked(network) as (link, _):
        await link.until_connected()
        asker = Notebook()
        link.forget(link.ask(IndexQuestion(), asker))
        await eventually(lambda: leader.indexes == 1)
        await asyncio.sleep(0.1)
        assert (asker.answers, asker.losses) == ([], [])
        assert link.unanswered == 0


@pytest.mark.parametrize(
    "says",
    [
        lambda number: bytes(encode_frame(b"garbage")),
        lambda number: bytes(encode_frame([IndexAnswer(number + 1, None)])),
        lambda number: bytes(encode_frame([IndexAnswer(number, None), IndexAnswer(number, None)])),
    ],
    ids=["garbage", "a question never asked", "the same one twice"],
)
async def test_a_peer_that_answers_nonsense_is_cut(says: Callable[[int], bytes]) -> None:
    network = Network()
    network.servers[ADDRESS] = lambda: StrangePeer(says)
    async with linked(network) as (_, dialer):
        await eventually(lambda: dialer.counters.failures[PeerFault.MALFORMED])


async def test_a_peer_that_sends_too_much_is_cut() -> None:
    network = Network()
    network.servers[ADDRESS] = lambda: StrangePeer(lambda number: bytes(encode_frame(bytes(1 << 20))))
    async with linked(network) as (_, dialer):
        await eventually(lambda: dialer.counters.failures[PeerFault.OVERSIZE])


async def test_a_peer_that_says_goodbye_is_asked_no_more_and_left_after_its_answers() -> None:
    network = Network()
    network.servers[ADDRESS] = lambda: StrangePeer(lambda number: bytes(encode_frame([Goodbye()])))
    async with linked(network) as (link, _):
        await link.until_connected()
        await eventually(lambda: not link.ready)
        (pipe,) = network.pipes
        assert not pipe.is_closing()
        pipe.other.write(encode_frame([IndexAnswer(0, None)]))
        await eventually(pipe.is_closing)


async def test_a_link_that_is_left_before_it_connects_gives_up() -> None:
    network = Network()
    network.freeze()
    async with linked(network) as (link, _):
        await asyncio.sleep(0.1)
        link.leave()
        network.thaw()
        serve(network)
        await asyncio.sleep(5)
        assert network.pipes == []


@pytest.mark.parametrize("seconds", [0, 10], ids=["in the turn of its proof", "later"])
async def test_a_connection_whose_making_is_given_up_after_its_proof_says_nothing_more(seconds: float) -> None:
    network = Network()
    serve(network)
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    async def connect_in_vain(protocol: asyncio.Protocol, address: str) -> None:
        if network.pipes:
            raise ConnectionRefusedError
        await network.connect(protocol, address)
        # No event: it would wake us in a later turn than that of the proof.
        while not dialer.counters.open_connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(seconds)
        network.pipes[-1].vanish()
        raise TimeoutError

    limits = PeerLimits(handshake_seconds=20)
    async with linked(network, connect=connect_in_vain, limits=limits) as (_, dialer):
        await asyncio.sleep(seconds + 10)
        assert dialer.counters.open_connections == 0
        assert dialer.counters.failures[PeerFault.SILENT] == 1
    assert errors == []


async def test_a_link_that_is_closed_tells_its_askers() -> None:
    network = Network()
    serve(network)
    async with linked(network) as (link, dialer):
        await link.until_connected()
        network.freeze()
        asker = Notebook()
        link.ask(IndexQuestion(), asker)
        await asyncio.sleep(0.1)
    assert asker.losses == [True]
    assert dialer.counters.open_connections == 0
