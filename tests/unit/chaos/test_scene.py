"""Evidence: a nemesis that disturbed nothing must not pass for one that did."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.history import End, Invocation, Recorder
from tests.chaos.scene import DidNotBite, Scene
from tests.support.bare_scene import bare_scene

pytestmark = pytest.mark.asyncio
SHORT_SECONDS = 0.05


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A history in which nothing happens."""
    with Recorder(tmp_path / "history.jsonl") as recorder:
        yield recorder


@pytest.fixture
def scene(recorder: Recorder) -> Scene:
    """A scene without brokers and replicas."""
    return bare_scene(recorder)


async def test_where_the_evidence_does_not_come_the_nemesis_did_not_bite(scene: Scene) -> None:
    with pytest.raises(DidNotBite, match="disturbed writes"):
        await scene.until_bitten(lambda: 0, "disturbed writes", seconds=SHORT_SECONDS)


async def test_evidence_is_handed_on(scene: Scene) -> None:
    assert await scene.until_bitten(lambda: "two were candidates", "candidates", seconds=SHORT_SECONDS) == (
        "two were candidates"
    )


async def test_an_outage_begins_with_the_last_acknowledgement_before_the_mark(scene: Scene, recorder: Recorder) -> None:
    def acknowledge(operation: int, *, at_seconds: float) -> None:
        at = int(at_seconds * 1e9)
        recorder.write(Invocation(operation=operation, process=1, at=at, kind="put", key="k"))
        recorder.write(End(operation=operation, at=at, event="ok"))

    acknowledge(1, at_seconds=0)
    acknowledge(2, at_seconds=9)
    mark = recorder.mark
    assert scene.longest_outage(mark) == 0
    acknowledge(3, at_seconds=12)
    acknowledge(4, at_seconds=14)
    assert scene.longest_outage(mark) == 3
    assert scene.longest_outage(0) == 9
