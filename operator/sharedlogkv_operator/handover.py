"""Has the leader hand over to the pod that a person names in the annotation `sharedlog.dev/transfer-leader`.

Level-triggered: each pass looks who leads. If it is the pod that was named, or if it can't be, that is told by an event
and the annotation is taken off. Else the leader is asked, and the next pass sees what came of it. After a minute the
wish is given up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.children import Children
from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable, ReplicaUnreachable
from sharedlogkv_operator.events import Deed, Event
from sharedlogkv_operator.pods import PodView
from sharedlogkv_operator.replica_client import ReplicaClient
from sharedlogkv_operator.spec import Identity, Resource, WriteMode
from sharedlogkv_operator.status import Replicas

DEADLINE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who shall lead, and what came of it: the event that ends the wish, None while it is under way."""

    pod: str
    event: Event | None


class Handover:
    """The hand-overs that are wished for."""

    def __init__(self, children: Children, *, replica_client: ReplicaClient, now: Callable[[], datetime]) -> None:
        """Holds nothing but since when a wish is known.

        Args:
            children: knows the secret that replicas share.
            replica_client: asks the leader.
            now: the time, with its zone.
        """
        self._children = children
        self._replica_client = replica_client
        self._now = now
        self._wishes: dict[str, tuple[str, datetime]] = {}  # by uid: the pod; a restart only gives a wish more time

    async def advance(self, resource: Resource, replicas: Replicas | None) -> Wish | None:
        """One step towards what the resource's annotation wishes; None if it wishes nothing."""
        wished, uid = resource.annotations.get(names.TRANSFER_ANNOTATION), resource.identity.uid
        if wished is None:
            self._wishes.pop(uid, None)
            return None
        if self._wishes.get(uid, ("", None))[0] != wished:
            self._wishes[uid] = wished, self._now()
        event, trouble = await self._try(resource, replicas, wished=wished)
        if event is None and self._now() >= self._wishes[uid][1] + DEADLINE:
            event = _fail(wished, f"given up after {int(DEADLINE.total_seconds())} s: {trouble}")
        return Wish(wished, event)

    async def _try(self, resource: Resource, replicas: Replicas | None, *, wished: str) -> tuple[Event | None, str]:
        """The event that ends the wish, or None and what the matter is."""
        if resource.spec.write_mode is not WriteMode.LEADER:
            return _fail(wished, f"writeMode is {resource.spec.write_mode.value}"), ""
        if replicas is None or replicas.leadership is None:
            return None, "the replicas are not in writeMode Leader yet"
        pods = {pod.name: pod for pod in replicas.pods}
        leader = replicas.leadership.leader
        if leader is not None and leader.name == wished:
            return Event(False, Deed.LEADER_TRANSFERRED.value, f"{wished} leads, as wished, term {leader.term}"), ""
        if wished not in pods:
            return _fail(wished, f"there is no such pod, but {', '.join(pods) or 'none at all'}"), ""
        if not pods[wished].is_ready:
            return None, "it is not ready"
        if leader is None or leader.name not in pods:
            return None, "no replica leads that could hand over"
        return None, await self._ask(resource.identity, pods[leader.name], wished=wished)

    async def _ask(self, identity: Identity, leader: PodView, *, wished: str) -> str:
        try:
            secret = await self._children.read_peer_secret(identity)
            if secret is None or leader.ip is None:
                return "the leader can't be asked"
            await self._replica_client.transfer_leadership(leader.ip, to=wished, secret=secret)
        except (KubeUnavailable, KubeRefused, ReplicaUnreachable) as error:
            return str(error)
        return f"{leader.name} has agreed, and {wished} does not lead yet"


def _fail(wished: str, why: str) -> Event:
    return Event(True, Deed.LEADER_TRANSFER_FAILED.value, f"leadership was not handed over to {wished}: {why}")
