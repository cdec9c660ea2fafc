"""What `build` makes: Go programs, Kafka with its class archive, certificates, and the images that nodes start with.

Everything comes from package registries by their usual clients (apt, Go, Maven, debootstrap), with the settings, the
proxies and the certificates of this machine.
"""

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import certificates, images, kafka, layout, node
from .build import Step
from .errors import TestbedError
from .processes import CONTAINED, run, wait_for

# Each with the Debian package that brings it.
_PROGRAMS = {
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "java": "default-jre-headless",
    "mvn": "maven",
    "nft": "nftables",
    "openssl": "openssl",
    "runc": "runc",
    "update-ca-certificates": "ca-certificates",
}
_APPLETS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
_GO = layout.HERE / "go"
_JAVA = layout.HERE / "java"


def missing_packages() -> list[str]:
    """The Debian packages whose programs are not there."""
    return [package for program, package in _PROGRAMS.items() if not shutil.which(program)]


def install(packages: list[str]) -> None:
    """Installs Debian packages.

    Raises:
        TestbedError: There is no apt-get here, or it failed.
    """
    if not shutil.which("apt-get"):
        raise TestbedError(f"please install what Debian calls: {' '.join(packages)}")
    run("apt-get", "update")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "install", "--yes", "--no-install-recommends", *packages, env=quiet)


def require_go() -> None:
    """Returns when there is a Go that is new enough: Debian's may not be, and Go must not fetch another by itself.

    Raises:
        TestbedError: There is none.
    """
    lines = [line for file in _GO.glob("*/go.mod") for line in file.read_text().splitlines()]
    wanted = max(_version(line) for line in lines if line.startswith("go "))
    found = run("go", "env", "GOVERSION", env={"GOTOOLCHAIN": "local"}).strip() if shutil.which("go") else "none"
    if _version(found) < wanted:
        text = ".".join(str(part) for part in wanted)
        raise TestbedError(f"Go {text} or newer must be on PATH (found: {found}); see https://go.dev/doc/install")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def plan() -> tuple[Step, ...]:
    """Every step, in order; the packages must be installed, as some steps depend on their versions."""
    pause = _go_step("pause", environment={"CGO_ENABLED": "0"})  # it runs alone in its image
    kube = _go_step("kube", link_flags=_kubernetes_version())
    applets = Step("applets", layout.APPLETS, _link_applets, _APPLETS)
    coredns = _go_step("coredns")
    helm = _go_step("helm", "helm.sh/helm/v3/cmd/helm")
    certificate = Step("certificates", layout.PKI, certificates.make, (layout.HERE / "certificates.py",))
    jars = Step("kafka jars", layout.JARS, _fetch_jars, (_JAVA / "pom.xml",))
    users = json.dumps(layout.KAFKA_USERS)
    storage = Step("kafka storage", layout.KAFKA_FORMATTED, kafka.format_storage, (users,), (jars,))
    machine = (_java_identity(), *kafka.MACHINE_OPTIONS)
    classes = Step("kafka classes", layout.KAFKA_CLASSES, _archive_classes, machine, (jars, storage, certificate))
    pause_image = Step("pause image", images.PAUSE_ARCHIVE, images.build_pause, after=(pause,))
    base = (images.RELEASE, images.BASE_PACKAGES)
    base_image = Step("base image", images.BASE_ARCHIVE, images.build_base, base)
    seed = Step("node seed", layout.SEED, _seed_nodes, after=(pause_image, base_image))
    programs = (pause, kube, applets, coredns, helm)
    return (*programs, certificate, jars, storage, classes, pause_image, base_image, seed)


def _go_step(name: str, package: str = ".", *, link_flags: str = "", environment: dict[str, str] | None = None) -> Step:
    """Builds a program from the module of that name."""
    module = _GO / name
    options = ["-trimpath", "-buildvcs=false", f"-ldflags=-s -w {link_flags}".rstrip()]
    own = {"GOTOOLCHAIN": "local", **(environment or {})}

    def make(new: Path) -> None:
        # Two packages at a time: the linker alone takes 2.5 GB for Kubernetes.
        run(*CONTAINED, "go", "build", "-p", "2", *options, "-o", new, package, cwd=module, env=own)

    files = sorted(file for file in module.iterdir() if file.is_file())
    return Step(name, layout.BIN / name, make, inputs=(*files, *options, package))


def _kubernetes_version() -> str:
    """Flags by which Kubernetes learns its version, from what go.mod requires."""
    found = re.search(r"k8s.io/kubernetes v((\d+)\.(\d+)\S*)", (_GO / "kube/go.mod").read_text())
    assert found, "go/kube/go.mod requires k8s.io/kubernetes"
    values = {"gitVersion": f"v{found[1]}", "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


def _link_applets(new: Path) -> None:
    new.mkdir()
    for applet in _APPLETS:
        (new / applet).symlink_to("../bin/kube")


def _fetch_jars(new: Path) -> None:
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={new}"]
    run(*CONTAINED, "mvn", "--quiet", "--batch-mode", "--file", _JAVA / "pom.xml", *goal)


def _java_identity() -> str:
    """Tells one installed JVM from another: a class archive serves only the one that made it."""
    machine = Path(shutil.which("java") or "/").resolve()
    return f"{machine} {machine.stat().st_mtime_ns}"


def _archive_classes(new: Path) -> None:
    """Runs a broker once, in a network namespace that has a loopback alone, and archives the classes it has loaded."""
    with tempfile.TemporaryDirectory(dir=layout.SCRATCH) as folder:
        data, settings, log = (Path(folder) / name for name in ("data", "broker.properties", "log"))
        kafka.write_storage(data, 1)
        settings.write_text(kafka.properties(1, brokers=1, data=data))
        address = f"ip link set lo up; ip addr add {layout.broker_ip(1)}/32 dev lo"
        broker = [*kafka.java(f"-XX:ArchiveClassesAtExit={new}"), "kafka.Kafka", str(settings)]
        with _running(["unshare", "--net", "sh", "-c", f'{address}; exec "$@"', "sh", *broker], log) as process:
            wait_for("the broker", lambda: kafka.STARTED in log.read_bytes(), timeout_seconds=120)
            process.terminate()
            process.wait(120)


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a program while the block runs."""
    with log.open("wb") as file:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _seed_nodes(new: Path) -> None:
    """Makes a containerd root that holds the pause image and the base image; nodes start from a copy of it."""
    with tempfile.TemporaryDirectory() as folder:  # not in the cache: the path of a socket is short
        socket, settings, log = (Path(folder) / name for name in ("sock", "containerd.toml", "log"))
        settings.write_text(
            f'version = 2\nroot = "{new}"\nstate = "{folder}/state"\n'
            f'disabled_plugins = {json.dumps(node.UNUSED_PLUGINS)}\n[grpc]\n  address = "{socket}"\n'
        )
        with _running(["containerd", "-c", str(settings)], log) as process:
            wait_for("containerd", socket.exists, timeout_seconds=30)
            for archive in (images.PAUSE_ARCHIVE, images.BASE_ARCHIVE):
                run("ctr", "-a", socket, "-n", "k8s.io", "images", "import", archive)
            process.terminate()
            process.wait(30)
