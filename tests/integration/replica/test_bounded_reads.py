"""Reads while the log does not answer: those with a bound are refused beyond it, and the others tell their age."""

import pytest

from tests.support.breakage import breaking
from tests.support.environment import Environment
from tests.support.kafka import KafkaCluster
from tests.support.led_store import LedReplica, LedStore
from tests.support.replica_http import Reply
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

BOUND_MS = 200
RECOVERY_SECONDS = 60.0


def read(replica: LedReplica, query: str) -> Reply:
    """The answer to a read of the one key."""
    with replica.client() as client:
        return client.request("GET", f"/v1/kv/key?{query}")


def test_a_bounded_read_is_refused_once_the_map_may_be_older_than_its_bound(
    kafka_store: LedStore, kafka_cluster: KafkaCluster, topic: str, environment: Environment
) -> None:
    follower, other = kafka_store.followers()
    bounded = f"consistency=bounded&max_lag_ms={BOUND_MS}"
    with other.client() as client:
        written = client.put(b"key", b"1")
    assert read(follower, bounded).headers["etag"] == written.headers["etag"]
    broker = str(kafka_cluster.leader(topic))
    with breaking(environment) as fault:
        fault("broker-pause", broker)

        def refused() -> Reply | None:
            reply = read(follower, bounded)
            return None if reply.status == 200 else reply

        reply = wait_until(refused, what="a refusal", timeout_seconds=RECOVERY_SECONDS)
        assert reply.status in (503, 504)
        assert reply.headers["retry-after"] == "1"
        wait_until(
            lambda: int(read(follower, "consistency=eventual").headers["slkv-lag-ms"]) > BOUND_MS,
            what="the lag to show",
            timeout_seconds=RECOVERY_SECONDS,
        )
        assert read(follower, "consistency=eventual").body == b"1"
    wait_until(lambda: read(follower, bounded).status == 200, what="a bounded read", timeout_seconds=RECOVERY_SECONDS)
