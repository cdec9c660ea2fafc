"""A run proves something only if each of its nemeses disturbed something: the whole run fails where one did not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Resign, Stamp, Term, Writer
from tests.chaos.__main__ import conclude
from tests.chaos.history import End, EndKind, Invocation, Recorder
from tests.chaos.log_watch import Seen
from tests.chaos.nemeses import Nemesis
from tests.chaos.scene import OUTAGE_SECONDS, DidNotBite, Scene
from tests.chaos.trouble import Report, make_trouble, order
from tests.support.bare_scene import bare_scene

pytestmark = pytest.mark.asyncio
Act = Callable[[Scene], None]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene without brokers and replicas, in which clients write and are answered."""
    with Recorder(tmp_path / "history.jsonl") as recorder:
        yield bare_scene(recorder, watch=SimpleNamespace(seen=[]))


def write(scene: Scene, outcome: EndKind = "ok", *, after_seconds: float = 0.0) -> None:
    """A write that ends so, with its answer so much later than that of the one before."""
    recorder = scene.recorder
    ends = recorder.writes_ended("ok", "fail", "info")
    at = (ends[-1].at if ends else time.monotonic_ns()) + round(after_seconds * 1e9)
    number = recorder.next_operation()
    recorder.write(Invocation(operation=number, process=0, at=at, kind="put", key="k", value=str(number)))
    recorder.write(End(operation=number, at=at, event=outcome))


def see(scene: Scene, record: LeadershipRecord) -> None:
    """The log is seen to hold a record."""
    scene.watch.seen.append(Seen(0, 0, record))


CLAIM = Claim(Writer(1, 1), "replica1", "", 3000)
RESIGN = Resign(Term(0), CLAIM, "")


def nemesis(name: str, *acts: Act) -> Nemesis:
    """One that does these things."""

    async def act(scene: Scene) -> None:
        for do in acts:
            do(scene)

    return Nemesis(name, act)


async def run(scene: Scene, *nemeses: Nemesis) -> Report:
    """What comes of a run with these nemeses, of which everything else is good."""
    for outcome in ("ok", "fail", "info", "ok"):  # not theirs
        write(scene, outcome, after_seconds=OUTAGE_SECONDS)
    see(scene, RESIGN)
    report = Report(Path())
    await make_trouble(scene, nemeses, report)
    return report


def told(_: str) -> None:
    """Nobody listens."""


def one_write(scene: Scene) -> None:
    write(scene)


def one_failure(scene: Scene) -> None:
    write(scene, "fail")


def one_doubt(scene: Scene) -> None:
    write(scene, "info")


def an_outage(scene: Scene) -> None:
    write(scene)
    write(scene, after_seconds=OUTAGE_SECONDS)


def a_resignation(scene: Scene) -> None:
    see(scene, RESIGN)


def a_claim(scene: Scene) -> None:
    see(scene, CLAIM)


@pytest.mark.parametrize("act", [one_failure, one_doubt, an_outage, a_resignation, a_claim])
async def test_a_run_is_good_whose_nemesis_has_disturbed_something(scene: Scene, act: Act) -> None:
    report = await run(scene, nemesis("n", act))
    assert report.breaches == []
    assert [fact.partition(":")[0] for fact in report.facts] == ["n"]
    assert conclude(report, say=told) == 0


def nothing(scene: Scene) -> None:
    del scene


def writes_that_go_on(scene: Scene) -> None:
    for _ in range(100):
        write(scene, after_seconds=OUTAGE_SECONDS / 10)


def batches_of_the_same_leader(scene: Scene) -> None:
    for batch in range(10):
        see(scene, Stamp(Term(0), batch, 1))


@pytest.mark.parametrize("act", [nothing, one_write, writes_that_go_on, batches_of_the_same_leader])
async def test_a_run_fails_whose_nemesis_has_disturbed_nothing(
    scene: Scene, act: Act, capsys: pytest.CaptureFixture[str]
) -> None:
    report = await run(scene, nemesis("bites", one_failure), nemesis("idle", act), nemesis("never", one_failure))
    assert conclude(report, say=told) == 1
    printed = capsys.readouterr()
    assert "BREACH: idle did not bite: nobody else came to lead, and no write failed" in printed.err
    assert "no breach" not in printed.out
    assert [fact.partition(":")[0] for fact in report.facts] == ["bites"]


async def test_a_run_fails_whose_nemesis_finds_that_it_missed_though_something_else_was_disturbed(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    def miss(scene: Scene) -> None:
        write(scene, "fail")
        raise DidNotBite("not seen: a new term after a kill")

    report = await run(scene, nemesis("kill", miss))
    assert conclude(report, say=told) == 1
    assert "BREACH: kill did not bite: not seen: a new term after a kill" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [None, 0.0, 60.0])
async def test_a_run_without_a_nemesis_fails(scene: Scene, seconds: float | None) -> None:
    until = None if seconds is None else time.monotonic() + seconds
    report = await run(scene, *order([], scene.chance, until=until))
    assert conclude(report, say=told) == 1
