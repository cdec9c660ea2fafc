"""`make demo-local`: three replicas on this machine and a log in a file: a leader, conditions, what a crash costs.

Needs no Kafka and no Kubernetes; the replicas and their folder go when it ends.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.demo.terminal import DemoFailed, Terminal
from tests.support.replica_program import COMPILED, REPOSITORY, NotCompiled, require_compiled

PROGRAM = ".venv/bin/sharedlogkv-replica"
NAMES = ("ann", "bob", "cal")
FIRST_PORT = 8001
LEADER_SECONDS = 60.0


class Site:
    """The three processes, by name, and where each listens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        secret = folder / "secret"
        secret.write_text(secrets.token_urlsafe(32))

    def port(self, name: str) -> int:
        """The data port of a replica; its admin and peer ports are 100 and 200 above."""
        return FIRST_PORT + NAMES.index(name)

    def command(self, name: str) -> str:
        """How one starts it by hand."""
        port = self.port(name)
        return (
            f"{PROGRAM} --log file://{self._folder}/log --write-mode Leader --name {name} --host 127.0.0.1 "
            f"--http-port {port} --admin-port {port + 100} --peer-port {port + 200} "
            f"--peer-secret-file {self._folder}/secret --drain-seconds 0"
        )

    def start(self, name: str) -> None:
        """Starts a replica; what it logs goes into the folder."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self.command(name).split(), stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(COMPILED)}
            )

    def kill(self, name: str) -> None:
        """Ends a replica as a crash does."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    @property
    def running(self) -> list[str]:
        """The names of those that run."""
        return list(self._processes)

    def stop(self) -> None:
        """Ends all of them."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()


class LocalStory:
    """The steps, in order; each needs those before it."""

    def __init__(self, terminal: Terminal, site: Site) -> None:
        self._terminal = terminal
        self._site = site

    def tell(self) -> None:
        """Play everything.

        Raises:
            DemoFailed: Something was not as promised.
        """
        terminal, site = self._terminal, self._site
        terminal.say("Three replicas share a log in a file. One of them will lead: the log itself decides which.")
        print(f"$ export PYTHONPATH={COMPILED.relative_to(REPOSITORY)}  # what `make compiled` has built")
        for name in NAMES:
            print(f"$ {site.command(name)} &")
            site.start(name)
        leader = self._await_leader()
        follower, other = (name for name in NAMES if name != leader)
        terminal.say(
            f"A write through any replica reaches the leader, {leader}; a linearizable read at any other has it."
        )
        self._put(follower, "colour", "blue")
        self._get(other, "colour", "blue")
        terminal.say("Compare and set: two clients create a key, at different replicas, and one of them is told.")
        statuses = {self._create(name, "lock", name).split()[1] for name in (leader, follower, other)}
        _expect(statuses == {"204", "412"}, f"one create succeeds and two fail, and not {statuses}")
        terminal.say("A request with an id is carried out once, however often it is sent, to whom, and whoever leads.")
        first = self._request(follower)
        terminal.say(f"{leader} crashes. Reads go on; a write waits for the next leader.")
        site.kill(leader)
        self._get(follower, "colour", "blue", consistency="eventual")
        again = self._request(other)
        _expect(first == again, f"the repeated request got the version {again}, and not {first}")
        self._await_leader()
        self._put(other, "colour", "red")
        self._get(follower, "colour", "red")
        terminal.say(f"{leader} comes back, reads the log, and follows.")
        site.start(leader)
        self._await_leader()
        self._get(leader, "colour", "red")

    def _await_leader(self) -> str:
        """The leader's name, once all that run agree on it."""
        deadline = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < deadline:
            names = {self._leader_seen_by(name) for name in self._site.running}
            if len(names) == 1 and None not in names:
                (leader,) = names
                assert leader is not None
                port = self._site.port(self._site.running[0])
                self._terminal.type(f"curl -s localhost:{port + 100}/status | grep -o '\"leader\":{{[^}}]*}}'")
                return leader
            time.sleep(0.1)
        raise DemoFailed(f"the replicas did not agree on a leader within {LEADER_SECONDS:g} s")

    def _leader_seen_by(self, name: str) -> str | None:
        answer = self._terminal.ask(f"curl -s localhost:{self._site.port(name) + 100}/status || true")
        if not answer:  # it does not listen yet
            return None
        status = json.loads(answer)
        leader = status["leader"]["name"]
        return leader if status["ready"] and isinstance(leader, str) else None

    def _put(self, name: str, key: str, value: str) -> None:
        shown = self._terminal.type(
            f"curl -si -X PUT --data-binary {value} localhost:{self._site.port(name)}/v1/kv/{key}"
        )
        _expect(shown.startswith("HTTP/1.1 204"), "a put is answered with 204")

    def _create(self, name: str, key: str, value: str) -> str:
        port = self._site.port(name)
        return self._terminal.type(
            f"curl -si -X PUT -H 'If-None-Match: *' --data-binary {value} localhost:{port}/v1/kv/{key} | head -1"
        )

    def _request(self, name: str) -> str:
        """Sends the one request with an id; returns the version that it is told."""
        port = self._site.port(name)
        shown = self._terminal.type(
            f"curl -si -X PUT -H 'Idempotency-Key: order-7' --data-binary paid localhost:{port}/v1/kv/order"
        )
        _expect(shown.startswith("HTTP/1.1 204"), "a put is answered with 204")
        return next(line.split()[1] for line in shown.splitlines() if line.lower().startswith("etag:"))

    def _get(self, name: str, key: str, value: str, *, consistency: str = "linearizable") -> None:
        port = self._site.port(name)
        got = self._terminal.type(f"curl -s 'localhost:{port}/v1/kv/{key}?consistency={consistency}'").strip()
        _expect(got == value, f"{name} answers {got!r}, and not {value!r}")


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise DemoFailed(what)


@contextlib.contextmanager
def _site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="sharedlogkv-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.stop()


def main() -> int:
    """Play the story; return the exit status."""
    try:
        require_compiled()
        with Terminal(dict(os.environ)) as terminal, _site() as site:
            LocalStory(terminal, site).tell()
    except (DemoFailed, NotCompiled) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
