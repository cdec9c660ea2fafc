"""A minimal client of the Kubernetes API, as the cluster's administrator, and of the cluster's DNS."""

import http.client
import json
import socket
import ssl
import struct
from typing import Any

from . import layout, network
from .layout import Instance

Json = dict[str, Any]  # an object of the API, as it came


def tls_context() -> ssl.SSLContext:
    """Trusts the cluster's authority and shows the administrator's certificate."""
    context = ssl.create_default_context(cafile=layout.PKI / "ca.crt")
    context.load_cert_chain(layout.PKI / "admin.crt", layout.PKI / "admin.key")
    return context


def kubeconfig(user: str) -> str:
    """A kubeconfig, as JSON, for one of the users or nodes that have certificates."""
    authority, certificate, key = (str(layout.PKI / name) for name in ("ca.crt", f"{user}.crt", f"{user}.key"))
    server = f"https://{layout.CONTROL_PLANE_IP}:{layout.API_PORT}"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": user, "user": {"client-certificate": certificate, "client-key": key}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        }
    )


def request(instance: Instance, method: str, path: str, body: Json | None = None) -> str:
    """Makes one call from the client's namespace and returns the reply's body.

    Raises:
        OSError: No connection, or a status other than 200 and 201.
    """
    context = tls_context()

    def call() -> str:
        connection = http.client.HTTPSConnection(layout.CONTROL_PLANE_IP, layout.API_PORT, context=context, timeout=20)
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": kind})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        if response.status not in (200, 201):
            raise OSError(f"{method} {path}: {response.status} {text[:300]}")
        return text

    return network.call_in(instance, layout.CLIENT, call)


def apply(instance: Instance, collection: str, manifest: Json) -> None:
    """Applies a manifest server-side."""
    path = f"{collection}/{manifest['metadata']['name']}?fieldManager=testbed&force=true"
    request(instance, "PATCH", path, manifest)


def answers(instance: Instance) -> bool:
    """Whether the API server says that it is ready."""
    try:
        request(instance, "GET", "/readyz")
    except (OSError, http.client.HTTPException):
        return False
    return True


def ready_nodes(instance: Instance) -> dict[str, str]:
    """The nodes that are Ready, each with the time of its last heartbeat (RFC 3339, UTC); none without an answer."""
    try:
        listed: Json = json.loads(request(instance, "GET", "/api/v1/nodes"))
    except (OSError, http.client.HTTPException):
        return {}
    found = {}
    for node in listed["items"]:
        for condition in node["status"].get("conditions", []):
            if condition["type"] == "Ready" and condition["status"] == "True":
                found[node["metadata"]["name"]] = condition["lastHeartbeatTime"]
    return found


def count_addresses(instance: Instance, name: str) -> int:
    """The number of A records that the cluster's DNS has for a name; 0 when it does not answer. Source: RFC 1035."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)

    def ask() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.3)
            sock.sendto(query, (layout.CONTROL_PLANE_IP, 53))
            (answers,) = struct.unpack(">H", sock.recv(4096)[6:8])
        return int(answers)

    try:
        return network.call_in(instance, layout.CLIENT, ask)
    except OSError:
        return 0
