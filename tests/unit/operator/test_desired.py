"""The manifests of a resource's children."""

import json
from pathlib import Path

import pytest

from sharedlogkv_operator.desired import (
    build_deployment,
    build_peer_secret,
    build_pod_disruption_budget,
    build_selector_text,
    build_service,
    parse_bootstrap_servers,
    parse_peer_secret,
)
from tests.support.operator_objects import UID, Manifest, build_resource

TEMPLATES = Path(__file__).with_name("pod_templates.json")


def deployment(**arguments: object) -> Manifest:
    return build_deployment(build_resource(**arguments), topic_id="topic-1", default_image="image:1")


def pod_spec(**arguments: object) -> Manifest:
    found: Manifest = deployment(**arguments)["spec"]["template"]["spec"]
    return found


def test_a_replica_is_told_its_log_its_topic_id_its_mode_and_its_name() -> None:
    environment = {item["name"]: item for item in pod_spec()["containers"][0]["env"]}
    assert environment["SLKV_REPLICA_LOG"]["value"] == "kafka://kafka:9092/demo.store"
    assert environment["SLKV_REPLICA_TOPIC_ID"]["value"] == "topic-1"
    assert environment["SLKV_REPLICA_WRITE_MODE"]["value"] == "Leaderless"
    assert environment["SLKV_REPLICA_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_a_replica_that_may_lead_is_told_its_lease_and_how_peers_reach_and_know_it() -> None:
    spec = pod_spec(spec={"writeMode": "Leader", "leader": {"leaseSeconds": 5}})
    (container,) = spec["containers"]
    names = [item["name"] for item in container["env"]]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert environment["SLKV_REPLICA_LEASE_SECONDS"] == "5"
    assert environment["SLKV_REPLICA_PEER_PORT"] == "8081"
    assert environment["SLKV_REPLICA_PEER_ADDRESS"] == "$(POD_IP)"
    assert names.index("POD_IP") < names.index("SLKV_REPLICA_PEER_ADDRESS"), "else it would not be put in"
    assert environment["SLKV_REPLICA_PEER_SECRET_FILE"] == "/etc/sharedlogkv/peers/secret"
    assert {"name": "peer", "containerPort": 8081, "protocol": "TCP"} in container["ports"]
    assert container["volumeMounts"] == [{"name": "peers", "mountPath": "/etc/sharedlogkv/peers", "readOnly": True}]
    assert spec["volumes"] == [{"name": "peers", "secret": {"secretName": "store-peers"}}]


@pytest.mark.parametrize("mode", ["Leaderless", "ReadOnly"])
def test_where_nobody_leads_replicas_have_neither_peers_nor_a_secret(mode: str) -> None:
    spec = pod_spec(spec={"writeMode": mode})
    assert "volumes" not in spec
    assert "PEER" not in str(spec["containers"])


def test_how_reads_are_answered_by_default_is_told_in_the_words_of_the_http_api() -> None:
    reads = {"defaultConsistency": "Bounded", "maxLagMs": 250}
    environment = {item["name"]: item.get("value") for item in pod_spec(spec={"reads": reads})["containers"][0]["env"]}
    assert environment["SLKV_REPLICA_DEFAULT_CONSISTENCY"] == "bounded"
    assert environment["SLKV_REPLICA_DEFAULT_MAX_LAG_MS"] == "250"


def test_the_secret_of_the_peers_is_read_back_and_belongs_to_the_resource() -> None:
    secret = build_peer_secret(build_resource(), value="x" * 43)
    metadata: Manifest = secret["metadata"]  # type: ignore[assignment]  # a manifest's values are opaque
    assert metadata["name"] == "store-peers"
    assert metadata["ownerReferences"][0]["uid"] == UID
    assert parse_peer_secret(secret) == "x" * 43


@pytest.mark.parametrize(
    "data",
    [None, {}, {"secret": ""}, {"secret": "not base64"}, {"secret": "c2hvcnQ="}, {"secret": "/////w" * 10 + "=="}],
)
def test_a_secret_that_holds_nothing_of_use_is_told_as_such(data: object) -> None:
    assert parse_peer_secret({"data": data}) is None


def test_the_pods_meet_the_restricted_pod_security_standard() -> None:
    spec = pod_spec()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = spec["containers"][0]["securityContext"]
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False


def test_a_rollout_never_has_fewer_replicas_than_the_spec_promises() -> None:
    assert deployment()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_replicas_spread_softly_over_zones_and_nodes_unless_the_user_says_otherwise() -> None:
    constraints = pod_spec()["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {item["whenUnsatisfiable"] for item in constraints} == {"ScheduleAnyway"}


def test_the_user_s_constraints_replace_ours_and_select_our_pods_unless_they_select_others() -> None:
    hard = {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    other = {**hard, "labelSelector": {"matchLabels": {"a": "b"}}}
    constraints = pod_spec(spec={"podTemplate": {"topologySpreadConstraints": [hard, other]}})[
        "topologySpreadConstraints"
    ]
    assert constraints[0]["labelSelector"]["matchLabels"]["sharedlog.dev/cluster"] == "store"
    assert constraints[1] == other


def test_no_constraints_at_all_can_be_asked_for() -> None:
    assert "topologySpreadConstraints" not in pod_spec(spec={"podTemplate": {"topologySpreadConstraints": []}})


def test_the_pod_template_s_fields_reach_the_pods_and_can_t_displace_our_labels() -> None:
    template = {
        "labels": {"team": "a"},
        "annotations": {"note": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "registry"}],
    }
    manifest = deployment(spec={"podTemplate": template})
    pod = manifest["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["annotations"] == {"note": "b"}
    for field in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"):
        assert pod["spec"][field] == template[field]
    assert manifest["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "team" not in manifest["metadata"]["labels"]


def test_the_resource_s_own_image_goes_before_the_operator_s_default() -> None:
    assert pod_spec()["containers"][0]["image"] == "image:1"
    assert pod_spec(spec={"image": "mine:2"})["containers"][0]["image"] == "mine:2"


def test_children_belong_to_the_resource_and_bear_none_of_its_labels() -> None:
    resource = build_resource(metadata={"labels": {"argocd": "app"}})
    for manifest in (
        build_deployment(resource, topic_id="t", default_image="i"),
        build_service(resource),
        build_pod_disruption_budget(resource),
    ):
        assert manifest is not None
        metadata: Manifest = manifest["metadata"]  # type: ignore[assignment]  # a manifest's values are opaque
        assert metadata["name"] == "store"
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (UID, True)
        assert "argocd" not in metadata["labels"]


@pytest.mark.parametrize(("replicas", "expected"), [(1, False), (2, True), (3, True)])
def test_a_disruption_budget_exists_from_two_replicas_up(replicas: int, expected: bool) -> None:
    budget = build_pod_disruption_budget(build_resource(spec={"replicas": replicas}))
    assert (budget is not None) == expected


def test_the_service_sends_to_the_replicas_http_port() -> None:
    spec: Manifest = build_service(build_resource())["spec"]  # type: ignore[assignment]  # a manifest's values are opaque
    assert spec["ports"][0]["port"] == 80
    assert spec["ports"][0]["targetPort"] == "http"
    assert build_selector_text(build_resource().identity) == (
        "app.kubernetes.io/component=replica,sharedlog.dev/cluster=store"
    )


@pytest.mark.parametrize("servers", ["kafka:9092", "a:1,b:2", "[fd00::1]:9092,kafka:9092"])
def test_the_brokers_of_a_deployment_of_ours_are_read_back(servers: str) -> None:
    assert parse_bootstrap_servers(deployment(spec={"kafka": {"bootstrapServers": servers}})) == servers


@pytest.mark.parametrize("containers", [None, [], [{}], [{"env": []}], [{"env": [{"name": "SLKV_REPLICA_LOG"}]}]])
def test_a_deployment_that_is_not_of_ours_tells_no_brokers(containers: object) -> None:
    assert parse_bootstrap_servers({"spec": {"template": {"spec": {"containers": containers}}}}) is None
    assert parse_bootstrap_servers({}) is None


@pytest.mark.parametrize("mode", ["Leader", "Leaderless", "ReadOnly"])
def test_an_upgrade_of_the_operator_rolls_no_pod_unless_the_template_was_changed_on_purpose(mode: str) -> None:
    """A change of the file is a rollout of every store in the world: it must be worth that, and be in the changelog."""
    spec = {"writeMode": mode, "image": "image:1"}
    template = deployment(spec=spec)["spec"]["template"]
    assert template == json.loads(TEMPLATES.read_text())[mode]
    other_version = build_deployment(build_resource(spec=spec), topic_id="topic-1", default_image="image:2")
    assert template == other_version["spec"]["template"]  # type: ignore[index]  # a manifest's values are opaque


def test_the_digest_changes_with_what_is_wanted_and_only_then() -> None:
    def digest(manifest: Manifest) -> str:
        return str(manifest["metadata"]["annotations"]["sharedlog.dev/applied-digest"])

    assert digest(deployment()) == digest(deployment(metadata={"resourceVersion": "77"}))
    assert digest(deployment()) != digest(deployment(spec={"replicas": 4}))
