"""The control plane's processes, the cluster's DNS, kube-proxy, and the objects that every testbed has."""

import json

from . import api, layout
from .api import Json
from .hosts import Hosts
from .state import Size

NODE_GRACE_SECONDS = 16  # without a heartbeat for so long, a node is NotReady (Kubernetes' own default is 50)
_TOLERATION_SECONDS = 5  # a pod stays bound to a lost node for so long (Kubernetes' own default is 300)
_ETCD_URL = "http://127.0.0.1:2379"


def start_api_server(hosts: Hosts) -> None:
    """Starts etcd and the API server; `await_api_server` tells when they answer."""
    data = hosts.instance.run / layout.CONTROL_PLANE
    data.mkdir()
    urls = [f"--listen-client-urls={_ETCD_URL}", f"--advertise-client-urls={_ETCD_URL}"]
    urls += ["--listen-peer-urls=http://127.0.0.1:2380"]
    # No fsync: `down` throws the data away, and one disk under several etcds and brokers is slow.
    options = [f"--data-dir={data / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn", *urls]
    hosts.spawn(layout.CONTROL_PLANE, "etcd", ["etcd", *options])
    hosts.spawn(layout.CONTROL_PLANE, "kube-apiserver", ["kube-apiserver", *_api_server_options()])


def _api_server_options() -> list[str]:
    pki = layout.PKI
    return [
        f"--etcd-servers={_ETCD_URL}",
        f"--secure-port={layout.API_PORT}",
        f"--advertise-address={layout.CONTROL_PLANE_IP}",
        f"--service-cluster-ip-range={layout.SERVICE_NET}",
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{layout.DOMAIN}",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",  # the control plane's host can't resolve the nodes' names
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--default-not-ready-toleration-seconds={_TOLERATION_SECONDS}",
        f"--default-unreachable-toleration-seconds={_TOLERATION_SECONDS}",
    ]


def await_api_server(hosts: Hosts) -> None:
    """Returns once the API server is ready."""
    hosts.wait_for("kube-apiserver", lambda: api.answers(hosts.instance), timeout_seconds=120)


def start_controllers(hosts: Hosts) -> None:
    """Starts controller-manager and scheduler."""
    pki = layout.PKI
    options = [
        f"--kubeconfig={write_kubeconfig(hosts, 'controller-manager')}",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--node-monitor-period=1s",
        f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
    ]
    hosts.spawn(layout.CONTROL_PLANE, "kube-controller-manager", ["kube-controller-manager", *options])
    options = [f"--kubeconfig={write_kubeconfig(hosts, 'scheduler')}", "--leader-elect=false"]
    hosts.spawn(layout.CONTROL_PLANE, "kube-scheduler", ["kube-scheduler", *options])


def start_dns(hosts: Hosts) -> None:
    """Starts the cluster's DNS; it knows the cluster's names alone, and forwards nothing."""
    path = hosts.instance.run / "Corefile"
    path.write_text(
        f""".:53 {{
    bind {layout.CONTROL_PLANE_IP}
    errors
    cache 5
    kubernetes {layout.DOMAIN} in-addr.arpa {{
        kubeconfig {hosts.instance.kubeconfig} testbed
        pods insecure
        ttl 5
        fallthrough in-addr.arpa
    }}
}}
"""
    )
    hosts.spawn(layout.CONTROL_PLANE, "coredns", ["coredns", "-conf", str(path)])


def start_proxy(hosts: Hosts, host: str, *, node: str) -> None:
    """Starts kube-proxy on a host, in the name of a node.

    Hosts other than nodes have one too: the API server calls webhooks, and the client calls Services.
    """
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": write_kubeconfig(hosts, "proxy")},
        "hostnameOverride": node,
        "bindAddress": hosts.state.hosts[host].address,
        "clusterCIDR": layout.POD_NET,
        "oomScoreAdj": 0,
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        "conntrack": {"maxPerCore": 0, "min": 0},  # leaves the settings of the whole machine alone
    }
    path = hosts.instance.run / f"proxy-{host}.json"
    path.write_text(json.dumps(configuration))
    hosts.spawn(host, f"kube-proxy-{host}", ["kube-proxy", "--config", str(path)])


def apply_base_objects(hosts: Hosts, size: Size) -> None:
    """Makes the Services without selector: of the cluster's DNS, and of the brokers together and one by one."""
    dns_ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]
    dns = [Json(addresses=[layout.CONTROL_PLANE_IP], conditions={"ready": True})]
    _apply_service(hosts, "kube-system", "kube-dns", cluster_ip=layout.DNS_SERVICE, ports=dns_ports, endpoints=dns)
    if not size.brokers:
        return
    namespace: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}}
    api.apply(hosts.instance, "/api/v1/namespaces", namespace)
    numbers = {"plaintext": layout.KAFKA_PORT, "sasl-ssl": layout.KAFKA_SASL_PORT, "ssl": layout.KAFKA_MUTUAL_PORT}
    kafka_ports = [(name, number, "TCP") for name, number in numbers.items()]
    brokers = [
        Json(addresses=[layout.broker_ip(n)], conditions={"ready": True}, hostname=layout.broker_name(n))
        for n in range(1, size.brokers + 1)
    ]
    _apply_service(hosts, "kafka", "kafka", cluster_ip="None", ports=kafka_ports, endpoints=brokers)


def _apply_service(
    hosts: Hosts,
    namespace: str,
    name: str,
    *,
    cluster_ip: str,
    ports: list[tuple[str, int, str]],
    endpoints: list[Json],
) -> None:
    metadata = {"name": name, "namespace": namespace}
    port_list = [{"name": n, "port": port, "protocol": protocol} for n, port, protocol in ports]
    service: Json = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    service["spec"] = {"clusterIP": cluster_ip, "ports": port_list}
    api.apply(hosts.instance, f"/api/v1/namespaces/{namespace}/services", service)
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "testbed"}
    slices: Json = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    slices |= {"metadata": {**metadata, "labels": labels}, "ports": port_list, "endpoints": endpoints}
    api.apply(hosts.instance, f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", slices)


def write_kubeconfig(hosts: Hosts, user: str) -> str:
    """Writes the kubeconfig of a user into the run directory and returns its path."""
    path = hosts.instance.run / f"{user}.kubeconfig"
    if not path.exists():  # several processes share one, and none may find it half written
        path.write_text(api.kubeconfig(user))
    return str(path)
