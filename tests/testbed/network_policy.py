"""What NetworkPolicies mean for one node, as a ruleset of nftables. No IO: `network_policy_agent` watches and applies.

A packet passes a node when the egress policies of its source and the ingress policies of its target let it pass. As
everywhere, a node may reach its own pods (probes), and connections that stand are not cut.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence

from . import layout
from .api import Json

_HEAD = """chain forward {
  type filter hook forward priority 0; policy accept;
  ct state established,related accept
"""
_TABLE = "table ip testbed_policy"
_OPERATORS: dict[str, Callable[[str | None, list[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}

# The cluster's DNS runs as a process; to policies it is the pod that the usual rule for it selects.
DNS_POD: Json = {
    "metadata": {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
    "spec": {"nodeName": layout.CONTROL_PLANE, "containers": []},
    "status": {"podIP": layout.CONTROL_PLANE_IP},
}


def build_ruleset(
    node: str, *, pods: Sequence[Json], namespace_labels: Mapping[str, Json], policies: Sequence[Json]
) -> str:
    """The whole table of a node, in nft's language; applying it replaces the one before.

    Args:
        node: The node's name.
        pods: All pods of the cluster that have an address of their own.
        namespace_labels: The labels of every namespace.
        policies: All NetworkPolicies of the cluster.
    """
    chains, jumps = "", ""
    for direction, mine in (("Egress", "saddr"), ("Ingress", "daddr")):
        for pod in pods:
            chosen = [policy["spec"] for policy in policies if _selects(policy, pod, direction)]
            if pod["spec"]["nodeName"] != node or not chosen:
                continue
            address = pod["status"]["podIP"]
            name = f"{direction.lower()}_{address.replace('.', '_')}"
            rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
            lines = [
                line
                for rule in rules
                for line in _build_rule(rule, direction, pod, pods=pods, namespace_labels=namespace_labels)
            ]
            chains += f"chain {name} {{\n" + "".join(f"  {line} return\n" for line in lines) + "  counter drop\n}\n"
            jumps += f"  ip {mine} {address} jump {name}\n"
    return f"{_TABLE}\ndelete {_TABLE}\n{_TABLE} {{\n{chains}{_HEAD}{jumps}}}\n}}\n"


def _selects(policy: Json, pod: Json, direction: str) -> bool:
    spec, metadata = policy["spec"], pod["metadata"]
    return (
        policy["metadata"]["namespace"] == metadata["namespace"]
        and direction in spec["policyTypes"]
        and matches(spec.get("podSelector", {}), metadata.get("labels"))
    )


def _build_rule(
    rule: Json, direction: str, pod: Json, *, pods: Sequence[Json], namespace_labels: Mapping[str, Json]
) -> list[str]:
    """The matches of one rule of a policy: one for each of its ports."""
    field, theirs = ("to", "daddr") if direction == "Egress" else ("from", "saddr")
    networks = _peer_networks(rule.get(field), pod["metadata"]["namespace"], pods=pods, labels=namespace_labels)
    if networks == []:  # peers are named, and none exists
        return []
    whom = f"ip {theirs} {{ {', '.join(networks)} }} " if networks else ""
    targets = [pod] if direction == "Ingress" else pods
    return [whom + port for port in _port_matches(rule.get("ports"), targets)]


def matches(selector: Json, labels: Json | None) -> bool:
    """Whether a label selector selects an object with these labels."""
    labels = labels or {}
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(
        _OPERATORS[expression["operator"]](labels.get(expression["key"]), expression.get("values", []))
        for expression in selector.get("matchExpressions", [])
    )


def _peer_networks(
    peers: list[Json] | None, namespace: str, *, pods: Sequence[Json], labels: Mapping[str, Json]
) -> list[str] | None:
    """The networks that a rule's peers stand for; None: any."""
    if not peers:
        return None
    networks: list[ipaddress.IPv4Network] = []
    for peer in peers:
        if "ipBlock" in peer:
            networks += _block(peer["ipBlock"])
            continue
        for pod in pods:
            metadata = pod["metadata"]
            if "namespaceSelector" in peer:
                inside = matches(peer["namespaceSelector"], labels.get(metadata["namespace"]))
            else:
                inside = metadata["namespace"] == namespace
            if inside and matches(peer.get("podSelector", {}), metadata.get("labels")):
                networks.append(ipaddress.IPv4Network(pod["status"]["podIP"]))
    return [str(network) for network in ipaddress.collapse_addresses(networks)]


def _block(block: Json) -> list[ipaddress.IPv4Network]:
    """A block of addresses without its exceptions."""
    networks = [ipaddress.IPv4Network(block["cidr"])]
    for hole in map(ipaddress.IPv4Network, block.get("except", [])):
        networks = [part for n in networks for part in (n.address_exclude(hole) if hole.subnet_of(n) else [n])]
    return networks


def _port_matches(ports: list[Json] | None, targets: Sequence[Json]) -> list[str]:
    """Matches for a rule's ports; a named port is looked up in the target pods."""
    if not ports:
        return [""]
    found = []
    for entry in ports:
        protocol, port = entry.get("protocol", "TCP").lower(), entry.get("port")
        if port is None:
            found.append(f"meta l4proto {protocol}")
        elif isinstance(port, str):
            found += [f"{protocol} dport {number}" for number in sorted(_named_ports(port, targets))]
        else:
            found.append(f"{protocol} dport {port}" + (f"-{entry['endPort']}" if "endPort" in entry else ""))
    return found


def _named_ports(name: str, pods: Sequence[Json]) -> set[int]:
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    return {port["containerPort"] for c in containers for port in c.get("ports", []) if port.get("name") == name}
