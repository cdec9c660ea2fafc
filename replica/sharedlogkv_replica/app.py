"""Wiring, and the order of start and stop.

Start: admin port (probes are answered during a replay), peer port, data port, follower and writers.

Stop, on SIGTERM or SIGINT: NotReady, and a leader hands over; `drain_seconds` in which load balancers learn of it and
requests are still taken; no new connections; what is in flight is answered; queued writes reach the log; peers are sent
away; the log is closed; the admin port last. A second signal ends the waiting.
"""

import asyncio
import contextlib
import logging
import random
import signal
import time

from sharedlogkv_replica.config import Config
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.engine.leader_mode import LeaderSettings
from sharedlogkv_replica.engine.peer_address import complete_address, own_address
from sharedlogkv_replica.engine.peers import Report
from sharedlogkv_replica.engine.replica import COMPILED, VERSION, Replica
from sharedlogkv_replica.log.open import open_log
from sharedlogkv_replica.metrics import Metrics, PeerCollector
from sharedlogkv_replica.peering import Peering
from sharedlogkv_replica.server.admin import AdminHandler
from sharedlogkv_replica.server.clock import CoarseClock
from sharedlogkv_replica.server.counters import HttpCounters
from sharedlogkv_replica.server.http_server import HttpServer
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.peer_server import PeerServer
from sharedlogkv_replica.server.reads import ReadPolicy
from sharedlogkv_replica.server.routes import DataHandler

logger = logging.getLogger(__name__)

ADMIN_LIMITS = Limits(connections=256, idle_timeout_seconds=10.0)
"""Short, so that scrapers that leak connections can't keep the kubelet's probes out."""


class App:
    """One replica process.

    Attributes:
        replica: follower, map and group commit.
        data: the server of the data port.
        admin: the server of the admin port.
        peers: the server of the peer port; None where there are no peers.
    """

    def __init__(self, config: Config) -> None:
        """Wires everything; connects and listens to nothing yet.

        Raises:
            ConfigError: the log's URL can't be used.
        """
        self._config = config
        self._log = open_log(config.log, expected_id=config.topic_id, security=config.kafka_security)
        self._peering = self._build_peering(config)
        self.replica = Replica(
            self._log,
            name=config.name,
            write_mode=config.write_mode,
            write_timeout_seconds=config.write_timeout_seconds,
            value_limit_bytes=config.value_limit_bytes,
            leader=_leader_settings(config),
            dialer=None if self._peering is None else self._peering.dialer,
            max_lag_seconds=config.max_lag_seconds,
        )
        self.peers = self._build_peer_server(config)
        counters = HttpCounters()
        self.replica.follower.load.count_served = counters.count_served
        self.replica.follower.load.count_shed = lambda: counters.shed_reads
        metrics = Metrics(self.replica, self._log.counters, counters, peers=self._build_peer_collector())
        clock = CoarseClock()
        policy = ReadPolicy(config.read_timeout_seconds, config.default_consistency, config.default_max_lag_ms)
        self.data = HttpServer(
            DataHandler(self.replica, counters=counters, clock=clock, policy=policy),
            limits=Limits(connections=config.max_connections),
            clock=clock,
            counters=counters,
        )
        self.admin = HttpServer(
            AdminHandler(self.replica, metrics=metrics.exposition, secret=self._read_secret),
            limits=ADMIN_LIMITS,
            clock=CoarseClock(),
            counters=HttpCounters(),
        )
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def _build_peering(self, config: Config) -> Peering | None:
        if config.write_mode is not WriteMode.LEADER or config.peer_secret_file is None:
            return None
        return Peering(config.name, config.peer_secret_file, log_id=self._log_id, report=self._report)

    def _build_peer_server(self, config: Config) -> PeerServer | None:
        if self._peering is None or self.replica.led is None:
            return None
        return self._peering.build_server(self.replica.led.service, value_limit_bytes=config.value_limit_bytes)

    def _build_peer_collector(self) -> PeerCollector | None:
        if self._peering is None or self.replica.led is None:
            return None
        return PeerCollector(self.replica.led.forwarder, asking=self._peering.asking, answering=self._peering.answering)

    def _log_id(self) -> str | None:
        identity = self.replica.follower.identity
        return None if identity is None else identity.log_id

    def _report(self) -> Report:
        return Report(self.replica.position, fit=self.replica.led is not None and self.replica.led.leadership.is_fit)

    def _read_secret(self) -> bytes | None:
        return None if self._peering is None else self._peering.read_secret()

    def stop(self) -> None:
        """Asks for a graceful stop; asked again, for a quick one."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self) -> None:
        """Serves until told to stop, by signal or by `stop`.

        Raises:
            OSError: a port can't be had.
            BaseExceptionGroup: a part of the replica failed; a bug.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            await self.admin.listen(self._config.host, self._config.admin_port)
            if self.peers is not None:
                await self.peers.listen(self._config.host, self._config.peer_port)
            await self.data.listen(self._config.host, self._config.http_port)
            logger.info(
                "replica started",
                extra={
                    "version": VERSION,
                    "compiled": COMPILED,
                    "http_port": self.data.port,
                    "admin_port": self.admin.port,
                },
            )
            work = asyncio.create_task(self.replica.run(), name="replica")
            try:
                await self._until_stopped(work)
                if not work.done():
                    await self._shut_down()
            finally:
                work.cancel()
                await asyncio.wait([work])
            if not work.cancelled():
                work.result()
        finally:
            await self.data.stop(timeout_seconds=0)
            if self.peers is not None:
                await self.peers.stop(timeout_seconds=0)
            await self._log.close()
            await self.admin.stop(timeout_seconds=0.5)
            logger.info("replica stopped")

    async def _until_stopped(self, work: "asyncio.Task[None]") -> None:
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait([stop, work], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            logger.critical("a part of the replica failed, and the replica ends")

    async def _shut_down(self) -> None:
        deadline = time.monotonic() + self._config.stop_seconds
        logger.info("stopping", extra={"drain_seconds": self._config.drain_seconds})
        self.replica.retire()
        self.data.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._config.drain_seconds, self._config.stop_seconds)):
                await self._hurry.wait()
        await self.data.stop(timeout_seconds=max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self.replica.drain()
        if self.peers is not None:
            await self.peers.stop(timeout_seconds=max(0.0, deadline - time.monotonic()))


def _leader_settings(config: Config) -> LeaderSettings | None:
    if config.write_mode is not WriteMode.LEADER:
        return None
    address = ""
    if config.peer_secret_file is not None and config.peer_address is not None:
        address = complete_address(config.peer_address, port=config.peer_port)
    elif config.peer_secret_file is not None:
        address = own_address(config.host, config.peer_port)
    return LeaderSettings(
        config.name,
        address,
        lease_seconds=config.lease_seconds,
        jitter=random.random(),
        write_timeout_seconds=config.write_timeout_seconds,
    )
