"""What a policy means for a node, as rules; that the rules do it is for `test_cluster`."""

from tests.testbed.api import Json
from tests.testbed.network_policy import build_ruleset, matches


def pod(name: str, address: str, *, node: str = "node1", labels: Json | None = None) -> Json:
    container = {"name": "main", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels or {"app": name}},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"podIP": address},
    }


def policy(spec: Json) -> Json:
    return {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}


def rules_of(spec: Json, *, node: str = "node1") -> list[str]:
    pods = [pod("web", "198.18.129.2"), pod("db", "198.18.130.2", node="node2")]
    text = build_ruleset(node, pods=pods, namespace_labels={"default": {}}, policies=[policy(spec)])
    return [line.strip() for line in text.splitlines()]


def test_a_pod_that_no_policy_selects_is_open() -> None:
    spec: Json = {"podSelector": {"matchLabels": {"app": "none"}}, "policyTypes": ["Ingress"]}
    assert not [line for line in rules_of(spec) if "jump" in line]


def test_a_policy_without_rules_shuts_its_pods_on_their_own_node_alone() -> None:
    spec: Json = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
    lines = rules_of(spec)
    assert "ip daddr 198.18.129.2 jump ingress_198_18_129_2" in lines
    assert not [line for line in lines if line.endswith("return")]
    assert not [line for line in rules_of(spec, node="node2") if "jump" in line]


def test_peers_and_named_ports_become_addresses_and_numbers() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": "http"}]}
    spec: Json = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}
    assert "ip saddr { 198.18.130.2/32 } tcp dport 8080 return" in rules_of(spec)


def test_a_peer_that_nobody_is_lets_nobody_in() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "ghost"}}}]}
    spec: Json = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}
    assert not [line for line in rules_of(spec) if line.endswith("return")]


def test_a_block_of_addresses_has_its_exceptions() -> None:
    rule = {
        "to": [{"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.0/31"]}}],
        "ports": [{"port": 1, "endPort": 9}],
    }
    spec: Json = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]}
    assert "ip daddr { 10.0.0.2/31 } tcp dport 1-9 return" in rules_of(spec)


def test_expressions_of_a_selector_are_understood() -> None:
    def expression(operator: str, *values: str) -> Json:
        return {"matchExpressions": [{"key": "tier", "operator": operator, "values": list(values)}]}

    assert matches(expression("In", "web", "db"), {"tier": "db"})
    assert not matches(expression("NotIn", "db"), {"tier": "db"})
    assert matches(expression("Exists"), {"tier": "db"})
    assert matches(expression("DoesNotExist"), None)
