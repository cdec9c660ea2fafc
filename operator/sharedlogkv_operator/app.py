"""Wires the operator together, and knows the order in which it starts and stops."""

import asyncio
import platform
import random
import signal
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import kopf
from kubernetes.aio.client import Configuration

from sharedlogkv_operator.autoscaling_loop import AutoscalingLoop
from sharedlogkv_operator.config import Config
from sharedlogkv_operator.controller import STUCK_SECONDS, Controller
from sharedlogkv_operator.errors import ConfigError, KubeRefused, KubeUnavailable
from sharedlogkv_operator.http_server import HttpServer
from sharedlogkv_operator.kafka_admin import ConfluentAdmin
from sharedlogkv_operator.kafka_pool import KafkaPool
from sharedlogkv_operator.kube import ApiServer
from sharedlogkv_operator.kube_session import load_configuration
from sharedlogkv_operator.lease_holder import LeaseHolder
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.metrics import Metrics
from sharedlogkv_operator.reconcile import Reconciler
from sharedlogkv_operator.replica_client import HttpReplicaClient
from sharedlogkv_operator.reporter import Reporter
from sharedlogkv_operator.scaling import ScalingBoard
from sharedlogkv_operator.watcher import Watcher

CRD_SECONDS: Final = 2.0
STOP_SECONDS: Final = 8.0
"""How long reconciles under way may go on after the signal to stop."""

Ending = asyncio.Task[bool] | asyncio.Task[None]


