"""Asks replicas how they are, and the leader to hand over: on their admin port."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

import aiohttp

from sharedlogkv_operator import names
from sharedlogkv_operator.autoscaler.observation import Sample
from sharedlogkv_operator.errors import ReplicaUnreachable
from sharedlogkv_operator.leadership import LeaderReport

REQUEST_SECONDS: Final = 2.0
DOCUMENT_LIMIT_BYTES: Final = 64 * 1024
LEAST_CPU_LIMIT: Final = 0.001


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What a replica tells of itself.

    Attributes:
        is_ready: whether it serves.
        reason: why, or why not, in one word.
        message: the same for people.
        lag_seconds: by how much it is behind the log.
        leadership: what it tells of the leader; None where it tells nothing (an earlier version).
        foreign_records: how many records it has seen that no leader wrote.
        load: what it tells of its work; None where it tells nothing of it.
    """

    is_ready: bool
    reason: str
    message: str
    lag_seconds: float
    leadership: LeaderReport | None = None
    foreign_records: int = 0
    load: Sample | None = None


class ReplicaClient(Protocol):
    """Where the reconcile learns how a replica is, and may ask a leader to hand over."""

    async def read_status(self, ip: str) -> ReplicaStatus:
        """What the replica at this address tells.

        Raises:
            ReplicaUnreachable: it did not tell in time, or nothing that we understand.
        """
        ...

    async def transfer_leadership(self, ip: str, *, to: str, secret: str) -> None:
        """Has the leader at this address hand over to the replica named `to`; `secret` is what replicas share.

        Raises:
            ReplicaUnreachable: it did not, for the reason that the text gives; or it gave no answer, and may have.
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
                return ReplicaStatus(
                    is_ready,
                    reason,
                    message,
                    float(lag_seconds),
                    leadership=_parse_leadership(document.get("leader")),
                    foreign_records=_parse_count(document.get("foreignRecords")),
                    load=_parse_load(document.get("load"), log),
                )
            case _:
                pass
    raise ReplicaUnreachable("its /status is none that this operator understands: is its image of another version?")


def _parse_leadership(leader: object) -> LeaderReport | None:
    match leader:
        case {"role": str() as role, "term": term, "name": name, "leaseHolds": bool() as holds, "refusal": refusal}:
            return LeaderReport(
                is_leader=role == "leader" and holds,
                name=name if isinstance(name, str) and name else None,
                term=term if isinstance(term, int) else None,
                refusal=refusal if isinstance(refusal, str) else "",
            )
        case _:
            return None


def _parse_load(load: object, log: object) -> Sample | None:
    """The replica's work, of which a part is in `load` and a part in `log`; None if any of it is missing."""
    if not isinstance(load, Mapping) or not isinstance(log, Mapping):
        return None
    try:
        return Sample(
            uptime_seconds=float(load["uptimeSeconds"]),
            position=int(log["position"]),
            end=int(log["end"]),
            lag_seconds=float(log["lagSeconds"]),
            apply_cpu_seconds=float(load["applyCpuSeconds"]),
            applied_records=int(load["appliedRecords"]),
            applied_bytes=int(load["appliedBytes"]),
            serve_cpu_seconds=float(load["serveCpuSeconds"]),
            served_requests=int(load["servedRequests"]),
            shed_requests=int(load["shedRequests"]),
            cpu_limit=max(float(load["cpuLimit"]), LEAST_CPU_LIMIT),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _parse_count(value: object) -> int:
    return value if isinstance(value, int) else 0


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
        try:
            async with self._session.get(f"{self._locate(ip)}/status") as response:
                response.raise_for_status()
                document = json.loads(await _read(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ReplicaUnreachable(f"its /status can't be read: {str(error) or type(error).__name__}") from error
        return parse_replica_status(document)

    async def transfer_leadership(self, ip: str, *, to: str, secret: str) -> None:
        """See `ReplicaClient`."""
        url, headers = f"{self._locate(ip)}/leader/transfer", {"Authorization": f"Bearer {secret}"}
        try:
            async with self._session.post(url, params={"to": to}, headers=headers) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    text = (await _read(response)).decode(errors="replace")
                    raise ReplicaUnreachable(f"the leader says {response.status}: {text}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ReplicaUnreachable(f"no answer from the leader: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Ends the session."""
        await self._session.close()

    def _locate(self, ip: str) -> str:
        host = f"[{ip}]" if ":" in ip else ip
        return f"http://{host}:{self._port}"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, as long as it is of a sane length: whoever answers at a pod's address may be anybody."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > DOCUMENT_LIMIT_BYTES:
            raise ReplicaUnreachable("its /status is too long to be one")
    return bytes(body)
