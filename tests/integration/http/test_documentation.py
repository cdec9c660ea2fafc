"""docs/http-api.md holds: its examples print what it says, and it explains every problem."""

import re
import subprocess
from pathlib import Path

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.server.limits import Limits
from sharedlogkv_replica.server.problems import PROBLEMS
from tests.support.http import LOOPBACK, serving_in_a_thread

DOCUMENT = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()
SESSIONS = re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
MARK = "--- end of command ---"


def comparable(output: str) -> list[str]:
    """The lines of an output without what differs from run to run: tokens; versions, as a leader writes too; lags."""
    text = re.sub(r"[\w-]{1,64}:0:\d+", "TOKEN", output.replace("\r", ""))
    text = re.sub(r'(ETag: "|"version":|has version |SLKV-Lag-Ms: )\d+', r"\1N", text)
    text = re.sub(
        r"^Content-Length: \d{3}$", "Content-Length: N", text, flags=re.MULTILINE
    )  # of a problem: has a version
    lines = text.strip("\n").split("\n")
    return [line for line in lines if not line.startswith("Date: ")]


def test_every_example_prints_what_the_document_says() -> None:
    commands = []
    expected = []
    for session in SESSIONS:
        for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            commands.append(command)
            expected.append(comparable(output))
    assert len(commands) > 15
    script = "".join(f"{command}\nprintf '\\n%s\\n' '{MARK}'\n" for command in commands)
    with serving_in_a_thread(write_mode=WriteMode.LEADER) as service:
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={"URL": f"http://{LOOPBACK}:{service.server.port}", "PATH": "/usr/local/bin:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    printed = [comparable(output) for output in run.stdout.split(f"\n{MARK}\n")[:-1]]
    for command, should, does in zip(commands, expected, printed, strict=True):
        assert does == should, command


def test_every_problem_is_explained_with_its_status() -> None:
    rows = dict(re.findall(r"^\| \[`([a-z-]+)`\]\(#\1\) \| (\d+) \|", DOCUMENT, re.MULTILINE))
    assert rows == {slug: str(kind.status) for slug, kind in PROBLEMS.items()}
    assert re.findall(r"^### ([a-z-]+)$", DOCUMENT, re.MULTILINE) == sorted(PROBLEMS)


def test_every_link_within_the_document_leads_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", DOCUMENT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", DOCUMENT)) <= anchors


def test_the_limits_are_those_of_the_server() -> None:
    limits = Limits()
    for row in (
        f"| request target | {limits.target_bytes >> 10} KiB |",
        f"| header fields | {limits.head_bytes >> 10} KiB |",
        f"| time for the header | {limits.head_timeout_seconds:g} s |",
        f"| time for the body | {limits.body_timeout_seconds:g} s |",
        f"| time between requests | {limits.idle_timeout_seconds:g} s |",
        f"| time in which nothing of an answer is taken | {limits.stall_timeout_seconds:g} s |",
        f"| connections of a replica | {limits.connections:,} by default",
        f"| bodies being received by a replica | {limits.bodies_bytes >> 20} MiB |",
    ):
        assert row in DOCUMENT