async def run(config: Config, *, on_listening: Callable[[int], None] = lambda port: None) -> None:
    """Runs the operator until SIGTERM or SIGINT.

    Start: the HTTP port (alive, not ready), the Lease is awaited, workers, the CRD is awaited, watches. Stop: no new
    pass, those under way end, watches end, the Lease is released, clients close.

    Args:
        config: what to run with.
        on_listening: told the HTTP port once it is open.

    Raises:
        ConfigError: there is no way to log in to Kubernetes, or the port is taken.
        WatchEnded: the watches broke down for good; a restart is the cure.
        LeaseLost: another operator may be at work; a restart makes this one stand by.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    operator = Operator(config, await load_configuration())
    try:
        await operator.run(stop, on_listening=on_listening)
    finally:
        await operator.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Operator:
    """All the parts of one operator."""

    def __init__(self, config: Config, configuration: Configuration) -> None:
        """Must be made in the event loop; starts nothing.

        Args:
            config: what to run with.
            configuration: where the API server is, and how to log in.
        """
        self._config = config
        self._metrics = Metrics()
        self._kube = ApiServer(
            configuration, metrics=self._metrics, namespaces=config.namespaces, reload=load_configuration
        )
        # A cluster that is down may hold half of the workers, never all.
        self._kafka = KafkaPool(
            lambda servers, login: ConfluentAdmin(servers, metrics=self._metrics, login=login),
            leases_limit=max(1, config.workers // 2),
        )
        self._replicas = HttpReplicaClient()
        scalings = ScalingBoard()
        instance = platform.node()
        reconciler = Reconciler(
            self._kube,
            self._kafka,
            replica_client=self._replicas,
            default_image=config.replica_image,
            scalings=scalings,
            instance=instance,
            now=_now,
        )
        self._controller = Controller(
            reconciler,
            metrics=self._metrics,
            workers=config.workers,
            resync_seconds=config.resync_seconds,
            chance=random.random,
        )
        self._autoscaling = AutoscalingLoop(
            self._kube,
            self._replicas,
            board=scalings,
            reporter=Reporter(self._kube, scalings=scalings, instance=instance, now=_now),
            metrics=self._metrics,
            enqueue=self._controller.queue.add,
            now=_now,
        )
        self._watcher = Watcher(
            self._controller.queue.add,
            log_in,
            namespaces=config.namespaces,
        )
        self._lease_holder: LeaseHolder | None = None
        if config.lease is not None:
            namespace, name = config.lease
            me = f"{platform.node()}-{uuid.uuid4().hex[:8]}"
            self._lease_holder = LeaseHolder(
                self._kube, namespace=namespace, name=name, me=me, now=lambda: datetime.now(UTC)
            )
        self._http = HttpServer(
            find_stall=self._find_stall,
            find_unreadiness=self._find_unreadiness,
            render_metrics=self._render_metrics,
        )

    async def run(self, stop: asyncio.Event, *, on_listening: Callable[[int], None]) -> None:
        """Runs until `stop` is set.

        Raises:
            ConfigError: the HTTP port is taken.
            WatchEnded: the watches broke down for good.
        """
        try:
            port = await self._http.start(self._config.http_host, self._config.http_port)
        except OSError as error:
            raise ConfigError(f"the HTTP port {self._config.http_port} can't be listened on: {error}") from error
        on_listening(port)
        log.info("started", http_port=port, namespaces=self._config.namespaces or "all")
        stopping = asyncio.create_task(stop.wait())
        try:
            if self._lease_holder is None:
                await self._work(stopping, holding=None)
            else:
                await self._lead(self._lease_holder, stopping)
        finally:
            stopping.cancel()
        log.info("stopped")

    async def _lead(self, lease_holder: LeaseHolder, stopping: "asyncio.Task[bool]") -> None:
        """Works while it holds the Lease, once that is free."""
        acquiring = asyncio.create_task(lease_holder.acquire())
        await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
        if not acquiring.done():
            acquiring.cancel()
            await asyncio.wait({acquiring})
            return
        acquiring.result()
        holding = asyncio.create_task(lease_holder.hold())
        try:
            await self._work(stopping, holding=holding)
        finally:
            holding.cancel()
            await asyncio.wait({holding})
            await lease_holder.release()

    async def _work(self, stopping: "asyncio.Task[bool]", *, holding: "asyncio.Task[None] | None") -> None:
        """Reconciles until it is to stop, or `holding` has failed: then what is under way is cut off.

        Raises:
            WatchEnded, LeaseLost: as `run`.
            ExceptionGroup: the workers met a bug that they can't go on from; a restart is the cure.
        """
        working = asyncio.create_task(self._controller.run())
        scaling = asyncio.create_task(self._autoscaling.run())
        ends: set[Ending] = {stopping, working} if holding is None else {stopping, working, holding}
        try:
            await self._await_crd(ends)
            if not any(task.done() for task in ends):
                self._watcher.start()
                watching = asyncio.create_task(self._watcher.wait())
                await asyncio.wait({*ends, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                watching.cancel()
            if working.done():
                working.result()
            if holding is not None and holding.done():
                working.cancel()
                holding.result()
        finally:
            log.info("stopping")
            scaling.cancel()
            await asyncio.wait({scaling})
            await self._stop_working(working)
            await self._watcher.stop()

    async def close(self) -> None:
        """Closes what is open."""
        await self._http.close()
        await self._replicas.close()
        await self._kafka.close()
        await self._kube.close()

    async def _await_crd(self, ends: set[Ending]) -> None:
        """Returns when the API server serves our kind, or one of `ends` is done."""
        while not any(task.done() for task in ends):
            try:
                if await self._kube.is_served():
                    return
                log.warning("the CRD is not installed, or is not served yet: waiting for it")
            except (KubeUnavailable, KubeRefused) as error:
                log.warning("the SharedLogKV resources can't be read: trying again", error=str(error))
            await asyncio.wait(ends, timeout=CRD_SECONDS, return_when=asyncio.FIRST_COMPLETED)

    async def _stop_working(self, working: "asyncio.Task[None]") -> None:
        self._controller.stop()
        done, _ = await asyncio.wait({working}, timeout=STOP_SECONDS)
        if not done:
            log.warning("a reconcile did not end in time and is cut off")
            working.cancel()
            await asyncio.wait({working})

    def _find_stall(self) -> str | None:
        if self._lease_holder is not None and self._lease_holder.tick_age_seconds > STUCK_SECONDS:
            return f"the Lease was not looked at for {self._lease_holder.tick_age_seconds:.0f} s"
        # One that waits for the Lease does not scale, be it that another has it or that nobody can say who.
        works = self._lease_holder is None or self._lease_holder.is_leading
        if works and self._autoscaling.tick_age_seconds > STUCK_SECONDS:
            return f"the scaling has not looked at any replicas for {self._autoscaling.tick_age_seconds:.0f} s"
        return self._controller.find_stall()

    def _find_unreadiness(self) -> str | None:
        if self._lease_holder is not None and self._lease_holder.is_standing_by:
            return None
        return None if self._watcher.is_ready else "not watching yet"

    def _render_metrics(self) -> bytes:
        self._controller.show_metrics()
        self._metrics.leader.set(self._lease_holder is None or self._lease_holder.is_leading)
        return self._metrics.render()


def _now() -> datetime:
    return datetime.now(UTC)


async def log_in() -> kopf.ConnectionInfo:
    """How kopf logs in: by what is configured at this moment.

    Everything is read anew: kopf asks when a token was refused, and gives up for good if it gets the same one again,
    and the copy of our own client may be a minute old.

    Raises:
        ConfigError: there is no way to log in any more.
    """
    configuration = await load_configuration()
    scheme, _, token = (await configuration.get_api_key_with_prefix("BearerToken") or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=(scheme.capitalize() or None) if token else None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
