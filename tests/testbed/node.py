"""A node: a host with its own containerd, kubelet and kube-proxy, and with a disk that outlives a power cut."""

import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from . import api, control_plane, images, layout
from .hosts import Hosts
from .processes import run

# Snapshotters that only warn about what a machine lacks.
UNUSED_PLUGINS = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
_NODE_MEMORY_MIB = 6144  # what pods may request; every node sees the memory of the whole machine
_SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs/snapshots"

# The kubelet sets these for the whole machine unless they have these values. It gets files of its own in their place:
# so the machine's are never changed, and need not be put back.
_KUBELET_SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
_SETUP = """mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /run/netns /run/lock {data}/kubelet {data}/cni {data}/pods
mkdir /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods
mount --bind {data}/kubelet /var/lib/kubelet
mount --bind {data}/containerd /var/lib/containerd
mount --bind {data}/cni /var/lib/cni
mount --bind {data}/pods /var/log/pods
ln -s /proc/mounts /run/mtab
sysctl -qw net.ipv4.ip_forward=1"""


def create(hosts: Hosts, number: int) -> None:
    """Makes the disk of a node, starts its host and its containerd."""
    name = layout.node_name(number)
    data = hosts.instance.run / name
    data.mkdir()
    lines = [_SETUP.format(data=data)]
    for key, value in _KUBELET_SYSCTLS.items():
        file = data / key.replace("/", "-")
        file.write_text(f"{value}\n")
        lines.append(f"mount --bind {file} /proc/sys/{key}")
    lines += _seed_images(data / "containerd")
    hosts.start_host(name, address=layout.node_ip(number), setup="\n".join(lines))
    _start_containerd(hosts, number)


def start_kubelet(hosts: Hosts, number: int) -> None:
    """Starts the kubelet and the kube-proxy of a node, once the API server is ready."""
    name = layout.node_name(number)
    path = hosts.instance.run / name / "kubelet.json"
    path.write_text(json.dumps(_kubelet_configuration(hosts, name)))
    labels = f"topology.kubernetes.io/zone={layout.zone(number)},topology.kubernetes.io/region=testbed"
    options = [
        f"--config={path}",
        f"--kubeconfig={control_plane.write_kubeconfig(hosts, name)}",
        f"--hostname-override={name}",
        f"--node-ip={layout.node_ip(number)}",
        f"--node-labels={labels}",
    ]
    hosts.spawn(name, f"kubelet-{name}", ["kubelet", *options])
    control_plane.start_proxy(hosts, name, node=name)


def restart(hosts: Hosts, number: int) -> None:
    """Boots a node again, on the disk that it had, after its plug was pulled."""
    hosts.restart_host(layout.node_name(number))
    _start_containerd(hosts, number)
    start_kubelet(hosts, number)


def await_ready(hosts: Hosts, number: int) -> None:
    """Returns once a node is Ready by a heartbeat that is younger than this call."""
    name = layout.node_name(number)
    # Heartbeats are in whole seconds. Until the grace period is over, a node that has died also counts as Ready.
    now = datetime.fromtimestamp(time.time() + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def ready() -> bool:
        return api.ready_nodes(hosts.instance).get(name, "") >= now

    hosts.wait_for(f"{name} to be Ready", ready, timeout_seconds=120, every_seconds=0.2)


def import_image(hosts: Hosts, number: int, archive: Path) -> None:
    """Imports an OCI archive into the containerd of a node."""
    command = ["ctr", "-n", "k8s.io", "images", "import", str(archive)]
    run(*hosts.enter(layout.node_name(number)), "--", *command)


def _seed_images(root: Path) -> list[str]:
    """Gives a new node the images of the seed, and returns the commands that mount their layers.

    Databases are copied and blobs are hard links. Unpacked layers are only ever read (they are lower directories of
    overlays), so they are mounted from the cache.
    """
    mounts = []
    for folder, subfolders, files in os.walk(layout.SEED):
        if folder.endswith(_SNAPSHOTS):
            subfolders.clear()
        target = root / Path(folder).relative_to(layout.SEED)
        target.mkdir()
        linkable = Path(folder).stat().st_dev == target.stat().st_dev
        for name in files:
            if linkable and not name.endswith(".db"):
                (target / name).hardlink_to(Path(folder) / name)
            else:
                shutil.copy(Path(folder) / name, target / name)
    for layer in sorted((layout.SEED / _SNAPSHOTS).iterdir()):
        (root / _SNAPSHOTS / layer.name).mkdir()
        mounts.append(f"mount --bind {layer} /var/lib/containerd/{_SNAPSHOTS}/{layer.name}")
    return mounts


def _start_containerd(hosts: Hosts, number: int) -> None:
    name = layout.node_name(number)
    data = hosts.instance.run / name
    networks = data / "net.d"
    networks.mkdir(exist_ok=True)
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.pod_cidr(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    conflist = {"cniVersion": "0.4.0", "name": "testbed", "plugins": plugins}
    (networks / "10-testbed.conflist").write_text(json.dumps(conflist))
    path = data / "containerd.toml"
    path.write_text(
        f"""version = 2
disabled_plugins = {json.dumps(UNUSED_PLUGINS)}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE_IMAGE}"
  restrict_oom_score_adj = true  # lowering it takes CAP_SYS_RESOURCE, which a container may lack
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
    )
    hosts.spawn(name, f"containerd-{name}", ["containerd", "-c", str(path)])


def _kubelet_configuration(hosts: Hosts, name: str) -> api.Json:
    machine_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    eviction = {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.PKI}/{name}.crt",
        "tlsPrivateKeyFile": f"{layout.PKI}/{name}.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{hosts.instance.cgroup}/{name}",
        "failCgroupV1": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [layout.DNS_SERVICE],
        "clusterDomain": layout.DOMAIN,
        "resolvConf": "",
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "systemReserved": {"memory": f"{max(0, machine_mib - _NODE_MEMORY_MIB)}Mi"},
        "imageGCHighThresholdPercent": 100,
        "evictionHard": eviction,
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": control_plane.NODE_GRACE_SECONDS // 2,
        "syncFrequency": "10s",
    }
