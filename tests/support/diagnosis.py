"""What one needs to see when a system test failed: objects, events, and the last lines of every log that matters."""

from collections.abc import Iterator

from tests.support.cluster import Cluster
from tests.support.commands import CommandFailed
from tests.support.environment import Environment

OPERATOR_SELECTOR = "app.kubernetes.io/name=sharedlogkv-operator"
REPLICA_SELECTOR = "app.kubernetes.io/component=replica"
TAIL_LINES = 60
BROKER_LINES = 20  # of at most so many characters: a broker's lines are long
BROKER_CHARACTERS = 240


def sections(cluster: Cluster, *, namespace: str, operator_namespace: str) -> Iterator[tuple[str, str]]:
    """Yield title and text of each part of the diagnosis; what can't be had says why instead of failing."""
    logs = ("logs", "--prefix", "--all-containers", f"--tail={TAIL_LINES}", "--ignore-errors")
    asked = {
        "stores": (namespace, ("get", "slkv", "--output", "yaml")),
        "pods": (namespace, ("get", "pods,deployments,services,poddisruptionbudgets", "--output", "wide")),
        "events": (namespace, ("get", "events", "--sort-by=.lastTimestamp")),
        "replicas": (namespace, (*logs, f"--selector={REPLICA_SELECTOR}", "--max-log-requests=20")),
        "operator pods": (operator_namespace, ("describe", "pods", f"--selector={OPERATOR_SELECTOR}")),
        "operator": (operator_namespace, (*logs, f"--selector={OPERATOR_SELECTOR}")),
    }
    for title, (where, words) in asked.items():
        try:
            text = cluster.kubectl(*words, namespace=where, seconds=20)
        except CommandFailed as error:
            text = str(error)
        yield f"{title} (namespace {where})", text
    yield from broker_sections(cluster.environment)


def broker_sections(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield title and text of the end of each broker's log; nothing outside a testbed."""
    if environment.kafka_logs:
        for path in sorted(environment.kafka_logs.glob("kafka*.log")):
            lines = path.read_text(errors="replace").splitlines()[-BROKER_LINES:]
            yield f"broker {path.stem}: the end of {path}", "\n".join(line[:BROKER_CHARACTERS] for line in lines)
