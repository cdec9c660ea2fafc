"""Where the system tests and the demo run: on a testbed of this project, or on somebody's own cluster and Kafka.

The user of a cluster sets `KUBECONFIG` (or `SLKV_KUBECONFIG`) and `SLKV_KAFKA`; `tests/testbed/testbed sh` sets them
for its own, and `TESTBED` beside. Whoever needs one of them asks here, so that what is missing is said once and well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_IMAGE = "localhost/sharedlogkv:dev"


class EnvironmentIncomplete(Exception):
    """A variable is missing that says where the cluster or Kafka is."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A cluster and a Kafka to run on.

    Attributes:
        kubeconfig: Path of the file that kubectl and helm use.
        kafka: `host:port[,host:port...]`, as the pods and this process reach it.
        image: The image of both programs, pullable by the nodes or loaded there.
        testbed: The program of the testbed inside which this process runs, for faults; None on another cluster. In a
            testbed, pod addresses and the cluster's DNS names can be reached from here.
        kafka_logs: Where the testbed's brokers log; None on another cluster.
    """

    kubeconfig: str
    kafka: str
    image: str
    testbed: str | None = None
    kafka_logs: Path | None = None


def has_own_cluster(environ: Mapping[str, str]) -> bool:
    """Return whether the user brings a cluster and a Kafka, so that no testbed is wanted.

    Raises:
        EnvironmentIncomplete: `SLKV_KAFKA` or `SLKV_KUBECONFIG` is set without its partner. (`KUBECONFIG` alone means
            nothing: many developers have it set always.)
    """
    if "TESTBED" in environ:
        raise EnvironmentIncomplete("this is inside a testbed already: run the tests themselves, or leave it")
    kafka, kubeconfig = environ.get("SLKV_KAFKA"), environ.get("SLKV_KUBECONFIG")
    if kafka and not (kubeconfig or environ.get("KUBECONFIG")):
        raise EnvironmentIncomplete("SLKV_KAFKA is set, but neither SLKV_KUBECONFIG nor KUBECONFIG: set both or none")
    if kubeconfig and not kafka:
        raise EnvironmentIncomplete("SLKV_KUBECONFIG is set, but not SLKV_KAFKA (host:port): set both or none")
    return bool(kafka)


def parse_environment(environ: Mapping[str, str]) -> Environment:
    """Return where to run.

    Raises:
        EnvironmentIncomplete: A variable is missing; the message names it and what to do.
    """
    kubeconfig = environ.get("SLKV_KUBECONFIG") or environ.get("KUBECONFIG")
    kafka = environ.get("SLKV_KAFKA")
    missing = [name for name, value in (("KUBECONFIG", kubeconfig), ("SLKV_KAFKA", kafka)) if not value]
    if missing or not kubeconfig or not kafka:
        raise EnvironmentIncomplete(
            f"{' and '.join(missing)} not set: run `make integration` or `make e2e`, which bring up a testbed; "
            "or, with one up, `tests/testbed/testbed --name NAME sh COMMAND`; "
            "or set KUBECONFIG and SLKV_KAFKA (host:port) for your own cluster"
        )
    logs = Path(environ["TESTBED_RUN"], environ["TESTBED_NAME"], "log") if "TESTBED_RUN" in environ else None
    return Environment(
        kubeconfig=kubeconfig,
        kafka=kafka,
        image=environ.get("IMAGE") or DEFAULT_IMAGE,
        testbed=environ.get("TESTBED"),
        kafka_logs=logs,
    )
