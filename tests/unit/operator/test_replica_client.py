"""What a replica tells of itself."""

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sharedlogkv_operator.errors import ReplicaUnreachable
from sharedlogkv_operator.leadership import LeaderReport
from sharedlogkv_operator.replica_client import HttpReplicaClient, ReplicaStatus, parse_replica_status

DOCUMENT: dict[str, Any] = {
    "name": "store-1",
    "version": "0.1.0",
    "writeMode": "Leaderless",
    "ready": True,
    "reason": "Serving",
    "message": "serving",
    "log": {"id": "t", "partition": 0, "position": 12, "end": 12, "lagRecords": 0, "lagSeconds": 1.5},
    "fieldOfALaterVersion": {},
}


def test_a_status_document_is_read_and_what_is_not_needed_is_ignored() -> None:
    assert parse_replica_status(DOCUMENT) == ReplicaStatus(True, "Serving", "serving", 1.5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, LeaderReport(False, "store-2", 7, "")),
        ({"role": "leader", "name": "store-1"}, LeaderReport(True, "store-1", 7, "")),
        ({"role": "leader", "leaseHolds": False}, LeaderReport(False, "store-2", 7, "")),
        ({"name": None, "term": None, "refusal": "no"}, LeaderReport(False, None, None, "no")),
        ({"leaseHolds": "maybe"}, None),
    ],
)
def test_who_leads_is_read_where_it_is_told(change: dict[str, object], expected: LeaderReport | None) -> None:
    leader = {"role": "follower", "term": 7, "name": "store-2", "address": "a:1", "leaseHolds": True, "refusal": None}
    status = parse_replica_status({**DOCUMENT, "leader": {**leader, **change}, "foreignRecords": 3})
    assert (status.leadership, status.foreign_records) == (expected, 3)


@pytest.mark.parametrize(
    "change",
    [{"ready": "yes"}, {"reason": None}, {"log": None}, {"log": {"lagSeconds": "1"}}, {"message": 1}],
)
def test_a_document_of_another_form_is_told_as_such(change: dict[str, object]) -> None:
    document = {**copy.deepcopy(DOCUMENT), **change}
    with pytest.raises(ReplicaUnreachable, match="another version"):
        parse_replica_status(document)


def test_a_document_that_is_no_object_is_told_as_such() -> None:
    with pytest.raises(ReplicaUnreachable):
        parse_replica_status([])


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[int]:
    """A server that gives this answer to every connection, or none; its port."""
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.append(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is not None:
                writer.write(answer)
            else:
                await reader.read()  # until the client gives up
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*connections)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{{{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
    ],
)
async def test_whatever_a_replica_does_instead_of_answering_ends_in_time_as_one_error(answer: bytes | None) -> None:
    async with serving(answer) as port:
        client = HttpReplicaClient(port=port, request_seconds=0.2)
        try:
            with pytest.raises(ReplicaUnreachable):
                await client.read_status("127.0.0.1")
        finally:
            await client.close()


@pytest.mark.asyncio
async def test_nobody_there_is_the_same_error() -> None:
    async with serving(None) as port:
        pass
    client = HttpReplicaClient(port=port, request_seconds=0.2)
    try:
        with pytest.raises(ReplicaUnreachable):
            await client.read_status("127.0.0.1")
    finally:
        await client.close()


def answer_to(transfer: int, words: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (transfer, len(words), words)


@pytest.mark.asyncio
async def test_the_leader_is_asked_to_hand_over() -> None:
    async with serving(answer_to(202)) as port:
        client = HttpReplicaClient(port=port, request_seconds=2)
        await client.transfer_leadership("127.0.0.1", to="store-2", secret="s")
        await client.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "words"),
    [(answer_to(409, b"I do not lead"), "says 409: I do not lead"), (answer_to(403), "says 403"), (None, "no answer")],
)
async def test_a_leader_that_does_not_hand_over_says_why(answer: bytes | None, words: str) -> None:
    async with serving(answer) as port:
        client = HttpReplicaClient(port=port, request_seconds=0.2)
        with pytest.raises(ReplicaUnreachable, match=words):
            await client.transfer_leadership("127.0.0.1", to="store-2", secret="s")
        await client.close()
