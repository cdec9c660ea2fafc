"""A testbed comes up, stays, goes, and comes up again after anything that can happen to it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import CommandFailed, run
from tests.testbed import layout
from tests.testbed.verify.bed import Bed, traces, wait_for

SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")


def read_sysctls() -> list[str]:
    return [Path("/proc/sys", name).read_text() for name in SYSCTLS]


@pytest.mark.parametrize(("count", "goal_seconds"), [(1, 10), (3, 30)])
def test_a_testbed_is_up_soon_and_leaves_nothing_behind(other: Bed, count: int, goal_seconds: int) -> None:
    before, begin = read_sysctls(), time.monotonic()
    other.up(nodes=count, brokers=count)
    seconds = time.monotonic() - begin
    print(f"{count} nodes and {count} brokers after {seconds:.1f} s; the goal on an idle machine is {goal_seconds} s")
    assert len(json.loads(other.kubectl("get", "nodes", "-o", "json"))["items"]) == count
    other.call("status")
    other.call("down")
    assert traces(other.instance) == []
    assert read_sysctls() == before
    assert seconds < 3 * goal_seconds, "also on a machine that does other work"


def test_an_api_server_and_a_broker_do_without_nodes(other: Bed) -> None:
    other.up(nodes=0, brokers=1)
    other.in_client("create", "without-nodes", "1")
    other.kubectl("create", "configmap", "here")


def test_nodes_do_without_brokers(other: Bed) -> None:
    other.up(nodes=1, brokers=0)
    assert "SLKV_KAFKA" not in other.sh("env")


def test_a_whole_testbed_is_left_as_it_is_and_another_size_is_refused(other: Bed) -> None:
    other.up(nodes=0, brokers=0)
    before = other.call("status")
    assert "already up" in other.up(nodes=0, brokers=0)
    with pytest.raises(CommandFailed, match="0 nodes and 0 brokers: run `testbed down` first"):
        other.up(nodes=0, brokers=1)
    assert other.call("status").splitlines()[0] == before.splitlines()[0]


def test_up_works_after_an_up_that_was_killed(other: Bed) -> None:
    with other.started("up", "--nodes", "1", "--brokers", "1") as up:
        wait_for(lambda: "kube-apiserver ready" in up.stdout.readline(), "half an up") if up.stdout else None
        up.send_signal(signal.SIGKILL)
    assert traces(other.instance)
    assert "clearing away" in other.up(nodes=1, brokers=1)
    other.call("status")


def test_up_works_after_a_process_has_died(other: Bed) -> None:
    other.up(nodes=0, brokers=1)
    other.fault("broker-kill", "1")
    with pytest.raises(CommandFailed, match="dead"):
        other.call("status")
    assert "clearing away" in other.up(nodes=0, brokers=1)
    other.in_client("create", "after-a-crash", "1")


def test_up_works_after_every_process_has_died(other: Bed) -> None:
    other.up(nodes=1, brokers=1)
    for group in Path("/sys/fs/cgroup/pids", other.instance.cgroup).rglob("cgroup.procs"):
        for pid in group.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    assert "clearing away" in other.up(nodes=1, brokers=1)


def test_two_instances_stand_side_by_side_and_one_goes_alone(bed: Bed, other: Bed) -> None:
    other.up(nodes=1, brokers=1)
    other.in_client("create", "mine", "1")
    bed.kubectl("create", "configmap", "mine")
    assert "mine" not in other.kubectl("get", "configmaps")
    other.call("down")
    assert traces(other.instance) == []
    bed.call("status")
    assert f"unreachable {layout.WHOLE_NET}" in run("ip", "route")


def test_down_of_what_is_not_up_is_no_error(other: Bed) -> None:
    assert "not up" in other.call("down")


def test_no_packet_finds_a_way_out(bed: Bed) -> None:
    for host in ("client", "cp", "node1", "kafka1"):
        routes = run("nsenter", f"--net=/run/netns/{bed.instance.namespace(host)}", "ip", "route")
        assert "default" not in routes
    with pytest.raises(CommandFailed, match="No route to host"):
        run("ip", "route", "get", layout.CLIENT_IP)


def test_a_command_has_its_input_its_output_and_its_exit_status(bed: Bed) -> None:
    assert bed.sh("sh", "-c", "read line; echo got $line", stdin="words\n") == "got words\n"
    with pytest.raises(CommandFailed, match="exit status 7"):
        bed.sh("sh", "-c", "exit 7")


def test_a_command_gets_the_signals_that_the_program_gets(bed: Bed) -> None:
    with bed.started(
        "sh", "sh", "-c", "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    ) as sh:
        assert sh.stdout
        assert sh.stdout.readline() == "ready\n"
        sh.send_signal(signal.SIGINT)
        assert sh.stdout.readline() == "interrupted\n"
        assert sh.wait(5) == 3


def test_a_command_learns_where_everything_is(bed: Bed) -> None:
    script = (
        "kubectl version -o json >/dev/null && helm version && $TESTBED status && echo $SLKV_KAFKA $SLKV_KAFKA_SASL"
    )
    assert "kafka.kafka.svc.cluster.local:9092 kafka.kafka.svc.cluster.local:9093" in bed.sh("sh", "-c", script)


def test_testbeds_are_not_started_or_stopped_from_inside_one(bed: Bed) -> None:
    with pytest.raises(CommandFailed, match="from outside"):
        bed.sh("sh", "-c", "$TESTBED --name inner up")
    with pytest.raises(CommandFailed, match="from outside"):
        bed.sh("sh", "-c", "$TESTBED down")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["setpriv", "--reuid", "65534", "--clear-groups"], "it takes root"),
        (["setpriv", "--bounding-set", "-sys_admin"], "lacks CAP_SYS_ADMIN"),
        (
            [
                "unshare",
                "-m",
                "sh",
                "-c",
                'umount -R /sys/fs/cgroup && mount -t cgroup2 c /sys/fs/cgroup && exec "$@"',
                "-",
            ],
            "version 2 alone",
        ),
    ],
)
def test_a_machine_that_cannot_carry_it_is_told_at_once_and_what_to_do(words: list[str], reason: str) -> None:
    with pytest.raises(CommandFailed, match=reason) as refusal:
        run(*words, str(layout.PROGRAM), "up")
    assert "set KUBECONFIG" in str(refusal.value)


def test_an_instance_s_name_is_checked() -> None:
    with pytest.raises(CommandFailed, match="can't name an instance"):
        Bed("verify").call("--name", "no-hyphen", "status")


def test_a_plain_host_takes_commands_and_has_a_network_of_its_own_that_can_be_cut(other: Bed) -> None:
    other.call("up", "--nodes", "0", "--brokers", "0", "--hosts", "2")
    listener = "import socket; s = socket.create_server(('198.18.0.31', 80)); print('here', flush=True); input()"
    probe = "import socket, sys; sys.exit(socket.socket().connect_ex(('198.18.0.31', 80)))"
    with other.started("sh", "--host", "host1", sys.executable, "-c", listener) as listening:
        assert listening.stdout
        assert listening.stdout.readline() == "here\n"
        other.call("sh", "--host", "host2", sys.executable, "-c", probe)
        other.fault("cut", "host1", "host2")
        with pytest.raises(CommandFailed):
            other.call("sh", "--host", "host2", "timeout", "1", sys.executable, "-c", probe)
        other.sh(sys.executable, "-c", probe)
    with pytest.raises(CommandFailed, match="takes no commands"):
        other.call("sh", "--host", "cp", "true")
    other.call("down")
    assert traces(other.instance) == []
