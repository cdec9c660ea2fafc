"""The two ways in which the log's book of producer ids comes to an end: all epochs spent, and an id forgotten."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from tests.chaos.scene import Scene

_TRANSACTIONAL: Final = 1  # the kind of coordinator
_REQUEST_MS: Final = 5000
_PATIENCE_SECONDS: Final = 60.0  # with a coordinator that gives no epoch
_UNDER_WAY: Final = 100  # questions at a time
_MOVED: Final = (15, 16)  # not available, not the coordinator
_TRY_AGAIN: Final = (14, *_MOVED, 51)  # loading, as above, another change is under way
_SHORT_EXPIRATION: Final = """
transactional.id.expiration.ms=10000
transaction.remove.expired.transaction.cleanup.interval.ms=2000
producer.id.expiration.ms=20000
producer.id.expiration.check.interval.ms=2000
"""


def transactional_id(topic: str) -> str:
    """Under which all leaders of a log ask for their producer id."""
    return f"sharedlogkv-{topic}"


def drive_epochs_to_the_end(bootstrap_servers: str, topic: str) -> int:
    """Takes epochs of the log's producer id until there is another id; returns how many it took."""
    return asyncio.run(_drive(bootstrap_servers, transactional_id(topic)))


async def _drive(bootstrap_servers: str, name: str) -> int:
    request = InitProducerIdRequest(transactional_id=name, transaction_timeout_ms=_REQUEST_MS)
    taken: list[int] = []
    last_taken = time.monotonic()
    connection = await _coordinator(bootstrap_servers, name)
    try:
        while not taken or taken[-1] == taken[0]:
            # Questions that came over one connection are answered one by one: none is refused for another's sake.
            answers: list[Any] = await asyncio.gather(*(connection.send(request) for _ in range(_UNDER_WAY)))
            for answer in answers:
                assert answer.error_code in (0, *_TRY_AGAIN), f"InitProducerId answered with error {answer.error_code}"
            fresh = [answer.producer_id for answer in answers if answer.error_code == 0]
            taken += fresh
            if fresh:
                last_taken = time.monotonic()
            code = answers[-1].error_code
            assert time.monotonic() - last_taken < _PATIENCE_SECONDS, f"InitProducerId answers with error {code} alone"
            if code in _MOVED:
                connection.close()
                connection = await _coordinator(bootstrap_servers, name)
    finally:
        connection.close()
    return len(taken)


async def _coordinator(bootstrap_servers: str, name: str) -> AIOKafkaConnection:
    host, _, port = bootstrap_servers.partition(",")[0].rpartition(":")
    while True:
        connection = await create_conn(host, int(port), request_timeout_ms=_REQUEST_MS)
        try:
            answer: Any = await connection.send(FindCoordinatorRequest(name, _TRANSACTIONAL))
        finally:
            connection.close()
        if answer.error_code == 0:
            return await create_conn(answer.host, answer.port, request_timeout_ms=_REQUEST_MS)
        assert answer.error_code in _TRY_AGAIN, f"FindCoordinator answered with error {answer.error_code}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def with_short_expiration(scene: Scene) -> AsyncIterator[None]:
    """Brokers that forget transactional ids and producer ids within seconds; each is restarted, before and after."""
    folder = Path(os.environ["TESTBED_RUN"], os.environ["TESTBED_NAME"])
    files = {n: folder / f"kafka{n}.properties" for n in range(1, scene.brokers + 1)}
    before = {number: file.read_text() for number, file in files.items()}
    for number, file in files.items():
        file.write_text(before[number] + _SHORT_EXPIRATION)
        await _restart(scene, number)
    try:
        yield
    finally:
        for number, file in files.items():
            file.write_text(before[number])
            await _restart(scene, number)


async def _restart(scene: Scene, number: int) -> None:
    await scene.fault("broker-stop", str(number))
    await scene.fault("broker-start", str(number))
    await scene.until(lambda: scene.kafka.in_sync(scene.topic) == scene.brokers, "all copies in sync")
