"""The life of an instance: up, load, sh, fault, status, down."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from . import api, build, cgroup, control_plane, images, kafka, layout, machine, network, node, processes, state, steps
from .errors import TestbedError
from .fault import FAULTS
from .hosts import Hosts
from .layout import Instance
from .processes import wait_for
from .state import Size, State

_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "ftp_proxy"}  # of no use where no packet leaves


def up(instance: Instance, size: Size) -> None:
    """Starts a testbed. One that is up in this size and whole is left as it is; leftovers are cleared away first.

    Raises:
        TestbedError: It is up in another size, something did not start, or not everything is built.
    """
    build.require_built(steps.plan())
    with _changing(instance):
        if _is_whole(instance):
            present = state.load(instance).size
            if present == size:
                print(f"testbed {instance.name!r} is already up, with {size}")
                return
            raise TestbedError(f"testbed {instance.name!r} is up with {present}: run `testbed down` first")
        if _has_leftovers(instance):
            print(f"clearing away what is left of a testbed {instance.name!r} that is not whole", flush=True)
            _clear(instance)
        _start(instance, size)


def _start(instance: Instance, size: Size) -> None:
    begin = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {what}", flush=True)

    layout.RUNS.mkdir(mode=0o700, exist_ok=True)
    instance.logs.mkdir(parents=True)
    hosts = Hosts(instance, State(size))
    nodes, brokers = range(1, size.nodes + 1), range(1, size.brokers + 1)
    _start_hosts(hosts)
    tell("hosts created; etcd, kube-apiserver, containerd and Kafka starting")
    control_plane.await_api_server(hosts)
    tell("kube-apiserver ready")
    _start_cluster(hosts)
    hosts.wait_for(
        "nodes", lambda: len(api.ready_nodes(instance)) == size.nodes, timeout_seconds=120, every_seconds=0.1
    )
    tell(f"nodes ready: {len(nodes)}")
    for number in brokers:
        kafka.await_started(hosts, number)
    tell(f"brokers ready: {len(brokers)}")
    name = layout.KAFKA_SERVICE if brokers else f"kubernetes.default.svc.{layout.DOMAIN}"
    addresses = len(brokers) or 1
    hosts.wait_for("the cluster's DNS", lambda: api.count_addresses(instance, name) == addresses, timeout_seconds=120)
    hosts.state.complete = True
    state.save(instance, hosts.state)
    tell(f"testbed {instance.name!r} is up")


def _start_hosts(hosts: Hosts) -> None:
    """Makes the network and the hosts, and starts what needs no API server."""
    instance, size = hosts.instance, hosts.state.size
    machine.reserve(instance)
    nodes, brokers = range(1, size.nodes + 1), range(1, size.brokers + 1)
    network.close_way_out(instance)
    network.create_switch(instance)
    addresses = {layout.CONTROL_PLANE: layout.CONTROL_PLANE_IP, layout.CLIENT: layout.CLIENT_IP}
    addresses |= {layout.node_name(n): layout.node_ip(n) for n in nodes}
    addresses |= {layout.broker_name(n): layout.broker_ip(n) for n in brokers}
    plain = {layout.host_name(n): layout.host_ip(n) for n in range(1, size.hosts + 1)}
    for name, address in {**addresses, **plain}.items():
        routes = [(layout.pod_cidr(n), layout.node_ip(n)) for n in nodes if layout.node_name(n) != name]
        network.create_namespace(instance, name, address=address, routes=routes)
    hosts.start_host(layout.CONTROL_PLANE, address=layout.CONTROL_PLANE_IP)
    resolver = instance.run / "resolv.conf"
    domain = layout.DOMAIN
    # The server's own address: the DNS Service's needs kube-proxy, which needs a node.
    resolver.write_text(
        f"nameserver {layout.CONTROL_PLANE_IP}\nsearch default.svc.{domain} svc.{domain} {domain}\noptions ndots:5\n"
    )
    mount = f"mount --bind {resolver} /etc/resolv.conf"
    for name, address in {layout.CLIENT: layout.CLIENT_IP, **plain}.items():
        hosts.start_host(name, address=address, setup=mount, own_pids=False)
    control_plane.start_api_server(hosts)
    for number in brokers:
        hosts.start_host(layout.broker_name(number), address=layout.broker_ip(number))
        kafka.start(hosts, number, brokers=size.brokers)
    for number in nodes:
        node.create(hosts, number)
    state.save(instance, hosts.state)


def _start_cluster(hosts: Hosts) -> None:
    """Starts what needs the API server."""
    control_plane.write_kubeconfig(hosts, "admin")
    control_plane.start_controllers(hosts)
    for number in range(1, hosts.state.size.nodes + 1):
        node.start_kubelet(hosts, number)
    control_plane.apply_base_objects(hosts, hosts.state.size)
    control_plane.start_dns(hosts)
    if hosts.state.size.nodes:
        for host in (layout.CONTROL_PLANE, layout.CLIENT):
            control_plane.start_proxy(hosts, host, node=layout.node_name(1))
        names = [layout.node_name(n) for n in range(1, hosts.state.size.nodes + 1)]
        agent = [os.path.realpath(sys.executable), "-m", "testbed.network_policy_agent", hosts.instance.name, *names]
        hosts.spawn(layout.CLIENT, "network-policy", agent, {"PYTHONPATH": str(layout.HERE.parent), **_own_settings()})
    state.save(hosts.instance, hosts.state)


def load(instance: Instance, image: str) -> None:
    """Imports an image on every node, two nodes at a time.

    Args:
        instance: The testbed.
        image: The path of an OCI archive, or the tag of an image that `testbed image` has built.
    """
    archive = Path(image).absolute() if Path(image).is_file() else images.archive_of(image)
    if not archive.exists():
        raise TestbedError(f"there is no archive {image}, and no image of that tag has been built: see `testbed image`")
    hosts = Hosts(instance, state.load(instance))
    begin = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: node.import_image(hosts, n, archive), range(1, hosts.state.size.nodes + 1)))
    print(f"{image} is on every node after {time.monotonic() - begin:.1f} s")


def sh(instance: Instance, command: Sequence[str], *, host: str = layout.CLIENT) -> NoReturn:
    """Becomes a command on the client host, or on a plain one; input, output, signals and exit status are its own.

    Raises:
        TestbedError: The testbed is not up, or there is no such host.
    """
    hosts = Hosts(instance, state.load(instance))
    if host not in hosts.state.hosts or hosts.state.hosts[host].own_pids:
        fit = [name for name, there in hosts.state.hosts.items() if not there.own_pids]
        raise TestbedError(f"{host} takes no commands; there are {', '.join(fit)}")
    if not hosts.state.hosts[host].init.alive():
        raise TestbedError(f"testbed {instance.name!r} is broken: run `testbed up` again")
    words = [*hosts.enter(host, pids=False), f"--wd={Path.cwd()}", "--", *(command or ["bash"])]
    os.execvpe(words[0], words, _client_environment(hosts))


def _client_environment(hosts: Hosts) -> dict[str, str]:
    own = {
        **_own_settings(),
        "PATH": f"{layout.PATH}:{os.environ['PATH']}",
        "KUBECONFIG": str(hosts.instance.kubeconfig),
        "KUBECACHEDIR": str(hosts.instance.run / "kube-cache"),  # what the last testbed at this address served is void
        "TESTBED": str(layout.PROGRAM),
        "TESTBED_NAME": hosts.instance.name,
    }
    if hosts.state.size.brokers:
        own["SLKV_KAFKA"] = f"{layout.KAFKA_SERVICE}:{layout.KAFKA_PORT}"
        own["SLKV_KAFKA_SASL"] = f"{layout.KAFKA_SERVICE}:{layout.KAFKA_SASL_PORT}"
        own["SLKV_KAFKA_SSL"] = f"{layout.KAFKA_SERVICE}:{layout.KAFKA_MUTUAL_PORT}"
        own["SLKV_KAFKA_CA"] = str(layout.PKI / "kafka-ca.crt")
    return {**{key: value for key, value in os.environ.items() if key.lower() not in _PROXIES}, **own}


def _own_settings() -> dict[str, str]:
    return {"TESTBED_CACHE": str(layout.CACHE), "TESTBED_RUN": str(layout.RUNS)}


def fault(instance: Instance, name: str, arguments: list[str]) -> None:
    """Breaks or mends something, and returns when what was mended works again."""
    chosen = FAULTS[name]
    chosen.check(name, arguments)
    with _changing(instance):
        hosts = Hosts(instance, state.load(instance))
        try:
            chosen.act(hosts, arguments)
        finally:  # also when it failed half-way: what it has started must be known
            state.save(instance, hosts.state)
    if chosen.wait:
        chosen.wait(hosts, arguments)


def status(instance: Instance) -> bool:
    """Prints the hosts and processes; False when some don't run."""
    present = state.load(instance)
    print(f"testbed {instance.name!r}: {present.size}; logs in {instance.logs}")
    for name, host in present.hosts.items():
        group = f"{instance.cgroup}/{name}"
        memory_mib, cpu_seconds = cgroup.memory_bytes(group) >> 20, cgroup.cpu_seconds(group)
        listed = " ".join(
            f"{key}={process.pid.pid}{'' if process.pid.alive() else '(dead)'}"
            for key, process in present.processes.items()
            if process.host == name
        )
        line = f"{name:8} {host.address:13} {'up' if host.init.alive() else 'DOWN':5}"
        print(f"{line} {memory_mib:5} MiB {cpu_seconds:8.1f} cpu-s  {listed}")
    return present.complete and not present.dead()


