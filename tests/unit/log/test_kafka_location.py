"""Which URLs name a log, and how a topic's id is spelled."""

import pytest
from confluent_kafka import Uuid

from sharedlogkv_replica.core.records import Entry, Offset
from sharedlogkv_replica.core.token import LogIdentity, Token, parse_token
from sharedlogkv_replica.errors import ConfigError
from sharedlogkv_replica.log.file import FileLog
from sharedlogkv_replica.log.kafka import KafkaLocation, KafkaLog, parse_location, spell_topic_id
from sharedlogkv_replica.log.kafka_wire import Address
from sharedlogkv_replica.log.memory import MemoryLog
from sharedlogkv_replica.log.open import open_log


@pytest.mark.parametrize(
    ("url", "bootstrap", "topic"),
    [
        ("kafka://kafka:9092/settings", [("kafka", 9092)], "settings"),
        (
            "kafka://a.b.svc.cluster.local:1,10.0.0.1:65535/A.b_c-9",
            [("a.b.svc.cluster.local", 1), ("10.0.0.1", 65535)],
            "A.b_c-9",
        ),
        ("kafka://[::1]:9092,[fd00::12]:9093/t", [("::1", 9092), ("fd00::12", 9093)], "t"),
        ("kafka://h:9092/" + "t" * 249, [("h", 9092)], "t" * 249),
    ],
)
def test_a_location_is_brokers_and_a_topic(url: str, bootstrap: list[tuple[str, int]], topic: str) -> None:
    assert parse_location(url) == KafkaLocation(tuple(Address(*address) for address in bootstrap), topic)


def test_addresses_are_written_back_with_the_brackets_of_ipv6() -> None:
    location = parse_location("kafka://[::1]:9092,kafka:9093/t")
    assert location.bootstrap_servers == "[::1]:9092,kafka:9093"


@pytest.mark.parametrize(
    "url",
    [
        "kafka:",
        "kafka://",
        "kafka:///topic",
        "kafka://host:9092",
        "kafka://host:9092/",
        "kafka://host/topic",
        "kafka://host:/topic",
        "kafka://host:0/topic",
        "kafka://host:65536/topic",
        "kafka://host:port/topic",
        "kafka://::1:9092/topic",
        "kafka://host:9092,/topic",
        "kafka://host:9092/a/b",
        "kafka://host:9092/a b",
        "kafka://host:9092/..",
        "kafka://host:9092/.",
        "kafka://host:9092/" + "t" * 250,
        "kafka://ho st:9092/topic",
        "kafka://user@host:9092:1/topic",
        "kafka://host:9092/topic?x=1",
        "kafka://host:9092/topic\n",
        "kafka://host:\uff19092/topic",
    ],
)
def test_what_is_no_location_is_refused_with_the_form_that_is_wanted(url: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        parse_location(url)


@pytest.mark.parametrize("url", ["", "memory", "memory://", "http://host/topic", "KAFKA://host:1/t"])
def test_an_unknown_kind_of_log_is_refused_with_the_kinds_there_are(url: str) -> None:
    with pytest.raises(ConfigError, match=r"memory:.*file:///path.*kafka://"):
        open_log(url)


@pytest.mark.parametrize(
    "url", ["file:/tmp/x", "file:", "file://host/tmp/x", "file:///", "file:///tmp/", "file:///a%00"]
)
def test_what_is_no_path_is_refused_with_the_form_that_is_wanted(url: str) -> None:
    with pytest.raises(ConfigError, match="file:///path"):
        open_log(url)


def test_the_url_chooses_the_implementation() -> None:
    assert isinstance(open_log("memory:"), MemoryLog)
    assert isinstance(open_log("file:///tmp/x.log"), FileLog)
    assert isinstance(open_log("kafka://host:9092/topic", expected_id="id"), KafkaLog)


@pytest.mark.asyncio
async def test_the_log_in_memory_takes_a_value_of_one_mebibyte_with_the_longest_key() -> None:
    log = open_log("memory:")
    await log.open()
    assert await log.append([Entry(bytes(4096), bytes(1 << 20))], timeout_seconds=1.0) == 0
    await log.close()


def test_a_topic_id_is_spelled_so_that_a_token_can_carry_it() -> None:
    for bits in (-1, -2, 0, 1 << 62, -(1 << 63), 0x3EFFBEFBEFBEFBE):
        spelled = spell_topic_id(Uuid(bits, bits))
        token = Token(LogIdentity(spelled, 0), Offset(7))
        assert parse_token(str(token)) == token
        assert spell_topic_id(spelled) == spelled
