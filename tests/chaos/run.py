"""One run: replicas, clients and a nemesis on a topic of their own, and then all checks."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.aftermath import Map, check_maps, check_nothing_lost
from tests.chaos.answers import check_answers
from tests.chaos.history import Operation, Recorder, acknowledged, operations
from tests.chaos.intentions import LEADER, LEADERLESS
from tests.chaos.linearizability import check_linearizability
from tests.chaos.log_watch import LogWatch, check_fence
from tests.chaos.nemeses import NEMESES, Nemesis
from tests.chaos.recreation import recreate_the_log
from tests.chaos.replicas import Replica, Setting
from tests.chaos.scene import TOPIC_CONFIG, Scene
from tests.chaos.trouble import Report, make_trouble, order
from tests.chaos.workload import Shared, Workload
from tests.support.kafka import KafkaCluster
from tests.support.replica_program import replica_program
from tests.support.waiting import DeadlinePassed, wait_until

REPLICAS: Final = 3
BROKERS: Final = 3
_COMPACTION_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for.

    Attributes:
        testbed: The program of the testbed, of three brokers and four plain hosts, inside which this process runs.
        bootstrap_servers: Its Kafka.
        folder: For the history, the output of the replicas and drawings; a folder below it is made for the run.
        seed: Decides what clients want and what the nemesis does when.
        seconds: Go on with the nemeses for so long; None: each of the chosen ones once.
        write_mode: `Leader` or `Leaderless`.
        nemeses: The names of those to choose from; empty: all that fit the mode.
        compaction: Have it seen that compaction was at work.
        recreation: Have the topic deleted and created anew at the end.
        clients: How many work at the same time.
        program: The words that start a replica.
        lease_seconds: Of the leader.
        say: Tells the person who waits.
    """

    testbed: str
    bootstrap_servers: str
    folder: Path
    seed: int
    seconds: float | None
    write_mode: str = "Leader"
    nemeses: Sequence[str] = ()
    compaction: bool = True
    recreation: bool = True
    clients: int = 10
    program: Sequence[str] = field(default_factory=replica_program)
    lease_seconds: float = 3.0
    say: Callable[[str], None] = print


def choose(options: Options) -> list[Nemesis]:
    """The nemeses that a run may use.

    Raises:
        KeyError: There is none of a name that was given.
    """
    chosen = [NEMESES[name] for name in options.nemeses] or [
        nemesis for nemesis in NEMESES.values() if nemesis.in_short_run or options.seconds is not None
    ]
    return [nemesis for nemesis in chosen if options.write_mode == "Leader" or not nemesis.needs_leader]


async def run(options: Options) -> Report:
    """Carries out a run.

    Raises:
        KeyError: There is no nemesis of a name that was given.
        AssertionError: The replicas don't come up, or don't recover.
    """
    nemeses = choose(options)
    folder = options.folder / f"{options.write_mode.lower()}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    kafka, topic = KafkaCluster(options.bootstrap_servers), f"chaos-{uuid.uuid4().hex[:12]}"
    log_id = await asyncio.to_thread(kafka.create_topic, topic, config=TOPIC_CONFIG, replication_factor=BROKERS)
    setting = Setting(
        testbed=options.testbed,
        log=f"kafka://{options.bootstrap_servers}/{topic}",
        log_id=log_id,
        write_mode=options.write_mode,
        folder=folder,
        program=options.program,
        lease_seconds=options.lease_seconds,
    )
    replicas = [Replica(setting, number) for number in range(1, REPLICAS + 2)]
    with ExitStack() as stack:
        for replica in replicas:
            stack.callback(replica.end)
        watch = stack.enter_context(LogWatch(options.bootstrap_servers, topic))
        recorder = stack.enter_context(Recorder(folder / "history.jsonl"))
        live, fresh = replicas[:REPLICAS], replicas[REPLICAS]
        shared = Shared({replica.name: replica.address for replica in live}, recorder, log_id)
        scene = Scene(
            testbed=options.testbed,
            kafka=kafka,
            brokers=BROKERS,
            topic=topic,
            replicas=live,
            recorder=recorder,
            watch=watch,
            chance=random.Random(options.seed),
            has_leader=options.write_mode == "Leader",
            say=options.say,
        )
        report = Report(folder)
        await _trouble(options, scene, shared, nemeses, report)
        maps = await asyncio.to_thread(_maps, [*live, fresh], fresh, shared)
        recorder.flush()
        history = operations(recorder.events)
        report.breaches += shared.surprises + check_maps(maps) + _check_history(history, maps[fresh.name], report)
        await asyncio.to_thread(_check_log, scene, history, report)
        if options.compaction:
            await asyncio.to_thread(_check_compaction, scene, report)
        if options.recreation:
            fresh.end()
            await recreate_the_log(scene, shared, report.breaches, folder=folder, seed=options.seed)
    return report


