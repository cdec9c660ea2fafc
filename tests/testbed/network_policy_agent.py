"""Enforces NetworkPolicies on every node, in place of a network plugin's own agent; a process on the client host.

It watches pods, namespaces and policies, and writes a node's table again whenever `network_policy` says something else
about it. It starts again, alone, after the API server was away.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from . import api, layout, network
from .api import Json
from .layout import Instance
from .network_policy import DNS_POD, build_ruleset

_WATCH_SECONDS = 300


class Watch(threading.Thread):
    """Holds the objects of one collection, by UID, as they are now; `items` is replaced, never changed."""

    def __init__(self, path: str, changed: threading.Event) -> None:
        super().__init__(daemon=True)
        self.items: dict[str, Json] = {}
        self.synced = False
        self._path = path
        self._changed = changed

    def run(self) -> None:
        """Follows the collection for ever."""
        while True:
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError) as error:
                print(self._path, repr(error), flush=True)
                time.sleep(1)

    def _follow(self) -> None:
        connection = http.client.HTTPSConnection(
            layout.CONTROL_PLANE_IP, layout.API_PORT, context=api.tls_context(), timeout=_WATCH_SECONDS + 60
        )
        connection.request("GET", self._path)
        listed: Json = json.load(connection.getresponse())
        self._replace({item["metadata"]["uid"]: item for item in listed["items"]})
        self.synced = True
        version = listed["metadata"]["resourceVersion"]
        query = f"watch=1&timeoutSeconds={_WATCH_SECONDS}&resourceVersion={version}"
        connection.request("GET", f"{self._path}?{query}")
        for line in connection.getresponse():
            event: Json = json.loads(line)
            if event["type"] == "ERROR":
                return
            uid = event["object"]["metadata"]["uid"]
            items = {key: item for key, item in self.items.items() if key != uid}
            self._replace(items if event["type"] == "DELETED" else {**items, uid: event["object"]})

    def _replace(self, items: dict[str, Json]) -> None:
        self.items = items
        self._changed.set()


def enforce(instance: Instance, nodes: Sequence[str]) -> None:
    """Keeps the tables of the nodes right, for ever."""
    changed = threading.Event()
    pods = Watch("/api/v1/pods", changed)
    namespaces = Watch("/api/v1/namespaces", changed)
    policies = Watch("/apis/networking.k8s.io/v1/networkpolicies", changed)
    watches = (pods, namespaces, policies)
    for watch in watches:
        watch.start()
    applied: dict[str, str] = {}
    while True:
        changed.wait()
        changed.clear()
        if not all(watch.synced for watch in watches):
            continue
        live = [*filter(_has_own_address, pods.items.values()), DNS_POD]
        labels = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in namespaces.items.values()}
        for node in nodes:
            rules = build_ruleset(node, pods=live, namespace_labels=labels, policies=list(policies.items.values()))
            if applied.get(node) != rules and _apply(instance, node, rules):
                applied[node] = rules
        time.sleep(0.05)  # a burst of events is one change


def _has_own_address(pod: Json) -> bool:
    running = pod["status"]["phase"] in ("Pending", "Running")
    return running and bool(pod["status"].get("podIP")) and not pod["spec"].get("hostNetwork")


def _apply(instance: Instance, node: str, rules: str) -> bool:
    command = [*network.enter(instance, node), "nft", "-f", "-"]
    done = subprocess.run(command, input=rules, text=True, capture_output=True, check=False)
    print(node, "applied" if done.returncode == 0 else done.stderr + rules, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    enforce(Instance(sys.argv[1]), sys.argv[2:])
