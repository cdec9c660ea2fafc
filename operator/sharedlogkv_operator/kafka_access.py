"""Lends the Kafka cluster of a resource: with the secrets that its Secrets hold at that moment.

They are read for each loan, so a rotated Secret is in use from the next pass on, and nobody need touch the resource.
The right to get a Secret by its name is all that this takes: none are listed or watched.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sharedlogkv_operator.errors import KafkaRefused, KafkaUnavailable, KubeRefused
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.kafka_pool import KafkaClusters
from sharedlogkv_operator.kafka_security import Login, build_login
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.spec import Resource

LOAN_SECONDS: Final = 40.0
"""For all requests of a pass: they may each be answered just in time, and the rest of the pass needs some too."""


class KafkaAccess:
    """The way from a resource to its Kafka cluster."""

    def __init__(self, kube: KubeClient, clusters: KafkaClusters) -> None:
        """Holds no state.

        Args:
            kube: where the Secrets are.
            clusters: the Kafka clusters.
        """
        self._kube = kube
        self._clusters = clusters

    @asynccontextmanager
    async def lend(self, resource: Resource) -> AsyncIterator[KafkaAdmin]:
        """The cluster's admin, for as long as the context lasts.

        Raises:
            KafkaRefused: on entering, if a Secret is not as it should be.
            KafkaBusy, KafkaUnavailable: on entering, as `KafkaClusters.lease`.
            KafkaUnavailable: at any moment, if the loan lasts too long.
            KubeUnavailable: on entering, if a Secret can't be read at the moment.
        """
        login = await self._read_login(resource)
        servers = resource.spec.bootstrap_servers
        try:
            async with asyncio.timeout(LOAN_SECONDS), self._clusters.lease(servers, login) as admin:
                yield admin
        except TimeoutError as error:
            text = f"what is asked of {servers} takes longer than {LOAN_SECONDS:g} s altogether"
            raise KafkaUnavailable(text) from error

    async def _read_login(self, resource: Resource) -> Login:
        security = resource.spec.kafka_security
        names = sorted(security.secret_names)
        secrets = await asyncio.gather(*(self._read_secret(resource.identity.namespace, name) for name in names))
        return build_login(security, dict(zip(names, secrets, strict=True)))

    async def _read_secret(self, namespace: str, name: str) -> JsonObject | None:
        try:
            return await self._kube.get_secret(namespace, name)
        except KubeRefused as error:
            raise KafkaRefused(f"the Secret {name} can't be read: {error}", reason=Reason.SECRET_INVALID) from error