async def _trouble(options: Options, scene: Scene, shared: Shared, nemeses: Sequence[Nemesis], report: Report) -> None:
    """The clients at work and the nemeses one after the other; then every key is read."""
    for replica in scene.replicas:
        replica.start()
    for replica in scene.replicas:
        await asyncio.to_thread(replica.await_ready)
    abilities = LEADER if scene.has_leader else LEADERLESS
    workload = Workload(shared, seed=options.seed, clients=options.clients, abilities=abilities)
    until = None if options.seconds is None else time.monotonic() + options.seconds
    async with workload:
        await scene.until_steady()
        await make_trouble(scene, order(nemeses, scene.chance, until=until), report)
        if report.breaches:
            await scene.fault("heal")
    await workload.read_all()


def _maps(replicas: Sequence[Replica], fresh: Replica, shared: Shared) -> dict[str, Map]:
    """The maps of all replicas, the fresh one started only now, once each has applied all that clients were told of."""
    fresh.start()
    fresh.await_ready()
    token = shared.token or 0
    for replica in replicas:
        wait_until(
            lambda replica=replica: replica.status()["log"]["position"] > token,  # type: ignore[misc] # mypy can't infer it
            what=f"{replica.name} to have applied {token}",
            timeout_seconds=30,
        )
    return {replica.name: replica.items() for replica in replicas}


def _check_history(history: Sequence[Operation], final: Map, report: Report) -> list[str]:
    verdict = check_linearizability(report.folder / "history.jsonl")
    outcomes = [op.outcome for op in history]
    report.facts.append(
        f"{len(history)} operations ({outcomes.count('ok')} answered, {outcomes.count('fail')} failed, "
        f"{outcomes.count('info')} in doubt); {verdict.operations} that had to be explained, on {verdict.keys} keys"
    )
    return [*verdict.failures, *check_answers(history), *check_nothing_lost(history, final)]


def _check_log(scene: Scene, history: Sequence[Operation], report: Report) -> None:
    """The log as it was seen to grow: the fence held, and every acknowledged value is in it."""
    scene.watch.await_position(max((version for version, _ in acknowledged(history)), default=0) + 1)
    report.facts.append(f"{len(scene.watch.claims)} terms")
    report.breaches += check_fence(scene.watch.seen)
    report.breaches += [
        f"{op.asked.value!r} was acknowledged as {version}, and is not in the log"
        for version, op in acknowledged(history)
        if op.asked.kind == "put" and op.asked.value not in scene.watch.values
    ]


def _check_compaction(scene: Scene, report: Report) -> None:
    try:
        dropped = wait_until(
            lambda: _dropped(scene), what="compaction", timeout_seconds=_COMPACTION_SECONDS, every_seconds=2
        )
    except DeadlinePassed:
        report.breaches.append("compaction did not bite: the log holds every record that was ever written")
    else:
        report.facts.append(f"compaction has dropped {dropped} of {scene.watch.records} records")


def _dropped(scene: Scene) -> int:
    with LogWatch(scene.kafka.bootstrap_servers, scene.topic) as again:
        again.await_position(scene.watch.position)
        return scene.watch.records - again.records
