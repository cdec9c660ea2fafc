"""The cluster does what clusters do: schedules, serves, resolves, drains, limits, and enforces policies."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import CommandFailed, run
from tests.testbed import images, layout
from tests.testbed.verify.bed import Bed, Manifest, nodes_of, wait_for

# Runs in a pod, with the base image's Python alone: other pods, a Service, the API, Kafka by name.
IN_POD = """
import json, socket, ssl, sys, urllib.request
names, ca = sys.argv[1].split(","), sys.argv[2]
for name in names:
    urllib.request.urlopen(f"http://{name}/hostname", timeout=5).read()
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
url = "https://kubernetes.default.svc/api/v1/namespaces/default/pods"
token = {"Authorization": "Bearer " + open(account + "token").read()}
context = ssl.create_default_context(cafile=account + "ca.crt")
json.load(urllib.request.urlopen(urllib.request.Request(url, headers=token), context=context, timeout=5))
socket.create_connection(("kafka.kafka.svc", 9092), 5)
for name in ("kafka.kafka.svc.cluster.local", "kafka3.kafka.kafka.svc.cluster.local"):
    with socket.create_connection((name, 9093), 5) as plain:
        ssl.create_default_context(cadata=ca).wrap_socket(plain, server_hostname=name).close()
print("all reached")
"""


def address(pod: Manifest) -> str:
    return f"{pod['status']['podIP']}:8080"


def can_connect(bed: Bed, pod: Manifest, host: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(('{host}', {port}), 1)"
    try:
        bed.kubectl("exec", pod["metadata"]["name"], "--", "python3", "-c", code)
    except CommandFailed:
        return False
    return True


def test_a_pod_reaches_pods_services_the_api_and_kafka(bed: Bed, web: str) -> None:
    pods = bed.ready_pods(web)
    names = ",".join(["web", *map(address, pods)])
    authority = (layout.PKI / "kafka-ca.crt").read_text()
    exec_in = ("exec", "-i", pods[0]["metadata"]["name"], "--", "python3", "-", names, authority)
    assert bed.kubectl(*exec_in, stdin=IN_POD) == "all reached\n"
    assert "GET /hostname" in bed.kubectl("logs", pods[0]["metadata"]["name"], "--tail=5")


def test_the_client_and_the_api_server_s_host_reach_a_service(bed: Bed, web: str) -> None:
    code = (
        "import sys, urllib.request; print(urllib.request.urlopen(f'http://{sys.argv[1]}/hostname', timeout=5).status)"
    )
    assert bed.sh("python3", "-c", code, "web") == "200\n"
    service = json.loads(bed.kubectl("get", "service", "web", "-o", "json"))["spec"]["clusterIP"]
    # Where admission webhooks are called from.
    enter = ("nsenter", f"--net=/run/netns/{bed.instance.namespace('cp')}")
    assert run(*enter, "python3", "-c", code, service) == "200\n"
    assert bed.ready_pods(web)


def test_a_port_is_forwarded(bed: Bed, web: str) -> None:
    with bed.started("sh", "kubectl", "port-forward", "service/web", "18080:80") as forward:
        assert forward.stdout
        assert "Forwarding" in forward.stdout.readline()
        code = (
            "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:18080/hostname', timeout=5).status)"
        )
        assert bed.sh("python3", "-c", code) == "200\n"
    assert bed.ready_pods(web)


def test_a_drain_keeps_the_disruption_budget_and_a_rollout_spreads_again(bed: Bed, web: str) -> None:
    bed.kubectl("drain", "node1", "--ignore-daemonsets", "--timeout=60s")
    wait_for(lambda: len(nodes_of(bed.ready_pods(web))) == 3, "three pods elsewhere")
    assert "node1" not in nodes_of(bed.ready_pods(web))
    bed.kubectl("uncordon", "node1")
    bed.kubectl("rollout", "restart", "deployment/web")
    wait_for(lambda: nodes_of(bed.ready_pods(web)) == ["node1", "node2", "node3"], "a pod on each node again")


def test_a_memory_limit_kills(bed: Bed) -> None:
    container = {
        "name": "hog",
        "image": "localhost/python:3.11-bookworm",
        "command": ["python3", "-c", "x = bytearray(200 << 20); print(len(x))"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    bed.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hog"}, "spec": spec})
    reason = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    wait_for(lambda: bed.kubectl("get", "pod", "hog", "-o", reason) == "OOMKilled", "the pod to be killed")
    bed.kubectl("delete", "pod", "hog")


def test_an_ingress_policy_lets_in_whom_it_names(bed: Bed, web: str) -> None:
    source, target = bed.ready_pods(web)[:2]
    host = target["status"]["podIP"]
    assert can_connect(bed, source, host, 8080)
    peer = {"podSelector": {"matchLabels": {"may": "in"}}}
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [peer], "ports": [{"port": 8080}]}],
    }
    bed.apply(policy("ingress", spec))
    wait_for(lambda: not can_connect(bed, source, host, 8080), "the policy to keep a pod out")
    bed.kubectl("label", "pod", source["metadata"]["name"], "may=in")
    wait_for(lambda: can_connect(bed, source, host, 8080), "the policy to let the labelled pod in")
    assert len(bed.ready_pods(web)) == 3, "the probes of the node must pass"
    bed.kubectl("label", "pod", source["metadata"]["name"], "may-")
    bed.kubectl("delete", "networkpolicy", "ingress")
    wait_for(lambda: can_connect(bed, source, host, 8080), "the policy to be gone")


def test_an_egress_policy_lets_out_to_what_it_names(bed: Bed, web: str) -> None:
    dns = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    brokers = {"ipBlock": {"cidr": "198.18.0.20/30"}}
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}]},
            {"to": [brokers], "ports": [{"port": 9092}]},
        ],
    }
    bed.apply(policy("egress", spec))
    pod = bed.ready_pods(web)[0]
    wait_for(lambda: not can_connect(bed, pod, "web", 80), "the policy to shut the web service")
    assert can_connect(bed, pod, "kafka1.kafka.kafka.svc", 9092)
    assert not can_connect(bed, pod, "kafka1.kafka.kafka.svc", 9093)
    bed.kubectl("delete", "networkpolicy", "egress")
    wait_for(lambda: can_connect(bed, pod, "web", 80), "the policy to be gone")


def policy(name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def test_kafka_knows_its_users(bed: Bed) -> None:
    bed.in_client("create", "users", "3")
    assert bed.in_client("produce-as", "admin", "users") == "ok\n"
    assert bed.in_client("produce-as", "nobody", "users") == "TOPIC_AUTHORIZATION_FAILED\n"


@pytest.fixture
def tag() -> Iterator[str]:
    """The name of an image of the test's own."""
    tag = "localhost/testbed-verify:dev"
    yield tag
    for leftover in (images.archive_of(tag), images.archive_of(tag).with_suffix(".stamp")):
        leftover.unlink(missing_ok=True)
    run("env", "STORAGE_DRIVER=overlay", "buildah", "rmi", "--force", tag)


