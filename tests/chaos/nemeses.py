"""What is done to the replicas and the brokers while clients work, each with the evidence that it bit.

A nemesis ends with everything mended and clients' writes going on. It raises `DidNotBite` where nothing was disturbed.
Without a leader (write mode `Leaderless`) those that aim at the leader take any replica instead.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sharedlogkv_replica.core.leadership import Resign
from tests.chaos.epochs import drive_epochs_to_the_end, with_short_expiration
from tests.chaos.history import End
from tests.chaos.replicas import Replica
from tests.chaos.scene import OUTAGE_SECONDS, DidNotBite, Scene

_RACES = 3
_RIVALS = "two were candidates at the same time"
_KILLS = 10


@dataclass(frozen=True, slots=True)
class Nemesis:
    """One kind of trouble.

    Attributes:
        name: For the command line.
        act: Makes it, and mends it.
        in_short_run: It is quick enough for every test run.
        needs_leader: It makes no sense without one.
    """

    name: str
    act: Callable[[Scene], Awaitable[None]]
    in_short_run: bool = True
    needs_leader: bool = False


async def kill_leader(scene: Scene) -> None:
    """SIGKILL: another replica takes over."""
    victim, term, mark = await scene.victim(), scene.watch.term, scene.recorder.mark
    scene.note(f"SIGKILL {victim.name}")
    victim.signal(signal.SIGKILL)
    await scene.until_disturbed(mark, "a kill")
    await scene.until_new_term(term, "a kill")
    victim.start()
    await scene.until_steady()


async def pause_leader(scene: Scene) -> None:
    """SIGSTOP beyond the lease, then SIGCONT in the middle of the next term: it must not act on what it remembers."""
    victim, term, mark = await scene.victim(), scene.watch.term, scene.recorder.mark
    scene.note(f"SIGSTOP {victim.name}")
    victim.signal(signal.SIGSTOP)
    try:
        await scene.until_new_term(term, "a pause")
        await scene.until_disturbed(mark, "a pause")
    finally:
        scene.note(f"SIGCONT {victim.name}")
        victim.signal(signal.SIGCONT)
    await scene.until_steady()


async def kill_before_acknowledgement(scene: Scene) -> None:
    """SIGKILL between append and acknowledgement.

    An in-sync broker is frozen, so that what is appended can't be acknowledged when the leader dies. Some write whose
    outcome nobody was told must then be in the log.
    """
    for _ in range(_KILLS):
        victim, mark = await scene.victim(), scene.recorder.mark
        follower = await _in_sync_follower(scene)
        scene.note(f"SIGSTOP broker {follower}, SIGKILL {victim.name} while appends wait for it")
        await scene.fault("broker-pause", follower)
        try:
            await _until_silent(scene, seconds=0.5)
            victim.signal(signal.SIGKILL)
        finally:
            await scene.fault("broker-resume", follower)
        victim.start()
        await scene.until_steady()
        landed = _landed_in_doubt(scene, mark)
        scene.note(f"  {len(landed)} writes whose outcome nobody was told are in the log")
        if landed:
            return
    raise DidNotBite("no write in doubt is in the log")


async def _until_silent(scene: Scene, *, seconds: float) -> None:
    """Waits until no write was acknowledged for a while."""

    def silent() -> bool:
        ended = scene.recorder.writes_ended("ok", since=max(0, scene.recorder.mark - 500))
        return bool(ended) and time.monotonic_ns() - ended[-1].at > seconds * 1e9

    await scene.until_bitten(silent, "writes that wait", seconds=20)


def _landed_in_doubt(scene: Scene, mark: int) -> list[End]:
    """The writes behind the mark whose outcome nobody knows, and whose value is in the log."""
    written = {value.rpartition("-")[2] for value in scene.watch.values.copy()}  # the number of the operation
    return [end for end in scene.recorder.writes_ended("info", since=mark) if str(end.operation) in written]


async def kill_partition_leader(scene: Scene) -> None:
    """SIGKILL the broker that leads the partition."""
    await _break_partition_leader(scene, "broker-kill", "broker-start")


async def pause_partition_leader(scene: Scene) -> None:
    """SIGSTOP the broker that leads the partition, until another one does."""
    await _break_partition_leader(scene, "broker-pause", "broker-resume")


async def _break_partition_leader(scene: Scene, breaking: str, mending: str) -> None:
    broker = await asyncio.to_thread(scene.kafka.leader, scene.topic)
    mark = scene.recorder.mark
    scene.note(f"{breaking} {broker}, which leads the partition")
    await scene.fault(breaking, str(broker))

    def moved() -> bool:
        return scene.kafka.leader(scene.topic) not in (broker, -1)

    try:
        await scene.until_bitten(moved, "another leader of the partition")
        await scene.until_steady()
    finally:
        await scene.fault(mending, str(broker))
    outage = scene.longest_outage(mark)
    scene.note(f"  writes were down for {outage:.1f} s at most")
    if outage < OUTAGE_SECONDS:
        raise DidNotBite("writes went on as if nothing had happened")
    await scene.until_steady()


async def cut_leader_from_brokers(scene: Scene) -> None:
    """No frame between the leader and any broker: another replica takes over.

    As soon as it has, the network is whole again: what the old leader still has on its way to the log arrives then.
    """
    victim, term, mark = await scene.victim(), scene.watch.term, scene.recorder.mark
    scene.note(f"cut {victim.name} from all brokers")
    for broker in range(1, scene.brokers + 1):
        await scene.fault("cut", victim.host, f"kafka{broker}")
    try:
        if scene.has_leader:
            await scene.until_new_term(term, "a cut")
        else:
            await scene.until_disturbed(mark, "a cut")
    finally:
        await scene.fault("heal", victim.host)
    await scene.until_steady()


async def cut_leader_from_peers(scene: Scene) -> None:
    """No frame between the leader and its peers: it goes on leading through the log, and they can't forward."""
    victim, mark = await scene.victim(), scene.recorder.mark
    scene.note(f"cut {victim.name} from the other replicas")
    for other in _others(scene, victim):
        await scene.fault("cut", victim.host, other.host)
    try:
        await scene.until_disturbed(mark, "a cut")
        if not scene.recorder.writes_ended("ok", since=mark):
            raise DidNotBite("the leader itself took no more writes")
    finally:
        await scene.fault("heal", victim.host)
    await scene.until_steady()


