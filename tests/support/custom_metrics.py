"""The custom metrics API of a cluster, for one metric: what prometheus-adapter makes of a counter of the replicas.

The API server asks it, by way of an APIService, whenever a HorizontalPodAutoscaler wants to know. A rate is that from
one question to the next. It runs in this process, so the API server must reach this machine, as that of a testbed does.
"""

import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.support.cluster import ADMIN_PORT, Manifest
from tests.support.store import Store

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
API = f"/apis/{GROUP}/{VERSION}"
COUNTER = re.compile(r"^slkv_replica_http_requests_total\{.*\} (\S+)$", re.MULTILINE)
METRIC = "slkv_replica_http_requests_per_second"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: Store) -> None:
        super().__init__(("0.0.0.0", 0), _Handler)
        self.store = store
        self.asked = threading.Lock()
        self.seen: dict[str, tuple[float, float]] = {}

    def read_rates(self) -> dict[str, float]:
        """Requests a second of each replica since the last question; none of those that were not there then."""
        pods = [pod for pod in self.store.pods() if pod.is_ready]
        rates = {}
        with self.asked, self.store.clients(pods, port=ADMIN_PORT) as clients:
            for pod, client in zip(pods, clients, strict=True):
                text = client.request("GET", "/metrics").body.decode()
                now, total = time.monotonic(), sum(map(float, COUNTER.findall(text)))
                if pod.name in self.seen:
                    then, before = self.seen[pod.name]
                    rates[pod.name] = (total - before) / (now - then)
                self.seen[pod.name] = (now, total)
        return rates


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        namespace = self.server.store.namespace
        path = unquote(self.path.partition("?")[0]).rstrip("/")
        if path == API:
            resource = {"name": f"pods/{METRIC}", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
            listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
            self._answer(200, {**listed, "resources": [{**resource, "singularName": ""}]})
        elif path == f"{API}/namespaces/{namespace}/pods/*/{METRIC}":
            items = [_value(namespace, name, rate) for name, rate in self.server.read_rates().items()]
            kind = {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}"}
            self._answer(200, {**kind, "metadata": {}, "items": items})
        else:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
            self._answer(404, {**status, "message": f"there is nothing at {self.path}"})

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, status: int, document: Manifest) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _value(namespace: str, pod: str, rate: float) -> Manifest:
    return {
        "describedObject": {"kind": "Pod", "apiVersion": "/v1", "namespace": namespace, "name": pod},
        "metric": {"name": METRIC},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": f"{round(rate * 1000)}m",
    }


@contextmanager
def custom_metrics(store: Store, *, address: str, folder: Path) -> Iterator[None]:
    """Have the cluster's custom metrics API tell of the store's replicas while the context lasts.

    Args:
        store: whose replicas.
        address: where the API server reaches this machine.
        folder: for the key and the certificate.
    """
    files = ("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    command = ("openssl", "req", "-x509", *curve, "-subj", "/CN=custom-metrics", "-days", "2", *files)
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with _Server(store) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, name="custom-metrics")
        thread.start()
        service = f"{VERSION}.{GROUP}"
        try:
            for manifest in _register(store.namespace, address=address, port=server.server_port):
                store.cluster.apply(manifest, namespace=store.namespace)
            store.cluster.kubectl("wait", "apiservice", service, "--for=condition=Available", "--timeout=60s")
            yield
        finally:
            store.cluster.kubectl("delete", "apiservice", service, "--ignore-not-found")
            server.shutdown()
            thread.join()


def _register(namespace: str, *, address: str, port: int) -> Iterator[Manifest]:
    name = "custom-metrics"
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port}],
        "endpoints": [{"addresses": [address]}],
    }
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": name, "namespace": namespace, "port": 443},
        },
    }
