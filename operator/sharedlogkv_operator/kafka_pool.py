"""Shares one admin client per Kafka cluster, closes it when nobody uses it, and bounds what a dead cluster holds up.

At most so many reconciles may be busy with one cluster: those beyond are turned away with `KafkaBusy` and come back in
a moment, so a cluster that never answers can't occupy every worker. And once it has not answered one of them, it is not
asked again for a few seconds, and then by one at a time: the others get the same answer at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from sharedlogkv_operator.errors import KafkaBusy, KafkaRefused, KafkaUnavailable
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.kafka_security import NO_LOGIN, Login

IDLE_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = 3.0


class ClosableAdmin(KafkaAdmin, Protocol):
    """A `KafkaAdmin` that can be closed."""

    async def close(self) -> None:
        """Ends it; requests under way fail."""
        ...


class KafkaClusters(Protocol):
    """Where the reconcile gets the Kafka cluster that a resource names."""

    def lease(self, bootstrap_servers: str, login: Login = NO_LOGIN) -> AbstractAsyncContextManager[KafkaAdmin]:
        """The cluster's admin, logged in like that, for as long as the context lasts.

        Raises:
            KafkaBusy: on entering, if enough others are busy with this cluster.
            KafkaUnavailable: on entering, if it has not answered somebody else just now.
        """
        ...


@dataclass(slots=True)
class _Member:
    admin: ClosableAdmin
    leases: int = 0
    silence: str = ""
    silent_until: float = 0.0
    closing: asyncio.TimerHandle | None = None


class KafkaPool:
    """The open admin clients, by bootstrap servers and login. With a rotated password, another client begins."""

    def __init__(
        self,
        open_admin: Callable[[str, Login], ClosableAdmin],
        *,
        leases_limit: int,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Opens nothing yet.

        Args:
            open_admin: makes the admin of the cluster at these bootstrap servers, with that login; must not block.
            leases_limit: how many may be busy with one cluster at a time.
            idle_seconds: a cluster's client is closed when nobody used it for so long.
        """
        self._open_admin = open_admin
        self._leases_limit = leases_limit
        self._idle_seconds = idle_seconds
        self._members: dict[tuple[str, Login], _Member] = {}
        self._closings: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, bootstrap_servers: str, login: Login = NO_LOGIN) -> AsyncIterator[KafkaAdmin]:
        """See `KafkaClusters`."""
        cluster = (bootstrap_servers, login)
        member = self._members.get(cluster)
        if member is None:
            member = self._members[cluster] = _Member(self._open_admin(bootstrap_servers, login))
        loop = asyncio.get_running_loop()
        # A cluster that was silent is probed by one at a time: the others need not wait for the same silence.
        if member.silence and (loop.time() < member.silent_until or member.leases):
            raise KafkaUnavailable(member.silence)
        if member.leases >= self._leases_limit:
            raise KafkaBusy(f"{member.leases} resources are busy with {bootstrap_servers} already")
        if member.closing is not None:
            member.closing.cancel()
            member.closing = None
        member.leases += 1
        try:
            yield member.admin
            member.silence = ""
        except KafkaRefused:
            member.silence = ""  # a no is an answer
            raise
        except KafkaUnavailable as error:
            member.silence, member.silent_until = str(error), loop.time() + PAUSE_SECONDS
            raise
        finally:
            member.leases -= 1
            if member.leases == 0:
                member.closing = loop.call_later(self._idle_seconds, self._close_idle, cluster)

    async def close(self) -> None:
        """Closes every client."""
        for member in self._members.values():
            if member.closing is not None:
                member.closing.cancel()
        members, self._members = list(self._members.values()), {}
        await asyncio.gather(*self._closings, *(member.admin.close() for member in members))

    def _close_idle(self, cluster: tuple[str, Login]) -> None:
        member = self._members.pop(cluster)
        task = asyncio.get_running_loop().create_task(member.admin.close())
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)
