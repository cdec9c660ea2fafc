"""Names, addresses and paths: where everything of a testbed is. Nothing here touches the machine.

Every instance uses the same addresses: its network namespaces keep it apart from the others. What differs between
instances (namespaces, cgroup, run directory, route metric) derives from the instance's name. The cache is shared.
"""

import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PROGRAM = HERE / "testbed"

_XDG_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("TESTBED_CACHE") or _XDG_CACHE / "sharedlogkv-testbed").absolute()
RUNS = Path(os.environ.get("TESTBED_RUN") or "/tmp/sharedlogkv-testbed").absolute()
BIN = CACHE / "bin"
APPLETS = CACHE / "applets"  # links to the one Kubernetes binary, by the names of its components
PKI = CACHE / "pki"
SEED = CACHE / "seed"
IMAGES = CACHE / "images"
JARS = CACHE / "kafka-jars"
KAFKA_FORMATTED = CACHE / "kafka-formatted"
KAFKA_CLASSES = CACHE / "kafka-classes.jsa"
SCRATCH = CACHE / "scratch"  # of the build that is at work; empty otherwise
PATH = f"{BIN}:{APPLETS}"

NAMESPACE_PREFIX = "slkv-"
CGROUP_ROOT = "slkv-testbed"

WHOLE_NET = "198.18.0.0/15"  # RFC 2544's range for tests of devices: in use on no real network
POD_NET = "198.18.128.0/17"
SERVICE_NET = "198.19.0.0/22"
API_SERVICE = "198.19.0.1"
DNS_SERVICE = "198.19.0.10"
CONTROL_PLANE_IP = "198.18.0.2"
CLIENT_IP = "198.18.0.100"
API_PORT = 6443
DOMAIN = "cluster.local"

CONTROL_PLANE = "cp"
CLIENT = "client"
MOST = 9  # of nodes, of brokers and of plain hosts: their addresses and certificates are laid out for so many

KAFKA_SERVICE = f"kafka.kafka.svc.{DOMAIN}"
KAFKA_PORT = 9092
KAFKA_SASL_PORT = 9093
KAFKA_MUTUAL_PORT = 9096
KAFKA_USERS = {"admin": "admin-secret", "alice": "alice-secret", "nobody": "nobody-secret"}
KAFKA_SUPER_USERS = ("ANONYMOUS", "admin")


@dataclass(frozen=True, slots=True)
class Instance:
    """One of several testbeds side by side, and what its name decides."""

    name: str

    def __post_init__(self) -> None:
        # No hyphen: the namespaces of `a` (slkv-a-...) must not look like those of `a-b`.
        if not re.fullmatch(r"[a-z][a-z0-9]{0,14}", self.name):
            raise TestbedError(f"{self.name!r} can't name an instance: use up to 15 small letters and digits")

    @property
    def run(self) -> Path:
        """The directory of everything that this instance writes."""
        return RUNS / self.name

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.run / "log"

    @property
    def kubeconfig(self) -> Path:
        """The cluster administrator's kubeconfig."""
        return self.run / "admin.kubeconfig"

    @property
    def lock(self) -> Path:
        """Held by the command that changes this instance; outside `run`, which comes and goes."""
        return CACHE / "locks" / self.name

    @property
    def cgroup(self) -> str:
        """The cgroup of every process of this instance, relative to each hierarchy."""
        return f"{CGROUP_ROOT}/{self.name}"

    @property
    def route_metric(self) -> int:
        """Tells this instance's copy of the `unreachable` route from the others', so that each removes its own."""
        return zlib.crc32(self.name.encode()) % 2**31 + 1

    def namespace(self, host: str) -> str:
        """The network namespace of a host; `sw` is the switch between the hosts."""
        return f"{NAMESPACE_PREFIX}{self.name}-{host}"


def node_name(number: int) -> str:
    """The host of a node, which is also its name in Kubernetes."""
    return f"node{number}"


def node_ip(number: int) -> str:
    """The address of a node."""
    return f"198.18.0.{10 + number}"


def pod_cidr(number: int) -> str:
    """The addresses of the pods of a node."""
    return f"198.18.{128 + number}.0/24"


def broker_name(number: int) -> str:
    """The host of a broker."""
    return f"kafka{number}"


def broker_ip(number: int) -> str:
    """The address of a broker."""
    return f"198.18.0.{20 + number}"


def broker_address(number: int) -> str:
    """The name by which clients reach one broker."""
    return f"{broker_name(number)}.{KAFKA_SERVICE}"


def host_name(number: int) -> str:
    """A plain host: a network of its own, on which nothing runs but what `sh --host` starts there."""
    return f"host{number}"


def host_ip(number: int) -> str:
    """The address of a plain host."""
    return f"198.18.0.{30 + number}"


def zone(number: int) -> str:
    """The zone of a node, and the rack of a broker, of this number."""
    return f"zone-{'abcdefghi'[number - 1]}"
