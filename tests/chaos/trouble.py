"""The nemeses one after the other, and the proof that each of them bit.

Each brings its own evidence of what it aimed at, and raises `DidNotBite` where there is none. Beside that, the same is
asked of every one from outside: so one that does nothing, or looks in the wrong place, can't pass for one that bit.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.nemeses import Nemesis
from tests.chaos.scene import DidNotBite, Scene


@dataclass(slots=True)
class Report:
    """What came of a run.

    Attributes:
        folder: Where the history is.
        breaches: Everything that must not be; empty after a good run.
        facts: What was done, in words.
    """

    folder: Path
    breaches: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def order(nemeses: Sequence[Nemesis], chance: random.Random, *, until: float | None) -> Iterator[Nemesis]:
    """The nemeses in rounds of changing order, while the time lasts; None: one round."""
    while nemeses:
        for nemesis in chance.sample(nemeses, len(nemeses)):
            if until is not None and time.monotonic() > until:
                return
            yield nemesis
        if until is None:
            return


async def make_trouble(scene: Scene, nemeses: Iterable[Nemesis], report: Report) -> None:
    """Has each of the nemeses act, up to the first that does not bite: what was broken may still be so, then."""
    acted = 0
    for nemesis in nemeses:
        scene.say(f"== {nemesis.name}")
        try:
            disturbed = await _act(scene, nemesis)
        except DidNotBite as error:
            report.breaches.append(f"{nemesis.name} did not bite: {error}")
            return
        report.facts.append(f"{nemesis.name}: {disturbed}")
        acted += 1
    if not acted:
        report.breaches.append("no nemesis acted: such a run proves nothing")


async def _act(scene: Scene, nemesis: Nemesis) -> str:
    """What the nemesis has disturbed, in words.

    Raises:
        DidNotBite: Nothing.
    """
    mark, seen = scene.recorder.mark, len(scene.watch.seen)
    await nemesis.act(scene)
    disturbed = scene.disturbances(mark, seen)
    if not disturbed:
        raise DidNotBite("nobody else came to lead, and no write failed, was in doubt or had to wait")
    return ", ".join(disturbed)