@pytest.mark.timeout(300)
def test_an_image_is_built_once_with_pip_loaded_and_run(bed: Bed, tag: str, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("import sortedcontainers; print('hello from', sortedcontainers.__name__)\n")
    dockerfile = """ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG PIP_CERT
RUN python3 -m venv /app && /app/bin/pip install sortedcontainers
COPY hello.py /app/
USER 65532:65532
CMD ["/app/bin/python", "/app/hello.py"]
"""
    (tmp_path / "Dockerfile").write_text(dockerfile)
    built = bed.call("image", "--tag", tag, str(tmp_path), seconds=200)
    assert "unchanged" not in built
    assert "unchanged" in bed.call("image", "--tag", tag, str(tmp_path))
    bed.call("load", tag)
    container = {"name": "hello", "image": tag, "imagePullPolicy": "Never"}
    for node in ("node1", "node3"):
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
        bed.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"hello-{node}"}, "spec": spec})
        await_log(bed, f"hello-{node}", "hello from sortedcontainers")
        bed.kubectl("delete", "pod", f"hello-{node}")
    (tmp_path / "hello.py").write_text("print('changed')\n")
    assert "unchanged" not in bed.call("image", "--tag", tag, str(tmp_path), seconds=200)


def await_log(bed: Bed, pod: str, text: str) -> None:
    wait_for(lambda: text in bed.kubectl("logs", pod), f"{pod} to say {text!r}")
