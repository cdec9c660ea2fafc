"""The certificates of every possible node and broker, made by openssl once and kept in the cache."""

import secrets
from pathlib import Path

from . import layout
from .processes import run

_DAYS = "3650"
_USERS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}


def make(folder: Path) -> None:
    """Fills a new folder with NAME.key and NAME.crt of authorities, components, nodes and brokers.

    Keys are of an elliptic curve, which are made at once. Of a broker there is also NAME.pem, key and chain in one
    file: Kafka's PEM key store.
    """
    folder.mkdir()
    for authority in ("ca", "front-proxy-ca", "kafka-ca"):
        _make_authority(folder, authority)
    _make_key(folder, "sa")
    run("openssl", "pkey", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")
    service = "kubernetes.default.svc"
    names = ["kubernetes", "kubernetes.default", service, f"{service}.{layout.DOMAIN}"]
    addresses = [layout.CONTROL_PLANE_IP, layout.API_SERVICE, "127.0.0.1"]
    _make(folder, "apiserver", subject="/CN=kube-apiserver", names=names, addresses=addresses)
    _make(folder, "front-proxy", subject="/CN=front-proxy", names=["front-proxy"], authority="front-proxy-ca")
    for user, subject in _USERS.items():
        _make(folder, user, subject=subject, names=[user])
    for number in range(1, layout.MOST + 1):
        node, broker = layout.node_name(number), layout.broker_name(number)
        subject = f"/O=system:nodes/CN=system:node:{node}"
        _make(folder, node, subject=subject, names=[node], addresses=[layout.node_ip(number)])
        names = [layout.broker_address(number), "kafka.kafka", "kafka.kafka.svc", layout.KAFKA_SERVICE]
        addresses = [layout.broker_ip(number)]
        _make(folder, broker, subject=f"/CN={broker}", names=names, addresses=addresses, authority="kafka-ca")
        parts = [folder / f"{broker}.key", folder / f"{broker}.crt", folder / "kafka-ca.crt"]
        (folder / f"{broker}.pem").write_text("".join(part.read_text() for part in parts))


def _make_key(folder: Path, name: str) -> None:
    curve = "ec_paramgen_curve:P-256"
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", folder / f"{name}.key")


def _make_authority(folder: Path, name: str) -> None:
    _make_key(folder, name)
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    target = ["-days", _DAYS, *usage, "-out", str(folder / f"{name}.crt")]
    run("openssl", "req", "-x509", "-new", "-key", folder / f"{name}.key", "-subj", f"/CN=testbed-{name}", *target)


def _make(
    folder: Path,
    name: str,
    *,
    subject: str,
    names: list[str],
    addresses: list[str] | None = None,
    authority: str = "ca",
) -> None:
    _make_key(folder, name)
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    others = [f"DNS:{n}" for n in names] + [f"IP:{a}" for a in addresses or []]
    extensions.write_text(f"subjectAltName={','.join(others)}\nextendedKeyUsage=serverAuth,clientAuth\n")
    run("openssl", "req", "-new", "-key", folder / f"{name}.key", "-subj", subject, "-out", request)
    signer = ["-CA", str(folder / f"{authority}.crt"), "-CAkey", str(folder / f"{authority}.key")]
    serial = ["-set_serial", f"0x{secrets.token_hex(8)}", "-days", _DAYS]
    run(
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        *signer,
        *serial,
        "-extfile",
        extensions,
        "-out",
        folder / f"{name}.crt",
    )
    request.unlink()
    extensions.unlink()
