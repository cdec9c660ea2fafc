"""What the demo shows, step by step. A step whose result is not as promised ends it with a word on what was seen."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.demo.terminal import DemoFailed, Terminal

STORE = "settings"
EXAMPLE = "examples/minimal.yaml"
EXAMPLES_KAFKA = "kafka.kafka.svc:9092"
OPERATOR_NAMESPACE = "sharedlogkv-system"
KEYS = 100


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays.

    Attributes:
        kubectl: How kubectl is called there, with its namespace where that is not the default one.
        kafka: The brokers, as the pods reach them.
        image_settings: The words by which helm sets the chart's image.
    """

    kubectl: str
    kafka: str
    image_settings: Sequence[str]


class Story:
    """The steps, in order; each needs those before it."""

    def __init__(self, terminal: Terminal, stage: Stage) -> None:
        self._terminal = terminal
        self._stage = stage
        self._ports: dict[str, int] = {}  # of the pods that are forwarded, by name
        self._free_ports = itertools.count(8001)  # none twice: a forward may outlive its pod by a moment
        self._token = ""

    def tell(self) -> None:
        """Play everything.

        Raises:
            DemoFailed: Something was not as promised.
        """
        self._install()
        self._apply()
        self._put_and_get()
        self._read_your_writes()
        self._compare_and_set()
        self._lose_the_leader()
        self._scale()

    def _install(self) -> None:
        terminal, settings = self._terminal, " ".join(self._stage.image_settings)
        terminal.say("The operator, by its chart.")
        terminal.type(
            f"helm upgrade --install sharedlogkv charts/sharedlogkv {settings} "
            f"--namespace {OPERATOR_NAMESPACE} --create-namespace --wait --timeout 3m"
        )
        terminal.type(f"kubectl --namespace {OPERATOR_NAMESPACE} get pods")

    def _apply(self) -> None:
        terminal, kubectl = self._terminal, self._stage.kubectl
        terminal.say("A store: one small resource.")
        if self._stage.kafka == EXAMPLES_KAFKA:
            terminal.type(f"cat {EXAMPLE}")
            terminal.type(f"{kubectl} apply --filename {EXAMPLE}")
        else:
            terminal.type(f"sed 's/{EXAMPLES_KAFKA}/{self._stage.kafka}/' {EXAMPLE} | {kubectl} apply --filename -")
        terminal.type(f"{kubectl} wait --for=condition=Ready slkv/{STORE} --timeout=3m")
        terminal.type(f"{kubectl} get slkv")
        terminal.type(f"{kubectl} get pods --selector sharedlog.dev/cluster={STORE} --output wide")

    def _put_and_get(self) -> None:
        terminal = self._terminal
        terminal.say("Each replica by itself: whatever is written through one is read from every other one.")
        pods = self._pods()
        _expect(len(pods) >= 3, f"the demo needs three replicas: {self._stage.kubectl} scale slkv {STORE} --replicas=3")
        first, *others = (self._forward(pod) for pod in pods)
        put = terminal.type(f"curl -si -X PUT --data-binary 'hello, world' localhost:{first}/v1/kv/greeting")
        _expect(put.startswith("HTTP/1.1 204"), f"a put is answered with 204, not {put.splitlines()[0]}")
        # The put was acknowledged by Kafka; a linearizable read sees it at any replica.
        for port in (first, *others):
            got = terminal.type(f"curl -s 'localhost:{port}/v1/kv/greeting?consistency=linearizable'")
            _expect(got == "hello, world", f"the replica on port {port} has {got!r}")

    def _read_your_writes(self) -> None:
        terminal = self._terminal
        terminal.say(
            "Read your writes, at any replica: a write returns a token, and a read that carries it waits for it."
        )
        first, *others = self._ports.values()
        for number, colour in enumerate(("blue", "green", "red"), start=1):
            shown = terminal.type(f"curl -si -X PUT --data-binary {colour} localhost:{first}/v1/kv/colour")
            self._token = _token(shown)
            port = others[number % len(others)]
            got = terminal.type(f"curl -s -H 'SLKV-Token: {self._token}' localhost:{port}/v1/kv/colour")
            _expect(got == colour, f"written was {colour!r}, the replica on port {port} answered {got!r}")

    def _compare_and_set(self) -> None:
        terminal = self._terminal
        terminal.say("Each replica is asked to create one key. The leader decides, whoever is asked: one succeeds.")
        seen = []
        for pod, port in self._ports.items():
            create = f"curl -si -X PUT -H 'If-None-Match: *' --data-binary {pod} localhost:{port}/v1/kv/lock"
            seen.append(terminal.type(f"{create} | head -1").split()[1])
        _expect(sorted(seen) == ["204", "412", "412"], f"one create succeeds and two fail, and not {seen}")

    def _lose_the_leader(self) -> None:
        terminal, kubectl = self._terminal, self._stage.kubectl
        terminal.say(
            f"{KEYS} more keys; then the leader's pod is deleted. It hands over; a new one reads all from the log."
        )
        doomed = terminal.type(f"{kubectl} get slkv {STORE} --output jsonpath='{{.status.leader.name}}'").strip()
        _expect(doomed in self._ports, f"the leader is {doomed!r}, and no pod of the store")
        port = next(port for pod, port in self._ports.items() if pod != doomed)
        put = f"curl -s -X PUT --data-binary value-$i localhost:{port}/v1/kv/key-$i"
        terminal.type(f"for i in $(seq {KEYS}); do {put}; done")
        before = set(self._pods())
        terminal.type(f"{kubectl} delete pod {doomed}")
        put_after = terminal.type(f"curl -si -X PUT --data-binary still localhost:{port}/v1/kv/open | head -1")
        _expect(put_after.startswith("HTTP/1.1 204"), f"writes go on with another leader, and not: {put_after}")
        terminal.type(f"{kubectl} rollout status deployment/{STORE} --timeout=3m")
        del self._ports[doomed]
        (rebuilt,) = set(self._pods()) - before
        port = self._forward(rebuilt)
        got = terminal.type(f"curl -s -H 'SLKV-Token: {self._token}' localhost:{port}/v1/kv/colour")
        _expect(got == "red", f"the new pod answered {got!r} to the old token, not 'red'")
        listed = json.loads(terminal.type(f"curl -s 'localhost:{port}/v1/kv?prefix=key-&limit=3'"))
        _expect(len(listed["items"]) == 3, "three items were asked for")
        count = terminal.type(f"curl -s 'localhost:{port}/v1/kv?prefix=key-&limit=1000' | grep -o '\"key\"' | wc -l")
        _expect(count.strip() == str(KEYS), f"{count.strip()} of {KEYS} keys are there")

    def _scale(self) -> None:
        terminal, kubectl = self._terminal, self._stage.kubectl
        replicas = len(self._pods()) + 1
        terminal.say("One replica more, and back.")
        terminal.type(f"{kubectl} scale slkv {STORE} --replicas={replicas}")
        self._await_replicas(replicas)
        (added,) = set(self._pods()) - set(self._ports)
        port = self._forward(added)
        got = terminal.type(f"curl -s -H 'SLKV-Token: {self._token}' localhost:{port}/v1/kv/colour")
        _expect(got == "red", f"the added replica answered {got!r}, not 'red'")
        terminal.type(f"{kubectl} get slkv")
        terminal.type(f"{kubectl} scale slkv {STORE} --replicas={replicas - 1}")
        self._await_replicas(replicas - 1)
        terminal.type(f"{kubectl} get slkv")

    def _await_replicas(self, count: int) -> None:
        """Wait for the status: Ready may still be that of the moment before."""
        self._terminal.type(
            f"{self._stage.kubectl} wait --for=jsonpath='{{.status.readyReplicas}}'={count} slkv/{STORE} --timeout=3m"
        )

    def _pods(self) -> list[str]:
        """Return the names of the store's pods that are not on their way out, without showing it."""
        command = f"{self._stage.kubectl} get pods --selector sharedlog.dev/cluster={STORE} --output json"
        pods = [pod["metadata"] for pod in json.loads(self._terminal.ask(command))["items"]]
        return sorted(metadata["name"] for metadata in pods if "deletionTimestamp" not in metadata)

    def _forward(self, pod: str) -> int:
        """Forward a local port to a pod; return it."""
        port = self._ports[pod] = next(self._free_ports)
        self._terminal.type_in_background(f"{self._stage.kubectl} port-forward pod/{pod} {port}:8080")
        return port


def _token(shown: str) -> str:
    """Return the token from the headers that `curl -i` shows."""
    found = re.search(r"^slkv-token: (\S+)", shown, re.IGNORECASE | re.MULTILINE)
    if not found:
        raise DemoFailed("the answer to a put has no SLKV-Token")
    return found.group(1)


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise DemoFailed(what)
