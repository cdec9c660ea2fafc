"""The peer of a replay: a loop of confluent-kafka's `consume()` that throws every record away.

    python -m tests.bench.bare_consumer BOOTSTRAP TOPIC RECORDS

Prints the seconds that so many records took, from the making of the consumer on, as a replica counts its replay. The
client is set up as the replica's is.
"""

import sys
import time

from confluent_kafka import Consumer, TopicPartition

from sharedlogkv_replica.core.records import START
from sharedlogkv_replica.log.kafka_reader import BATCH_RECORDS, PROPERTIES


def main() -> int:
    """Consumes and prints."""
    bootstrap_servers, topic, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    begin = time.monotonic()
    consumer = Consumer({**PROPERTIES, "bootstrap.servers": bootstrap_servers})
    consumer.assign([TopicPartition(topic, 0, START)])
    count = 0
    while count < wanted:
        count += len(consumer.consume(BATCH_RECORDS, 1.0))
    print(time.monotonic() - begin)
    consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
