"""One partition of a real Kafka, to which what is under test goes through a proxy, and the test past it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.log.counters import LogCounters
from sharedlogkv_replica.log.kafka import parse_location
from sharedlogkv_replica.log.kafka_delivery import Delivery
from sharedlogkv_replica.log.kafka_leader import LeaderLink
from sharedlogkv_replica.log.kafka_wire import Address, Connection, Producer, build_batch, connect
from tests.support.kafka import KafkaSite
from tests.support.log_site import DEADLINE_SECONDS
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

REQUEST_SECONDS: Final = 0.4
"""After which a request through the proxy counts as lost."""

BROKER_MS: Final = 200
NOW_MS: Final = 1_700_000_000_000


@dataclass
class ProxiedPartition:
    """The partition, and both ways to it.

    Attributes:
        site: the log.
        proxy: what stands between its brokers and `link`.
        link: what is under test goes by it.
        delivery: by that link, with its counters.
        direct: the way past the proxy.
        counters: of `link`.
    """

    site: KafkaSite
    proxy: TcpProxy
    link: LeaderLink
    delivery: Delivery
    direct: LeaderLink
    counters: LogCounters

    async def produce(self, producer: Producer, sequence: int, entries: Sequence[Entry]) -> int:
        """Sends a batch in somebody's name, past the proxy; returns the broker's error code."""
        batch = build_batch(entries, producer=producer, sequence=sequence, now_ms=NOW_MS)
        connection = await self.direct.connection()
        code, _ = await connection.produce(self.site.topic, 0, batch, timeout_ms=5000)
        return code


async def connect_directly(address: Address) -> Connection:
    """A connection past the proxy."""
    return await connect(address, timeout_seconds=DEADLINE_SECONDS, options={})


@asynccontextmanager
async def proxied(site: KafkaSite) -> AsyncIterator[ProxiedPartition]:
    """The partition of `site`, behind a proxy; whoever writes by it ends before the context does."""
    bootstrap = parse_location(site.url).bootstrap
    async with tcp_proxy() as proxy:

        async def connect_by_proxy(address: Address) -> Connection:
            port = await proxy.port_to(*address)
            return await connect(Address("127.0.0.1", port), timeout_seconds=REQUEST_SECONDS, options={})

        counters = LogCounters()
        link = LeaderLink(bootstrap, site.topic, 0, connect=connect_by_proxy, counters=counters)
        delivery = Delivery(link, site.topic, 0, broker_timeout_ms=BROKER_MS, counters=counters)
        direct = LeaderLink(bootstrap, site.topic, 0, connect=connect_directly, counters=LogCounters())
        try:
            yield ProxiedPartition(site, proxy, link, delivery, direct, counters)
        finally:
            await direct.close()
