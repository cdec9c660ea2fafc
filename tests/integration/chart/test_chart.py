"""The chart as helm renders it, and as a real API server takes it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import CHART, REPOSITORY, Cluster, Manifest
from tests.support.commands import CommandFailed

CRD = "sharedlogkvs.sharedlog.dev"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def render(cluster: Cluster, **values: Any) -> list[Manifest]:
    """Return what `helm template` makes of the values (`metrics__service__enabled=True`)."""
    return [m for m in yaml.safe_load_all(template(cluster, **values)) if m]


def template(cluster: Cluster, **values: Any) -> str:
    """Return the text that `helm template` prints."""
    settings = [
        word
        for name, value in values.items()
        for word in ("--set-json", f"{name.replace('__', '.')}={json.dumps(value)}")
    ]
    words = ("template", "shop", str(CHART), "--namespace", "ops", "--kube-version", "1.34.0", *settings)
    return cluster.helm(*words)


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only object of a kind (and name)."""
    found = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def container(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the operator's container."""
    found: dict[str, Any] = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def variables(manifests: list[Manifest]) -> dict[str, str]:
    """Return the operator's environment."""
    return {variable["name"]: variable["value"] for variable in container(manifests)["env"]}


def test_helm_finds_nothing_to_complain_of(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in cluster.helm("lint", "--strict", str(CHART))


def test_the_defaults_make_two_operators_for_the_whole_cluster_of_which_one_works(cluster: Cluster) -> None:
    manifests = render(cluster)
    assert sorted(m["kind"] for m in manifests) == [
        "ClusterRole",
        "ClusterRole",
        "ClusterRole",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "ServiceAccount",
    ]
    deployment = one(manifests, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert variables(manifests)["SLKV_OPERATOR_LEASE"] == "ops/shop-sharedlogkv"
    assert variables(manifests)["SLKV_OPERATOR_NAMESPACES"] == ""


def test_the_pod_is_restricted(cluster: Cluster) -> None:
    manifests = render(cluster)
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container(manifests)["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True


def test_no_service_of_the_namespace_puts_variables_into_the_pod(cluster: Cluster) -> None:
    pod = one(render(cluster), "Deployment")["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False


def test_the_selector_matches_the_pod_and_does_not_change_with_the_version(cluster: Cluster) -> None:
    deployment = one(render(cluster, podLabels={"team": "kv"}), "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selector = deployment["selector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": "sharedlogkv-operator", "app.kubernetes.io/instance": "shop"}
    assert selector.items() <= labels.items()
    assert labels["team"] == "kv"


def test_a_label_of_the_chart_s_own_can_t_be_given_to_the_pod(cluster: Cluster) -> None:
    own = one(render(cluster), "Deployment")["spec"]["template"]["metadata"]["labels"]
    for label in own:
        with pytest.raises(CommandFailed, match="podLabels"):
            render(cluster, podLabels={label: "mine"})
    pod = one(render(cluster, podLabels={"team": "kv"}), "Deployment")["spec"]["template"]["metadata"]
    assert pod["labels"] == {**own, "team": "kv"}


def test_with_namespaces_the_operator_has_rights_there_and_nowhere_else(cluster: Cluster) -> None:
    manifests = render(cluster, watchNamespaces=["a", "b"], rbac__aggregateRoles=False)
    assert not [m for m in manifests if m["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    assert [m["metadata"]["namespace"] for m in manifests if m["kind"] == "Role"] == ["a", "b", "ops"]
    bindings = [m for m in manifests if m["kind"] == "RoleBinding"]
    assert [m["metadata"]["namespace"] for m in bindings] == ["a", "b", "ops"]
    (lease,) = [m for m in manifests if m["kind"] == "Role" and m["metadata"]["namespace"] == "ops"]
    assert {resource for rule in lease["rules"] for resource in rule["resources"]} == {"leases"}
    account = one(manifests, "ServiceAccount")["metadata"]
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        ]
    assert variables(manifests)["SLKV_OPERATOR_NAMESPACES"] == "a,b"


def test_rights_that_outlive_namespaces_are_on_stores_and_on_nothing_else(cluster: Cluster) -> None:
    manifests = render(cluster, watchNamespaces=["a"], rbac__outliveNamespaces=True, rbac__aggregateRoles=False)
    role, binding = one(manifests, "ClusterRole"), one(manifests, "ClusterRoleBinding")
    granted = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert granted == {"sharedlogkvs": ["get", "list", "watch", "patch"], "sharedlogkvs/status": ["patch"]}
    assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"sharedlog.dev"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == one(manifests, "ServiceAccount")["metadata"]["name"]
    wide = render(cluster, rbac__outliveNamespaces=True)
    assert wide == render(cluster), "an operator for the whole cluster has these rights anyway"


def test_roles_and_cluster_role_hold_the_same_rules(cluster: Cluster) -> None:
    wide = one(render(cluster), "ClusterRole", "shop-sharedlogkv")["rules"]
    narrow = one(render(cluster, watchNamespaces=["a"]), "Role", "shop-sharedlogkv")["rules"]
    assert wide == narrow


def test_no_rule_grants_more_than_it_names(cluster: Cluster) -> None:
    granted = {
        (group, resource): set(rule["verbs"])
        for manifest in render(cluster)
        if manifest["kind"] == "ClusterRole"
        for rule in manifest["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert not any("*" in {group, resource, *verbs} for (group, resource), verbs in granted.items())
    assert {resource for group, resource in granted if group == ""} == {"events", "pods", "secrets", "services"}
    assert granted["", "secrets"] == {"get", "create", "patch"}
    assert "delete" not in granted["apps", "deployments"] | granted["", "services"] | granted["", "pods"]


def test_the_crd_is_the_source_with_labels_and_the_keeping_annotation(cluster: Cluster) -> None:
    source = yaml.safe_load((REPOSITORY / f"crds/{CRD}.yaml").read_text())
    kept = one(render(cluster), "CustomResourceDefinition")
    assert kept["spec"] == source["spec"]
    assert kept["metadata"]["name"] == source["metadata"]["name"]
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    loose = one(render(cluster, crds__keep=False), "CustomResourceDefinition")
    assert loose["spec"] == source["spec"]
    assert "helm.sh/resource-policy" not in loose["metadata"].get("annotations", {})
    assert not [m for m in render(cluster, crds__enabled=False) if m["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"repository": "r/kv"}, "r/kv:0.1.0"),
        ({"repository": "r/kv", "tag": "v9"}, "r/kv:v9"),
        ({"repository": "r/kv", "tag": "v9", "digest": DIGEST}, f"r/kv@{DIGEST}"),
    ],
    ids=["version", "tag", "digest"],
)
def test_the_image_is_that_of_the_version_the_tag_or_the_digest(
    cluster: Cluster, image: dict[str, str], reference: str
) -> None:
    manifests = render(cluster, image=image)
    assert container(manifests)["image"] == reference
    assert variables(manifests)["SLKV_OPERATOR_REPLICA_IMAGE"] == reference


def test_replicas_may_have_another_image(cluster: Cluster) -> None:
    assert variables(render(cluster, replicaImage="r/replica:2"))["SLKV_OPERATOR_REPLICA_IMAGE"] == "r/replica:2"


def test_every_pod_setting_reaches_the_pod(cluster: Cluster) -> None:
    tolerations = [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    affinity: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    manifests = render(
        cluster,
        nodeSelector={"disk": "none"},
        tolerations=tolerations,
        affinity=affinity,
        priorityClassName="system-cluster-critical",
        imagePullSecrets=[{"name": "pull"}],
        podAnnotations={"note": "1"},
        resources={"limits": {"cpu": 1}},
        httpPort=9999,
        logLevel="debug",
        workers=3,
        resyncSeconds=60,
    )
    template = one(manifests, "Deployment")["spec"]["template"]
    pod = template["spec"]
    assert pod["nodeSelector"] == {"disk": "none"}
    assert pod["tolerations"] == tolerations
    assert pod["affinity"] == affinity
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert template["metadata"]["annotations"] == {"note": "1"}
    assert container(manifests)["resources"]["limits"]["cpu"] == 1
    assert container(manifests)["ports"] == [{"name": "http", "containerPort": 9999}]
    shown = variables(manifests)
    assert (shown["SLKV_OPERATOR_HTTP_PORT"], shown["SLKV_OPERATOR_LOG_LEVEL"]) == ("9999", "debug")
    assert (shown["SLKV_OPERATOR_WORKERS"], shown["SLKV_OPERATOR_RESYNC_SECONDS"]) == ("3", "60")


def test_replicas_of_the_operator_are_spread_and_drained_one_at_a_time(cluster: Cluster) -> None:
    manifests = render(cluster)
    deployment = one(manifests, "Deployment")["spec"]
    selector = deployment["selector"]
    assert one(manifests, "PodDisruptionBudget")["spec"]["selector"] == selector
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"] == selector


def test_a_single_operator_has_no_budget_that_could_block_a_drain(cluster: Cluster) -> None:
    assert not [m for m in render(cluster, replicas=1) if m["kind"] == "PodDisruptionBudget"]
    disabled = render(cluster, podDisruptionBudget__enabled=False)
    assert not [m for m in disabled if m["kind"] == "PodDisruptionBudget"]


def test_a_spread_of_one_s_own_takes_the_place_of_the_default(cluster: Cluster) -> None:
    hard = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    other = {**hard, "labelSelector": {"matchLabels": {"a": "b"}}}
    deployment = one(render(cluster, topologySpreadConstraints=[hard, other]), "Deployment")["spec"]
    first, second = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert first == {**hard, "labelSelector": deployment["selector"]}
    assert second == other
    none = one(render(cluster, topologySpreadConstraints=[]), "Deployment")["spec"]["template"]["spec"]
    assert "topologySpreadConstraints" not in none


def test_a_service_account_of_one_s_own_is_used_and_bound(cluster: Cluster) -> None:
    manifests = render(cluster, serviceAccount={"create": False, "name": "mine"})
    assert not [m for m in manifests if m["kind"] == "ServiceAccount"]
    assert one(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    assert one(manifests, "ClusterRoleBinding")["subjects"][0]["name"] == "mine"


def test_the_metrics_service_reaches_the_operator_s_port(cluster: Cluster) -> None:
    manifests = render(cluster, metrics__service__enabled=True, httpPort=9999)
    service = one(manifests, "Service")["spec"]
    assert service["selector"] == one(manifests, "Deployment")["spec"]["selector"]["matchLabels"]
    assert service["ports"] == [{"name": "http", "port": 9999, "targetPort": "http"}]


def test_pod_monitors_reach_the_operator_and_the_replicas_it_serves(cluster: Cluster) -> None:
    enabled = {"metrics__podMonitor__enabled": True, "metrics__podMonitor__labels": {"release": "prometheus"}}
    manifests = render(cluster, **enabled, watchNamespaces=["a"])
    operator = one(manifests, "PodMonitor", "shop-sharedlogkv")
    replicas = one(manifests, "PodMonitor", "shop-sharedlogkv-replicas")
    assert operator["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    assert replicas["spec"]["podMetricsEndpoints"][0]["port"] == "admin"
    assert replicas["spec"]["namespaceSelector"] == {"matchNames": ["a"]}
    assert one(render(cluster, **enabled), "PodMonitor", "shop-sharedlogkv-replicas")["spec"]["namespaceSelector"] == {
        "any": True
    }
    assert operator["metadata"]["labels"]["release"] == "prometheus"


def test_a_value_that_the_chart_does_not_know_is_refused_by_name(cluster: Cluster) -> None:
    with pytest.raises(CommandFailed, match="nosuchvalue"):
        template(cluster, nosuchvalue=True)
    with pytest.raises(CommandFailed, match=r"chatty|logLevel"):
        template(cluster, logLevel="chatty")


@pytest.fixture
def release(cluster: Cluster, namespace: str) -> Iterator[str]:
    """The name of a release that is gone after the test, with the roles that it made outside its namespace."""
    yield "chart"
    cluster.helm("uninstall", "chart", "--namespace", namespace, "--ignore-not-found")


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": True, "metrics": {"service": {"enabled": True}}}], ids=str)
def test_a_real_api_server_takes_the_release_and_its_upgrade(
    cluster: Cluster, namespace: str, release: str, values: dict[str, Any], tmp_path: Path
) -> None:
    """There may be no nodes, so nothing waits for the pod; the objects are what counts."""
    if "watchNamespaces" in values:
        values = {**values, "watchNamespaces": [namespace]}
    file = tmp_path / "values.yaml"
    # The CRD is other tests' too, and there already; a release would want to own it.
    file.write_text(yaml.safe_dump({**values, "crds": {"enabled": False}}))
    words = (release, str(CHART), "--namespace", namespace, "--values", str(file))
    cluster.helm("install", *words)
    cluster.helm("upgrade", *words, "--set", "logLevel=debug")
    deployment = cluster.get("deployment", "chart-sharedlogkv", namespace=namespace)
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "SLKV_OPERATOR_LOG_LEVEL", "value": "debug"} in environment
    account = f"system:serviceaccount:{namespace}:chart-sharedlogkv"
    question = ("auth", "can-i", "patch", "sharedlogkvs.sharedlog.dev", f"--as={account}")
    assert cluster.kubectl(*question, namespace=namespace).strip() == "yes"
    elsewhere = "yes" if "watchNamespaces" not in values else "no"
    try:
        answer = cluster.kubectl(*question, namespace="kube-public").strip()
    except CommandFailed:  # kubectl's way to say no
        answer = "no"
    assert answer == elsewhere


def test_an_upgrade_brings_the_crd_up_to_date_and_an_uninstall_keeps_it(
    cluster: Cluster, namespace: str, release: str, tmp_path: Path
) -> None:
    source = REPOSITORY / f"crds/{CRD}.yaml"
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    changed = source.read_text().replace("description: Who may write.", "description: Who may write now.")
    # Other tests have installed the CRD without helm.
    words = (release, str(chart), "--namespace", namespace, "--take-ownership")
    try:
        cluster.helm("install", *words)
        (chart / f"files/crds/{CRD}.yaml").write_text(changed)
        cluster.helm("upgrade", *words)
        cluster.helm("uninstall", release, "--namespace", namespace)
        assert "Who may write now." in cluster.kubectl("get", "crd", CRD, "--output", "yaml")
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(source))


def test_a_real_api_server_takes_the_crd_as_the_chart_renders_it(cluster: Cluster) -> None:
    crd = one(render(cluster), "CustomResourceDefinition")
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename", "-")
    assert CRD in cluster.kubectl(*words, stdin=json.dumps(crd))


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_a_real_api_server_takes_each_example(cluster: Cluster, namespace: str, example: Path) -> None:
    words = ("apply", "--dry-run=server", "--validate=strict", "--filename", str(example))
    assert "created (server dry run)" in cluster.kubectl(*words, namespace=namespace)


def test_the_cluster_s_view_edit_and_admin_roles_come_to_include_stores(cluster: Cluster) -> None:
    manifests = render(cluster)
    view, edit, admin = (
        one(manifests, "ClusterRole", f"shop-sharedlogkv-{role}") for role in ("view", "edit", "admin")
    )
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {k for k in view["metadata"]["labels"] if k.startswith(prefix)} == {
        prefix + r for r in ("view", "edit", "admin")
    }
    assert {k for k in edit["metadata"]["labels"] if k.startswith(prefix)} == {prefix + r for r in ("edit", "admin")}
    assert {k for k in admin["metadata"]["labels"] if k.startswith(prefix)} == {prefix + "admin"}
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
