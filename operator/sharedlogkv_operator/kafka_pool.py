"""Shares one admin client per Kafka cluster, closes it when nobody uses it, and bounds what a dead cluster holds up.

At most so many reconciles may be busy with one cluster, whatever they log in with: those beyond are turned away with
`KafkaBusy` and come back in a moment, so a cluster that never answers can't occupy every worker. And once it has not
answered one of them, it is not asked again for a few seconds, and then by one at a time: the others get the same answer
at once. Only where a login was never answered, that holds for this login alone: one that speaks plain text to a TLS
port gets no answer either, and the other resources of the cluster must not suffer from it.

A client costs memory and threads, and where each store logs in as itself there are as many as stores. So only so many
stay open: of those that nobody uses, the one goes that was used least recently.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from sharedlogkv_operator.errors import KafkaBusy, KafkaRefused, KafkaSilent, KafkaUnavailable
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.kafka_security import NO_LOGIN, Login

CLIENTS_LIMIT: Final = 32
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
            KafkaSilent: on entering, if it has not answered somebody else just now.
        """
        ...


@dataclass(slots=True)
class _Party:
    """Those who are busy with a cluster, all of them or those with one login, and what keeps further ones away."""

    leases: int = 0
    silence: str = ""
    silent_until: float = 0.0

    def check(self, now: float) -> None:
        """Raises `KafkaSilent` after a silence: it is probed by one at a time, as the others need not wait too."""
        if self.silence and (now < self.silent_until or self.leases):
            raise KafkaSilent(self.silence)


@dataclass(slots=True)
class _Member(_Party):
    """Those with one login, who share a client."""

    admin: ClosableAdmin = field(kw_only=True)
    was_answered: bool = False
    closing: asyncio.TimerHandle | None = None


class KafkaPool:
    """The open admin clients, by bootstrap servers and login. With a rotated password, another client begins.

    A cluster is known by its bootstrap servers for as long as a client of it is open.
    """

    def __init__(
        self,
        open_admin: Callable[[str, Login], ClosableAdmin],
        *,
        leases_limit: int,
        clients_limit: int = CLIENTS_LIMIT,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Opens nothing yet.

        Args:
            open_admin: makes the admin of the cluster at these bootstrap servers, with that login; must not block.
            leases_limit: how many may be busy with one cluster at a time, with all logins together.
            clients_limit: how many clients stay open that are not in use; those that are, are open anyhow.
            idle_seconds: a cluster's client is closed when nobody used it for so long.
        """
        self._open_admin = open_admin
        self._leases_limit = leases_limit
        self._clients_limit = clients_limit
        self._idle_seconds = idle_seconds
        self._clusters: dict[str, _Party] = {}
        self._members: dict[tuple[str, Login], _Member] = {}  # the least recently used one first
        self._closings: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, bootstrap_servers: str, login: Login = NO_LOGIN) -> AsyncIterator[KafkaAdmin]:
        """See `KafkaClusters`."""
        loop = asyncio.get_running_loop()
        cluster = self._clusters.setdefault(bootstrap_servers, _Party())
        cluster.check(loop.time())
        if cluster.leases >= self._leases_limit:
            raise KafkaBusy(f"{cluster.leases} resources are busy with {bootstrap_servers} already")
        member = self._members.get((bootstrap_servers, login))
        if member is None:
            member = _Member(admin=self._open_admin(bootstrap_servers, login))
            self._members[bootstrap_servers, login] = member
        member.check(loop.time())
        if member.closing is not None:
            member.closing.cancel()
            member.closing = None
        cluster.leases += 1
        member.leases += 1
        try:
            yield member.admin
            _note_answer(cluster, member)
        except KafkaSilent as error:
            silent = cluster if member.was_answered else member
            silent.silence, silent.silent_until = str(error), loop.time() + PAUSE_SECONDS
            raise
        except (KafkaRefused, KafkaUnavailable):
            _note_answer(cluster, member)  # a no is an answer, and so is trouble, perhaps with one topic alone
            raise
        finally:
            cluster.leases -= 1
            member.leases -= 1
            if member.leases == 0:
                self._rest(bootstrap_servers, login)

    async def close(self) -> None:
        """Closes every client."""
        for member in self._members.values():
            if member.closing is not None:
                member.closing.cancel()
        members, self._members = list(self._members.values()), {}
        await asyncio.gather(*self._closings, *(member.admin.close() for member in members))

    def _rest(self, bootstrap_servers: str, login: Login) -> None:
        """Keeps a client that nobody uses now for the next one, for a while, and as far as there is room."""
        if (bootstrap_servers, login) not in self._members:  # all are closed
            return
        member = self._members.pop((bootstrap_servers, login))
        self._members[bootstrap_servers, login] = member
        loop = asyncio.get_running_loop()
        member.closing = loop.call_later(self._idle_seconds, self._close_idle, bootstrap_servers, login)
        resting = [key for key, each in self._members.items() if each.closing is not None]
        for key in resting[: max(0, len(resting) - self._clients_limit)]:
            self._close_idle(*key)

    def _close_idle(self, bootstrap_servers: str, login: Login) -> None:
        member = self._members.pop((bootstrap_servers, login))
        if member.closing is not None:
            member.closing.cancel()
        if all(servers != bootstrap_servers for servers, _ in self._members):
            del self._clusters[bootstrap_servers]
        task = asyncio.get_running_loop().create_task(member.admin.close())
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)


def _note_answer(cluster: _Party, member: _Member) -> None:
    cluster.silence = member.silence = ""
    member.was_answered = True
