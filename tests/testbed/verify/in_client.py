"""What the checks do with Kafka, as programs on the client host: `in_client.py ACTION ARGUMENT...`.

`write` never ends by itself: it writes one record after another and prints a line for each that was acknowledged.
"""

import json
import os
import sys
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

_SECONDS = 15
_QUICK = {"socket.timeout.ms": 2000, "topic.metadata.refresh.interval.ms": 2000, "log_level": 0}


def settings(user: str | None = None) -> dict[str, str | int | float | bool]:
    """Return a client's configuration, for plaintext or for a user of the SASL_SSL listener."""
    if user is None:
        return {"bootstrap.servers": os.environ["SLKV_KAFKA"]}
    return {
        "bootstrap.servers": os.environ["SLKV_KAFKA_SASL"],
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": os.environ["SLKV_KAFKA_CA"],
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": f"{user}-secret",
    }


def create(topic: str, copies: str) -> None:
    """Create a topic of one partition."""
    admin = AdminClient(settings())
    admin.create_topics([NewTopic(topic, 1, int(copies))])[topic].result(_SECONDS)


def partition(topic: str) -> None:
    """Print the leader and the number of in-sync replicas of a topic's partition, as JSON."""
    admin = AdminClient({**settings(), **_QUICK})
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            found = admin.list_topics(topic, 2).topics[topic].partitions[0]
        except (KafkaException, KeyError):  # asked the broken broker; the next call asks another
            if time.monotonic() > deadline:
                raise
        else:
            print(json.dumps({"leader": found.leader, "in_sync": len(found.isrs)}))
            return


def produce_as(user: str, topic: str) -> None:
    """Write one record as a user and print what became of it: `ok` or the error's name."""
    outcome = []

    def remember(error: object, _: Message) -> None:
        outcome.append("ok" if error is None else getattr(error, "name", lambda: str(error))())

    producer = Producer({**settings(user), "message.timeout.ms": 8000})
    producer.produce(topic, b"x", on_delivery=remember)
    producer.flush(_SECONDS)
    print(*outcome)


def write(topic: str) -> None:
    """Write with acks=all for ever, one record at a time; print the time at which each was acknowledged."""
    timeouts = {"message.timeout.ms": 30000, "socket.connection.setup.timeout.ms": 2000}

    def tell(error: object, _: Message) -> None:
        if error is None:
            print(time.monotonic(), flush=True)

    producer = Producer({**settings(), **_QUICK, **timeouts, "enable.idempotence": True, "linger.ms": 0})
    while True:
        producer.produce(topic, b"x", on_delivery=tell)
        producer.flush(35)


if __name__ == "__main__":
    actions: dict[str, Callable[..., None]]
    actions = {"create": create, "partition": partition, "produce-as": produce_as, "write": write}
    actions[sys.argv[1]](*sys.argv[2:])