def down(instance: Instance) -> None:
    """Stops and removes an instance, whole or not; one that is not there is no error."""
    begin = time.monotonic()
    with _changing(instance):
        if not _has_leftovers(instance):
            print(f"testbed {instance.name!r} is not up")
            return
        _clear(instance)
    print(f"testbed {instance.name!r} is down after {time.monotonic() - begin:.1f} s")


def _changing(instance: Instance) -> AbstractContextManager[None]:
    return processes.lock(instance.lock, f"another command changes testbed {instance.name!r}")


def _is_whole(instance: Instance) -> bool:
    try:
        present = state.load(instance)
    except TestbedError:
        return False
    return present.complete and not present.dead()


def _has_leftovers(instance: Instance) -> bool:
    return instance.run.exists() or bool(network.namespaces(instance)) or instance.name in machine.instances()


def _clear(instance: Instance) -> None:
    """Works from the kernel's own view (cgroups, namespaces), so that it also clears up after an `up` that failed."""
    cgroup.thaw_below(instance.cgroup)
    begin = time.monotonic()

    def gone() -> bool:
        inside = {pid for pid in cgroup.pids(instance.cgroup) if processes.start_time(pid) is not None}
        # The rest in our namespaces: nsenter and unshare, which end when their child has, and what `sh` runs.
        rest = {pid for pid in network.pids(instance) if processes.start_time(pid) is not None} - inside
        late = time.monotonic() - begin > 2
        for pid in inside | rest:
            processes.send(pid, signal.SIGKILL if pid in inside or late else signal.SIGCONT)
        return not inside and not rest

    wait_for("processes to end", gone, timeout_seconds=30)
    network.remove(instance)
    wait_for("cgroups to go", lambda: cgroup.remove(instance.cgroup), timeout_seconds=30)
    machine.release()
    if instance.run.exists():
        shutil.rmtree(instance.run)
    if layout.RUNS.exists() and not any(layout.RUNS.iterdir()):
        layout.RUNS.rmdir()
