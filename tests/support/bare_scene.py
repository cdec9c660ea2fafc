"""A scene of the chaos tests without brokers and replicas."""

import random
from typing import Any

from tests.chaos.history import Recorder
from tests.chaos.scene import Scene


def bare_scene(recorder: Recorder, *, watch: Any = None) -> Scene:
    """One that writes its history to `recorder`; nobody leads but as `watch` says."""
    nothing: Any = None
    return Scene(
        testbed="",
        kafka=nothing,
        brokers=0,
        topic="t",
        replicas=[],
        recorder=recorder,
        watch=watch,
        chance=random.Random(0),
        has_leader=True,
        say=lambda _: None,
    )
