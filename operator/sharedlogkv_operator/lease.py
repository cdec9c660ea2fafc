"""Who of several operators works: what to do about the Lease that says so. Pure.

| the Lease | then |
|---|---|
| is not there | create it, as ours |
| is ours | renew it |
| is nobody's: its last holder has released it | take it |
| is another's, and has changed within its duration | wait |
| is another's, and has not changed for its duration | take it: its holder is gone |

Invariants:
1. Nobody's clock is trusted: a Lease is held for its duration from when *we* saw it change, whatever times it bears.
2. Whatever is written replaces the version that was judged, so that of two takers one fails.

Source: client-go, `tools/leaderelection/leaderelection.go`; written anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sharedlogkv_operator.json_fields import JsonObject

DURATION_SECONDS: Final = 15
"""How long others leave a Lease alone that is not renewed."""

RENEW_SECONDS: Final = 10.0
"""A holder that could not renew for so long stops, well before anybody else may begin."""

RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A Lease as the API server shows it.

    Attributes:
        holder: whose it is; empty when nobody's.
        duration_seconds: how long it is to be respected without a change.
        transitions: how often it changed hands.
        acquired: since when it is the holder's, as text; empty when nobody's.
        version: changes with every write.
    """

    holder: str
    duration_seconds: float
    transitions: int
    acquired: str
    version: str


def view_lease(body: JsonObject) -> LeaseView:
    """The standing of the Lease `body`; what somebody else has left out or garbled counts as nobody's."""
    spec, metadata = body.get("spec"), body.get("metadata")
    assert isinstance(metadata, Mapping), "every object has metadata"
    fields = spec if isinstance(spec, Mapping) else {}
    duration, transitions = fields.get("leaseDurationSeconds"), fields.get("leaseTransitions")
    return LeaseView(
        holder=str(fields.get("holderIdentity") or ""),
        duration_seconds=duration if isinstance(duration, int) else DURATION_SECONDS,
        transitions=transitions if isinstance(transitions, int) else 0,
        acquired=str(fields.get("acquireTime") or ""),
        version=str(metadata["resourceVersion"]),
    )


def may_hold(lease: LeaseView | None, me: str, *, unchanged_seconds: float) -> bool:
    """Whether to write the Lease as ours: to create, renew or take it.

    Args:
        lease: the Lease; None when there is none.
        me: our identity.
        unchanged_seconds: how long we have seen it in this version, by a clock that only rises.
    """
    if lease is None or lease.holder in ("", me):
        return True
    return unchanged_seconds >= lease.duration_seconds


def build_lease(lease: LeaseView | None, holder: str, *, namespace: str, name: str, now: datetime) -> dict[str, object]:
    """The Lease as the holder's, to replace the version `lease` (None: to create it); nobody's with an empty holder."""
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    is_kept = lease is not None and lease.holder == holder
    metadata: dict[str, object] = {"namespace": namespace, "name": name}
    if lease is not None:
        metadata["resourceVersion"] = lease.version
    spec: dict[str, object] = {
        "holderIdentity": holder,
        "leaseDurationSeconds": DURATION_SECONDS if holder else 1,
        "acquireTime": lease.acquired if lease is not None and is_kept and lease.acquired else moment,
        "renewTime": moment,
        "leaseTransitions": 0 if lease is None else lease.transitions + (holder not in ("", lease.holder)),
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
