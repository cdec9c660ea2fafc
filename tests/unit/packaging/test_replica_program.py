"""The compiled replica: which modules it has, what its building needs, and that one of other sources is not run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.replica_program import DIGEST, NotCompiled, digest_of_sources, require_compiled

REPOSITORY = Path(__file__).parents[3]


def compiled_modules() -> list[str]:
    """What setup.py names, read and not run: it would build."""
    [value] = [
        statement.value
        for statement in ast.parse((REPOSITORY / "setup.py").read_text()).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "COMPILED"
    ]
    return list(ast.literal_eval(value))


def test_every_module_that_is_to_be_compiled_is_there_once() -> None:
    modules = compiled_modules()
    assert [name for name in modules if not (REPOSITORY / f"replica/sharedlogkv_replica/{name}.py").is_file()] == []
    assert modules == sorted(set(modules))


@pytest.mark.parametrize("name", compiled_modules())
def test_no_compiled_module_has_a_coroutine(name: str) -> None:
    tree = ast.parse((REPOSITORY / f"replica/sharedlogkv_replica/{name}.py").read_text())
    assert [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)] == []


@pytest.mark.parametrize("name", compiled_modules())
def test_no_compiled_generator_waits_while_an_error_is_handled(name: str) -> None:
    tree = ast.parse((REPOSITORY / f"replica/sharedlogkv_replica/{name}.py").read_text())
    handling = [
        part for node in ast.walk(tree) if isinstance(node, ast.Try) for part in (*node.handlers, *node.finalbody)
    ]
    waits = [node.lineno for part in handling for node in ast.walk(part) if isinstance(node, ast.Yield | ast.YieldFrom)]
    assert waits == []


def test_a_compiler_that_is_not_there_is_named_as_it_was_asked_for() -> None:
    command, environment = (
        [sys.executable, "setup.py", "build_ext"],
        {"SHAREDLOGKV_COMPILE": "1", "CC": "no-such-cc -O2"},
    )
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no C compiler no-such-cc;" in done.stderr


def test_the_compiled_replica_of_other_sources_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(NotCompiled, match="make compiled"):
        require_compiled(tmp_path)
    (tmp_path / DIGEST).write_text("of other sources")
    with pytest.raises(NotCompiled, match="make compiled"):
        require_compiled(tmp_path)
    (tmp_path / DIGEST).write_text(digest_of_sources())
    require_compiled(tmp_path)