def _others(scene: Scene, one: Replica) -> list[Replica]:
    return [replica for replica in scene.replicas if replica is not one]


async def race(scene: Scene) -> None:
    """The leader dies, and two candidates claim at the same time.

    An in-sync broker is frozen when the lease is about to end: so the first claim is still waiting for its
    acknowledgement when the second one begins.
    """
    for _ in range(_RACES):
        seen = await _race_once(scene)
        scene.note(f"  {seen}")
        if seen == _RIVALS:
            return
    raise DidNotBite("one candidate was always alone")


async def _race_once(scene: Scene) -> str:
    victim, term = await scene.victim(), scene.watch.term
    follower = await _in_sync_follower(scene)
    scene.note(f"SIGKILL {victim.name}, and SIGSTOP broker {follower} before the lease is over")
    victim.signal(signal.SIGKILL)
    await asyncio.sleep(2.0)  # frozen at once, the broker would be given up before there are candidates
    await scene.fault("broker-pause", follower)
    try:
        seen = await scene.until_bitten(lambda: _rivalry(scene, victim, term), "candidates")
    finally:
        await scene.fault("broker-resume", follower)
    await scene.until_new_term(term, "a race")
    victim.start()
    await scene.until_steady()
    return seen


def _rivalry(scene: Scene, victim: Replica, term: int | None) -> str | None:
    if all(other.role == "candidate" for other in _others(scene, victim)):
        return _RIVALS
    return "one candidate was alone" if scene.watch.term != term else None


async def _in_sync_follower(scene: Scene) -> str:
    """A broker without which nothing is acknowledged, until it is given up."""
    leader = await asyncio.to_thread(scene.kafka.leader, scene.topic)
    return str(leader % scene.brokers + 1)


async def roll(scene: Scene) -> None:
    """SIGTERM one after the other, the leader last, each started anew: hand-overs instead of fail-overs."""
    victim, mark, seen = await scene.victim(), scene.recorder.mark, len(scene.watch.seen)
    for replica in [*_others(scene, victim), victim]:
        scene.note(f"SIGTERM {replica.name}, and start it anew")
        await asyncio.to_thread(replica.signal, signal.SIGTERM)
        replica.start()
        await asyncio.to_thread(replica.await_ready)
    await scene.until_steady()
    resigned = [entry for entry in scene.watch.seen[seen:] if isinstance(entry.record, Resign)]
    scene.note(f"  {len(resigned)} resignations; writes were down for {scene.longest_outage(mark):.1f} s at most")
    if scene.has_leader and not resigned:
        raise DidNotBite("no leader resigned")


async def exhaust_epochs(scene: Scene) -> None:
    """All epochs of the leaders' producer id are spent: the next claim comes under another id (rule F1)."""
    before = scene.watch.claims[-1][1].writer
    epochs = await asyncio.to_thread(drive_epochs_to_the_end, scene.kafka.bootstrap_servers, scene.topic)
    scene.note(f"spent {epochs} epochs of producer id {before.producer_id}")
    await kill_leader(scene)
    _require_another_producer_id(scene, before.producer_id)


async def expire_producer_ids(scene: Scene) -> None:
    """The brokers forget the leaders' transactional id and its producer id while nobody claims (rule F2)."""
    before = scene.watch.claims[-1][1].writer
    async with with_short_expiration(scene):
        scene.note("the brokers forget transactional ids and producer ids after seconds; the leader pauses for longer")
        await asyncio.sleep(30.0)  # it is the passing of time itself that makes them forget
        await pause_leader(scene)
    _require_another_producer_id(scene, before.producer_id)
    await scene.until_steady()


def _require_another_producer_id(scene: Scene, than: int) -> None:
    now = scene.watch.claims[-1][1].writer
    if now.producer_id == than:
        raise DidNotBite(f"the leader still writes as {now}")


NEMESES = {
    nemesis.name: nemesis
    for nemesis in (
        Nemesis("kill-leader", kill_leader),
        Nemesis("pause-leader", pause_leader),
        Nemesis("kill-before-acknowledgement", kill_before_acknowledgement),
        Nemesis("race", race, in_short_run=False, needs_leader=True),
        Nemesis("cut-leader-from-brokers", cut_leader_from_brokers),
        Nemesis("kill-partition-leader", kill_partition_leader),
        Nemesis("roll", roll),
        Nemesis("pause-partition-leader", pause_partition_leader, in_short_run=False),
        Nemesis("cut-leader-from-peers", cut_leader_from_peers, in_short_run=False, needs_leader=True),
        Nemesis("exhaust-epochs", exhaust_epochs, in_short_run=False, needs_leader=True),
        Nemesis("expire-producer-ids", expire_producer_ids, in_short_run=False, needs_leader=True),
    )
}
