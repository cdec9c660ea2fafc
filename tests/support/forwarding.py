"""A forwarder among scripted leaders, and what tests of it have in common."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sharedlogkv_replica.core.writes import RequestId, Write
from sharedlogkv_replica.engine.peers import ForwardLimits, PeerLimits
from tests.support.eventually import eventually
from tests.support.peers import Cluster, ScriptedLeader, forwarding_cluster

A, B = "a:8081", "b:8081"


@asynccontextmanager
async def cluster(
    limits: ForwardLimits | None = None, *, peer_limits: PeerLimits | None = None
) -> AsyncIterator[Cluster]:
    """The forwarder of one replica, without leaders yet; closed afterwards."""
    made = forwarding_cluster(limits=limits, peer_limits=peer_limits)
    try:
        yield made
    finally:
        await made.forwarder.close()


def put(n: int = 0, *, request: str | None = None) -> Write:
    """A small write of the key of this number, with a request id or without."""
    return Write(b"key-%d" % n, b"value", request=None if request is None else RequestId(request, "print"))


async def sent(leader: ScriptedLeader, count: int = 1) -> None:
    """Returns once the leader has kept so many writes."""
    await eventually(lambda: len(leader.kept) == count, what=f"{count} writes at the leader")
