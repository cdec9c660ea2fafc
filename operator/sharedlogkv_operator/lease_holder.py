"""Holds the Lease while this operator works, so that of several replicas one does, and says when it was lost.

The order of a life: `acquire`, then `hold` beside the work, then, once nothing works any more, `release`. An operator
that has lost the Lease ends its process: what it still had in mind may be another's by now.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable, OperatorError
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.lease import (
    RENEW_SECONDS,
    RETRY_SECONDS,
    LeaseView,
    build_lease,
    may_hold,
    view_lease,
)
from sharedlogkv_operator.logs import log


class LeaseLost(OperatorError):
    """Another operator may be at work: this one must end at once."""


class LeaseClient(Protocol):
    """What is asked of Kubernetes here. Calls raise `KubeUnavailable` or `KubeRefused` where they fail."""

    async def get_lease(self, namespace: str, name: str) -> JsonObject | None:
        """The Lease; None when there is none."""
        ...

    async def write_lease(self, manifest: JsonObject) -> JsonObject:
        """Replaces the version that the manifest names, or creates it where it names none; the Lease after it.

        Raises:
            KubeUnavailable: somebody was faster.
        """
        ...


class LeaseHolder:
    """This operator's part in the choice."""

    def __init__(self, client: LeaseClient, *, namespace: str, name: str, me: str, now: Callable[[], datetime]) -> None:
        """Must be made in the event loop; asks for nothing yet.

        Args:
            client: where the Lease is.
            namespace: its namespace.
            name: its name.
            me: an identity that no other process has.
            now: the time, with its zone; for people who look at the Lease.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._me = me
        self._now = now
        self._clock = asyncio.get_running_loop().time
        self._seen: LeaseView | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._ticked_at = self._clock()
        self.is_leading = False

    @property
    def is_standing_by(self) -> bool:
        """Whether another holds the Lease and we are ready to follow it."""
        return not self.is_leading and self._seen is not None

    @property
    def tick_age_seconds(self) -> float:
        """How long ago it was last tried to renew or take the Lease."""
        return self._clock() - self._ticked_at

    async def acquire(self) -> None:
        """Returns once the Lease is ours; waits for as long as that takes."""
        while not await self._try():  # noqa: ASYNC110 -- the API server is asked, and tells nothing by itself
            await asyncio.sleep(RETRY_SECONDS)
        self.is_leading = True
        log.info("leading", lease=f"{self._namespace}/{self._name}", identity=self._me)

    async def hold(self) -> None:
        """Renews the Lease, for ever.

        Raises:
            LeaseLost: it could not be renewed in time, or is another's.
        """
        try:
            while True:
                async with asyncio.timeout_at(self._renewed_at + RENEW_SECONDS):
                    await asyncio.sleep(RETRY_SECONDS)
                    while not await self._try():
                        if self._seen is not None and self._seen.holder not in ("", self._me):
                            raise LeaseLost(f"the Lease is {self._seen.holder}'s now")
                        await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise LeaseLost(f"the Lease could not be renewed within {RENEW_SECONDS:g} s") from None
        finally:
            self.is_leading = False

    async def release(self) -> None:
        """Lets another take it at once. Call it when nothing works any more, and `hold` has ended."""
        if self._seen is None or self._seen.holder != self._me:
            return
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._write(self._seen, "")
        except (KubeUnavailable, KubeRefused, TimeoutError) as error:
            log.warning("the Lease was not released, and lapses by itself", error=str(error))

    async def _try(self) -> bool:
        """Creates, renews or takes the Lease, if it may be ours; whether it now is."""
        self._ticked_at = began = self._clock()
        try:
            body = await self._client.get_lease(self._namespace, self._name)
            found = None if body is None else view_lease(body)
            self._note(found)
            if not may_hold(found, self._me, unchanged_seconds=self._clock() - self._seen_at):
                return False
            await self._write(found, self._me)
        except (KubeUnavailable, KubeRefused) as error:
            log.warning("the Lease was not renewed or taken", error=str(error))
            return False
        self._renewed_at = began  # others count from when they see it, which is later
        return True

    async def _write(self, found: LeaseView | None, holder: str) -> None:
        manifest = build_lease(found, holder, namespace=self._namespace, name=self._name, now=self._now())
        self._note(view_lease(await self._client.write_lease(manifest)))

    def _note(self, found: LeaseView | None) -> None:
        if found != self._seen:
            self._seen, self._seen_at = found, self._clock()
