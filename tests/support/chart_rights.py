"""A login with the rights that the chart gives the operator, and no others."""

import asyncio
from pathlib import Path

import yaml

from tests.support.cluster import CHART, Cluster
from tests.support.kubernetes import KubeApi

TEMPLATES = ("templates/serviceaccount.yaml", "templates/rbac.yaml")


async def log_in_as_operator(
    cluster: Cluster, api: KubeApi, folder: Path, *, release_namespace: str, **values: str
) -> Path:
    """A kubeconfig of the chart's service account.

    Args:
        cluster: where the rights are given.
        api: the same.
        folder: for the file.
        release_namespace: where the account is; it may be one of those that are served.
        values: of the chart, as JSON; `rbac__create` for `rbac.create`.
    """
    shown = [word for template in TEMPLATES for word in ("--show-only", template)]
    settings = [word for name, value in values.items() for word in ("--set-json", f"{name.replace('__', '.')}={value}")]
    # Cluster-wide names hold the release's, so that tests do not share them.
    words = ("template", release_namespace, str(CHART), "--namespace", release_namespace, "--kube-version", "1.34.0")
    manifests = cluster.helm(*words, *shown, *settings)
    cluster.kubectl("apply", "--filename", "-", stdin=manifests)
    account = next(m for m in yaml.safe_load_all(manifests) if m and m["kind"] == "ServiceAccount")["metadata"]["name"]
    path = f"/api/v1/namespaces/{release_namespace}/serviceaccounts/{account}/token"
    token = (await api.call("POST", path, body={"spec": {"expirationSeconds": 3600}}))["status"]["token"]
    admin = yaml.safe_load(await asyncio.to_thread(Path(cluster.environment.kubeconfig).read_text))
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": dict(admin["clusters"][0]["cluster"])}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    found = folder / "kubeconfig"
    found.write_text(yaml.safe_dump(config))
    return found
