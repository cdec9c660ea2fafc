"""Asks replicas how they are: the /status document on their admin port."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from sharedlogkv_operator import names
from sharedlogkv_operator.errors import ReplicaUnreachable

REQUEST_SECONDS: Final = 2.0
DOCUMENT_LIMIT_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What a replica tells of itself.

    Attributes:
        is_ready: whether it serves.
        reason: why, or why not, in one word.
        message: the same for people.
        lag_seconds: by how much it is behind the log.
    """

    is_ready: bool
    reason: str
    message: str
    lag_seconds: float


class ReplicaClient(Protocol):
    """Where the reconcile learns how a replica is."""

    async def read_status(self, ip: str) -> ReplicaStatus:
        """What the replica at this address tells.

        Raises:
            ReplicaUnreachable: it did not tell in time, or nothing that we understand.
        """
        ...


def parse_replica_status(document: object) -> ReplicaStatus:
    """The parts of a /status document that the operator needs; others are ignored.

    Raises:
        ReplicaUnreachable: one of them is missing or is not of its type.
    """
    if isinstance(document, Mapping):
        log = document.get("log")
        lag = log.get("lagSeconds") if isinstance(log, Mapping) else None
        match document.get("ready"), document.get("reason"), document.get("message"), lag:
            case bool() as is_ready, str() as reason, str() as message, (int() | float()) as lag_seconds:
                return ReplicaStatus(is_ready, reason, message, float(lag_seconds))
            case _:
                pass
    raise ReplicaUnreachable("its /status is none that this operator understands: is its image of another version?")


class HttpReplicaClient:
    """Asks replicas over HTTP, on one shared session."""

    def __init__(self, *, port: int = names.ADMIN_PORT, request_seconds: float = REQUEST_SECONDS) -> None:
        """Must be made in the event loop.

        Args:
            port: the replicas' admin port.
            request_seconds: how long an answer may take.
        """
        self._port = port
        # Proxies are for the way out of the cluster; pods are inside.
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=request_seconds), trust_env=False)

    async def read_status(self, ip: str) -> ReplicaStatus:
        """See `ReplicaClient`."""
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._session.get(f"http://{host}:{self._port}/status") as response:
                response.raise_for_status()
                document = json.loads(await _read(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ReplicaUnreachable(f"its /status can't be read: {str(error) or type(error).__name__}") from error
        return parse_replica_status(document)

    async def close(self) -> None:
        """Ends the session."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, as long as it is of a sane length: whoever answers at a pod's address may be anybody."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > DOCUMENT_LIMIT_BYTES:
            raise ReplicaUnreachable("its /status is too long to be one")
    return bytes(body)
