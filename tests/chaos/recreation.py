"""The last act of a run: the topic is deleted and created anew with a longer log, by somebody else, under load.

A client of the old log must never be shown the new one, and never be told that a write is safe that the old one lost.
"""

import asyncio
from pathlib import Path
from typing import Final

from sharedlogkv_replica.core.modes import Reason
from sharedlogkv_replica.core.records import Entry
from tests.chaos.answers import check_answers
from tests.chaos.history import Recorder, operations
from tests.chaos.intentions import LEADER, LEADERLESS
from tests.chaos.log_watch import LogWatch
from tests.chaos.scene import TOPIC_CONFIG, Scene
from tests.chaos.workload import Shared, Workload

_CLIENTS: Final = 5
_COPIES: Final = 3
_GHOST: Final = b"ghost"


async def recreate_the_log(scene: Scene, before: Shared, breaches: list[str], *, folder: Path, seed: int) -> None:
    """Carries it out, and adds to `breaches` what must not be.

    Raises:
        AssertionError: A replica goes on serving.
    """
    with Recorder(folder / "recreation.jsonl") as recorder:
        shared = Shared(before.hosts, recorder, before.log_id, token=before.token, prefix="r")
        abilities = LEADER if scene.has_leader else LEADERLESS
        async with Workload(shared, seed=seed, clients=_CLIENTS, abilities=abilities):
            await scene.until(lambda: len(recorder.writes_ended("ok")) > 50, "acknowledged writes")
            longer = 2 * max(replica.status()["log"]["end"] for replica in scene.replicas)
            scene.say(f"== recreation: {scene.topic} is deleted and created anew, with {longer} records")
            await asyncio.to_thread(_recreate, scene, longer, list(shared.keys))
            for replica in scene.replicas:
                await scene.until(
                    lambda replica=replica: _has_given_up(replica.status()),  # type: ignore[misc] # mypy can't infer it
                    f"{replica.name} to serve no more",
                )
            mark = recorder.mark
            await scene.until(lambda: recorder.mark > mark + 50, "requests to replicas that have given up")
            answered = [event for event in recorder.events[mark:] if getattr(event, "event", "") == "ok"]
        scene.say(f"  all have given up; {len(answered)} answers afterwards")
        history = operations(recorder.events)
        puts = {op.asked.value for op in history if op.asked.kind == "put" and op.written is not None}
        with LogWatch(scene.kafka.bootstrap_servers, scene.topic) as new:
            new.await_position(longer)
            strays = sorted(puts & new.values)
    breaches += shared.surprises + check_answers(history)
    breaches += [f"answered by a replica that had given up its log: {event}" for event in answered]
    breaches += [f"{value!r} was acknowledged, and is in the log that came after" for value in strays]


def _recreate(scene: Scene, records: int, keys: list[str]) -> None:
    scene.kafka.delete_topic(scene.topic)
    scene.kafka.create_topic(scene.topic, config=TOPIC_CONFIG, replication_factor=_COPIES)
    scene.kafka.produce(scene.topic, [Entry(keys[n % len(keys)].encode(), _GHOST) for n in range(records)])


def _has_given_up(status: object) -> bool:
    assert isinstance(status, dict)
    return not status["ready"] and status["reason"] == Reason.LOG_REPLACED.value
