"""The program as a process: its start, its exit statuses, its graceful stop under load."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.replica_program import replica_program

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("SLKV_REPLICA_")}


@dataclass(frozen=True)
class Running:
    """A replica on loopback."""

    process: "subprocess.Popen[str]"
    http_port: int
    admin_port: int
    lines: list[dict[str, object]]

    def get(self, path: str, *, admin: bool = False) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.admin_port if admin else self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextmanager
def running(*options: str) -> Iterator[Running]:
    ports = ("--host", "127.0.0.1", "--http-port", "0", "--admin-port", "0")
    command = [*replica_program(), "--log", "memory:", *ports, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        lines: list[dict[str, object]] = []
        try:
            while not lines or lines[-1]["message"] != "replay done":
                lines.append(json.loads(process.stdout.readline()))
            started = next(line for line in lines if line["message"] == "replica started")
            yield Running(process, int(str(started["http_port"])), int(str(started["admin_port"])), lines)
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "not within 10 s"


def put(port: int, key: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/kv/{key}", data=b"v", method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_serves_and_tells_its_standing() -> None:
    with running("--name", "me") as replica:
        assert [line["compiled"] for line in replica.lines if line["message"] == "replica started"] == [True]
        assert put(replica.http_port, "k") == 204
        assert replica.get("/v1/kv/k") == (200, b"v")
        assert replica.get("/livez", admin=True) == (200, b"ok\n")
        assert replica.get("/readyz", admin=True) == (200, b"ok\n")
        status = json.loads(replica.get("/status", admin=True)[1])
        assert (status["name"], status["ready"], status["reason"]) == ("me", True, "Serving")
        assert b"slkv_replica_keys 1.0" in replica.get("/metrics", admin=True)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_until_load_balancers_have_learned_of_it_every_request_is_served(
    number: signal.Signals,
) -> None:
    with running("--drain-seconds", "1") as replica:
        answers: list[int] = []
        routed_elsewhere = threading.Event()

        def load() -> None:
            while not routed_elsewhere.is_set():
                answers.append(put(replica.http_port, f"k{len(answers)}"))

        client = threading.Thread(target=load)
        client.start()
        wait_for(lambda: len(answers) > 20)
        replica.process.send_signal(number)
        wait_for(lambda: replica.get("/readyz", admin=True)[0] == 503)
        served_while_ready = len(answers)
        wait_for(lambda: len(answers) > served_while_ready + 20)
        routed_elsewhere.set()
        client.join(timeout=10)
        assert set(answers) == {204}
        assert replica.process.wait(timeout=10) == 0


def test_a_second_signal_ends_the_waiting() -> None:
    with running("--drain-seconds", "600", "--stop-seconds", "601") as replica:
        replica.process.send_signal(signal.SIGTERM)
        wait_for(lambda: replica.get("/readyz", admin=True)[0] == 503)
        replica.process.send_signal(signal.SIGTERM)
        assert replica.process.wait(timeout=10) == 0


def test_a_configuration_that_can_t_be_used_ends_it_with_status_2_and_every_reason() -> None:
    command = [*replica_program(), "--log", "ftp://x", "--http-port", "x", "--write-mode", "Both"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=30, check=False)
    assert done.returncode == 2
    assert "--http-port" in done.stderr
    assert "--write-mode" in done.stderr
    command = [*replica_program(), "--log", "ftp://x"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=30, check=False)
    assert done.returncode == 2
    assert "ftp://x" in done.stderr


def test_a_port_in_use_ends_it_with_status_1_and_the_reason() -> None:
    with running() as replica:
        command = [*replica_program(), "--log", "memory:", "--host", "127.0.0.1", "--http-port", str(replica.http_port)]
        done = subprocess.run(
            [*command, "--admin-port", "0"], capture_output=True, text=True, env=ENVIRONMENT, timeout=30, check=False
        )
        assert done.returncode == 1
        assert "address already in use" in done.stdout


def test_a_writer_that_dies_ends_the_process_so_that_it_is_restarted() -> None:
    dying = (
        "from sharedlogkv_replica import __main__ as program\n"
        "from sharedlogkv_replica.engine.lead import Lead\n"
        "async def die(*_):\n"
        "    raise RuntimeError('a bug')\n"
        "Lead._commit = die\n"
        "program.main()\n"
    )
    ports = ["--host", "127.0.0.1", "--http-port", "0", "--admin-port", "0"]
    command = [sys.executable, "-c", dying, "--log", "memory:", "--write-mode", "Leader", *ports]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    assert ended.returncode == 1
    assert "a part of the replica failed, and the replica ends" in ended.stdout
