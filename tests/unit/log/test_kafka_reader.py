"""A reading whose client or thread fails: one error that the caller can act on, whatever the client raises."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Never

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from sharedlogkv_replica.core.records import START
from sharedlogkv_replica.errors import LogRefused, LogUnavailable
from sharedlogkv_replica.log import kafka_reader
from sharedlogkv_replica.log.kafka import KafkaLocation, KafkaLog
from sharedlogkv_replica.log.kafka_security import KafkaSecurity
from sharedlogkv_replica.log.kafka_wire import Address

LOCATION = KafkaLocation([Address("127.0.0.1", 1)], "t")


class FailingConsumer:
    """A client of which one call fails; the others do nothing, and what it polls is a refusal."""

    fails = ""
    close_fails = False

    def __init__(self, _: Mapping[str, object], *, logger: object) -> None:
        del logger
        self._call("Consumer")

    def assign(self, _: Sequence[TopicPartition]) -> None:
        self._call("assign")

    def poll(self, _: float) -> Message:
        self._call("poll")
        return Message(topic="t", partition=0, error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    def consume(self, _count: int, _timeout: float) -> Sequence[Message]:
        self._call("consume")
        return []

    def close(self) -> None:
        if self.close_fails:
            raise RuntimeError("close")

    def _call(self, name: str) -> None:
        if self.fails == name:
            raise KafkaException(KafkaError(KafkaError._FAIL, name))


async def read(log: KafkaLog) -> None:
    async with aclosing(log.read(START)) as reading:
        async for _ in reading:
            pass


@pytest.mark.asyncio
async def test_a_client_that_can_not_be_made_is_an_unavailable_log(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("no certificate")
    log = KafkaLog(LOCATION, security=KafkaSecurity(tls=True, ca_file=ca))
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"ssl\.ca\.pem") as caught:
            await read(log)
        assert isinstance(caught.value.__cause__, KafkaException)


@pytest.mark.parametrize("close_fails", [False, True])
@pytest.mark.parametrize("fails", ["Consumer", "assign", "poll", "consume"])
@pytest.mark.asyncio
async def test_whatever_call_fails_the_log_is_unavailable_and_that_call_is_the_cause(
    monkeypatch: pytest.MonkeyPatch, fails: str, close_fails: bool
) -> None:
    monkeypatch.setattr(kafka_reader, "Consumer", FailingConsumer)
    monkeypatch.setattr(FailingConsumer, "fails", fails)
    monkeypatch.setattr(FailingConsumer, "close_fails", close_fails)
    with pytest.raises(LogUnavailable, match=fails) as caught:
        await read(KafkaLog(LOCATION))
    assert isinstance(caught.value.__cause__, KafkaException)


@pytest.mark.asyncio
async def test_a_client_that_does_not_close_well_masks_no_other_error_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_reader, "Consumer", FailingConsumer)
    monkeypatch.setattr(FailingConsumer, "close_fails", True)
    with caplog.at_level(logging.WARNING), pytest.raises(LogRefused):
        await read(KafkaLog(LOCATION))
    assert "a reader did not close well" in caplog.messages


@pytest.mark.asyncio
async def test_a_thread_that_can_not_be_started_is_an_unavailable_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> Never:
        raise RuntimeError("can't start new thread")

    log = KafkaLog(LOCATION)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(2):
            with pytest.raises(LogUnavailable, match="can't start new thread"):
                await read(log)
    await log.close()
