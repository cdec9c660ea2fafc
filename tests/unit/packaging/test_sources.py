"""What must hold for the tree of sources as a whole."""

import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
TEXTS = {".cfg", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".xml", ".yaml", ".yml", ""}
# Classes of one character, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(T[O]DO|FIX[M]E|X[X]X)\b")
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
DEVELOPERS_PATH = re.compile(r"(?<![\w.])/(home|root|Users)/\w")


def sources() -> list[Path]:
    """Return the files that are the project's: no caches, no virtual environment, nothing built."""
    built = re.compile(r"\..*|.*\.egg-info|build|dist")
    roots = [p for p in REPOSITORY.iterdir() if not built.fullmatch(p.name)]
    files = [f for root in roots for f in ([root] if root.is_file() else root.rglob("*")) if f.is_file()]
    return [f for f in [*files, REPOSITORY / ".ci/run"] if f.suffix in TEXTS and "__pycache__" not in f.parts]


def test_the_standard_library_s_operator_is_not_shadowed_by_our_folder() -> None:
    path = [str(REPOSITORY), str(REPOSITORY / "operator"), str(REPOSITORY / "replica")]
    # What a test runner has at the worst: our folders before everything else, and the module not imported yet.
    code = f"""
import sys
sys.path[:0] = {path!r}
sys.modules.pop("operator", None)
import operator
print(operator.__file__, operator.add(1, 2))
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert Path(shown[0]).parent == Path(sysconfig.get_path("stdlib"))
    assert shown[1] == "3"


@pytest.mark.parametrize("folder", ["operator", "replica"])
def test_a_source_root_holds_packages_only(folder: str) -> None:
    assert [p.name for p in (REPOSITORY / folder).glob("*.py")] == []


def test_nothing_is_left_unfinished_or_in_conflict() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): match.group()
        for path in sources()
        for pattern in (UNFINISHED, CONFLICT, DEVELOPERS_PATH)
        if (match := pattern.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
    assert [str(path) for path in sources() if path.suffix == ".py" and path.stem in empty] == []


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((REPOSITORY / "charts/sharedlogkv/Chart.yaml").read_text())
    in_image = re.search(r"^ARG VERSION=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert in_image
    assert {chart["version"], chart["appVersion"], in_image.group(1)} == {version}


def test_the_chart_s_copy_of_the_crd_is_the_source() -> None:
    source = {path.name: path.read_text() for path in (REPOSITORY / "crds").glob("*.yaml")}
    copy = {path.name: path.read_text() for path in (REPOSITORY / "charts/sharedlogkv/files/crds").glob("*.yaml")}
    assert copy == source, "run `make chart-crds`"


def test_every_target_of_the_makefile_has_a_line_of_help() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", text, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z0-9-]*):.*## \w", text, re.MULTILINE))
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE) for name in line.split()}
    assert targets == helped == phony
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ")} == targets


def test_the_constraints_name_every_dependency_in_order() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=~! \[;]", requirement)[0].lower()
        for extra in project["optional-dependencies"].values()
        for requirement in extra
    }
    lines = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0].lower() for line in lines]
    assert all("==" in line for line in lines)
    assert names == sorted(names)
    assert wanted - {name.replace("_", "-") for name in names} == set()


def test_json_files_end_in_a_newline_and_parse() -> None:
    for path in sources():
        if path.suffix == ".json":
            text = path.read_text()
            json.loads(text)
            assert text.endswith("\n"), path
