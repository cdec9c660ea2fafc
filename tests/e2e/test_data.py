"""Whatever bytes a user stores come back as they were, from another replica."""

import random

import pytest
from confluent_kafka import Producer

from tests.support.environment import Environment
from tests.support.replica_http import key_path
from tests.support.store import Store

MIB = 1 << 20
LISTED = 100_000


def test_keys_and_values_are_bytes(store: Store) -> None:
    chance = random.Random(1)
    pairs = {
        b"\x01\xff\xfe": b"\x00\x01\xff",
        "ключ".encode(): "значение".encode(),
        b"a/b": b"slash",
        b"%2F": b"percent",
        b" ": b"blank",
        b"?#&=+": b"marks",
        b"\xff" * 4096: b"the longest key",
        b"large": chance.randbytes(MIB),
    }
    with store.clients(store.await_pods(3)) as (first, *others):
        for key, value in pairs.items():
            token = first.put(key, value).token
            for other in others:
                assert other.get(key, token=token).body == value
        listed = {item.get("key") for item in others[0].items()}
        assert {"a/b", "%2F", " ", "ключ"} <= listed
        assert others[0].request("GET", "/v1/kv/a/b").body == b"slash", "a raw slash is part of the key"
        assert others[0].request("GET", "/v1/kv/a%2Fb").body == b"slash"


def test_an_empty_value_is_a_value_and_a_deleted_key_is_gone(store: Store) -> None:
    with store.clients(store.await_pods(3)) as (first, second, third):
        empty = first.put(b"key", b"")
        read = second.get(b"key", token=empty.token)
        assert (read.status, read.body) == (200, b"")
        deleted = second.delete(b"key")
        assert deleted.status == 204
        assert third.get(b"key", token=deleted.token).status == 404
        assert first.get(b"key", consistency="linearizable").status == 404


@pytest.mark.parametrize(
    ("key", "value", "status", "problem"),
    [
        (b"\x00L", b"", 400, "key-reserved"),
        (b"k" * 4097, b"", 414, "uri-too-long"),
        (b"key", bytes(MIB + 1), 413, "value-too-large"),
    ],
)
def test_what_can_t_be_stored_is_refused_with_the_reason(
    store: Store, key: bytes, value: bytes, status: int, problem: str
) -> None:
    with store.clients(store.await_pods(3)[:1]) as (client,):
        refused = client.request("PUT", key_path(key), body=value)
        assert (refused.status, refused.json()["type"].rpartition("/")[2]) == (status, problem)


def test_a_hundred_thousand_keys_that_another_program_wrote_are_listed_by_pages(
    store: Store, environment: Environment
) -> None:
    producer = Producer({"bootstrap.servers": environment.kafka, "enable.idempotence": True, "linger.ms": 5})
    for number in range(LISTED):
        producer.produce(store.topic, key=b"key-%06d" % number, value=b"%d" % number)
        producer.poll(0)
    assert producer.flush(60) == 0
    with store.clients(store.await_pods(3)) as clients:
        for client in clients:
            last = client.get(b"key-%06d" % (LISTED - 1), consistency="linearizable")
            assert last.body == b"%d" % (LISTED - 1)
            items = client.items(prefix=b"key-")
            assert [item["key"] for item in items] == [f"key-{number:06d}" for number in range(LISTED)]
            assert all(int(item["value"]) == number for number, item in enumerate(items))
