"""What is built is kept, and made again when, and only when, what it was made from has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testbed import build, errors, images
from tests.testbed.build import Step


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setattr(build, "_STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(build, "_SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(build, "_LOCK", tmp_path / "locks/build")
    return tmp_path


def writes(text: str, made: list[str]) -> Callable[[Path], None]:
    def make(new: Path) -> None:
        made.append(text)
        new.write_text(text)

    return make


def test_a_step_is_made_once(folder: Path) -> None:
    made: list[str] = []
    step = Step("one", folder / "one", writes("1", made), ("input",))
    with pytest.raises(errors.TestbedError, match="not built yet, or out of date: one"):
        build.require_built([step])
    build.build([step], running=[])
    build.build([step], running=["other"])
    build.require_built([step])
    assert made == ["1"]


def test_a_step_is_made_again_when_an_input_has_changed(folder: Path) -> None:
    made: list[str] = []
    source = folder / "source"
    source.write_text("old")
    step = Step("one", folder / "one", writes("1", made), (source,))
    build.build([step], running=[])
    source.write_text("new")
    build.build([step], running=[])
    assert made == ["1", "1"]


def test_a_step_is_made_again_after_one_that_it_is_made_from(folder: Path) -> None:
    made: list[str] = []
    first = Step("first", folder / "first", writes("first", made))
    second = Step("second", folder / "second", writes("second", made), after=(first,))
    build.build([first, second], running=[])
    first.output.unlink()
    build.build([first, second], running=[])
    assert made == ["first", "second"] * 2


def test_an_interrupted_step_leaves_nothing_half_made(folder: Path) -> None:
    def interrupted(new: Path) -> None:
        new.mkdir()
        (new / "half").write_text("")
        raise KeyboardInterrupt

    made: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        build.build([Step("one", folder / "one", interrupted)], running=[])
    assert not (folder / "one").exists()
    build.build([Step("one", folder / "one", writes("1", made))], running=[])
    assert (folder / "one").read_text() == "1"


def test_nothing_is_replaced_under_a_running_testbed(folder: Path) -> None:
    made: list[str] = []
    build.build([Step("one", folder / "one", writes("1", made), ("old",))], running=[])
    with pytest.raises(errors.TestbedError, match="demo run on it"):
        build.build([Step("one", folder / "one", writes("2", made), ("new",))], running=["demo"])
    assert (folder / "one").read_text() == "1"


def test_an_image_depends_on_what_its_dockerfile_copies_from_its_folder() -> None:
    dockerfile = """FROM base AS build
COPY pyproject.toml \\
     constraints.txt ./
COPY --chown=1:1 operator/ operator
RUN make
FROM base
COPY --from=build /app /app
"""
    assert images.copied_sources(dockerfile) == ["pyproject.toml", "constraints.txt", "operator"]
