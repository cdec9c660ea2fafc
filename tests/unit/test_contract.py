"""The two programs meet in environment variables, ports, paths and the /status document, and nowhere else.

They never import each other, so this is the one place that imports both, and holds each to what the other relies on.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from sharedlogkv_operator import desired, names
from sharedlogkv_operator.replica_client import parse_replica_status
from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.spec import WriteMode as SpecWriteMode
from sharedlogkv_replica.config import SETTINGS, Config, parse_config
from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import Reason, WriteMode
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.log.kafka_security import MECHANISMS, PLAINTEXT, KafkaSecurity
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog
from sharedlogkv_replica.server.admin import AdminHandler
from sharedlogkv_replica.server.http_messages import Request, Response
from tests.support.operator_objects import TOPIC_DEFAULTS, build_autoscaling

ROOT = Path(__file__).parents[2]
TOPIC_ID = "31p46z8rQ1CUmOLGhmY2OQ"
POD = {"metadata.name": "store-abc", "status.podIP": "10.0.0.1"}


def container(write_mode: str, **kafka: object) -> Mapping[str, object]:
    """The container that the operator writes for the smallest resource with that write mode."""
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "store", "namespace": "team", "uid": "u-1", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "kafka": {"bootstrapServers": "kafka-1:9092,kafka-2:9092", **kafka},
            "topic": TOPIC_DEFAULTS,
            "writeMode": write_mode,
            "leader": {"leaseSeconds": 3},
            "reads": {"defaultConsistency": "Eventual", "maxLagMs": 1000},
            "suspend": False,
            "replicas": 3,
            "autoscaling": build_autoscaling(),
            "maxLagSeconds": 30,
        },
    }
    deployment = desired.build_deployment(parse_resource(body), topic_id=TOPIC_ID, default_image="image")
    found = deployment["spec"]["template"]["spec"]["containers"][0]  # type: ignore[index] # a manifest, nested
    assert isinstance(found, Mapping)
    return found


def environment(write_mode: str, **kafka: object) -> dict[str, str]:
    """The environment that a replica gets, as the kubelet makes it of the container."""
    made: dict[str, str] = {}
    for variable in container(write_mode, **kafka)["env"]:  # type: ignore[attr-defined] # a list of mappings
        value = variable.get("value") or POD[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        made[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: made[match[1]], value)
    return made


def replica_config(write_mode: str, **kafka: object) -> Config:
    """What the replica makes of the environment that the operator gives it."""
    return parse_config([], environment(write_mode, **kafka))


@pytest.mark.parametrize("write_mode", [mode.value for mode in SpecWriteMode])
def test_the_replica_takes_the_environment_that_the_operator_gives(write_mode: str) -> None:
    config = replica_config(write_mode)
    assert config.log == "kafka://kafka-1:9092,kafka-2:9092/team.store"
    assert (config.topic_id, config.write_mode, config.name) == (TOPIC_ID, WriteMode(write_mode), "store-abc")
    assert (config.http_port, config.admin_port) == (names.HTTP_PORT, names.ADMIN_PORT)


def test_the_replica_takes_the_login_that_the_operator_gives() -> None:
    assert replica_config("Leaderless").kafka_security == PLAINTEXT
    certificate = {"name": "user", "certificate": "user.crt", "privateKey": "user.key"}
    security = replica_config(
        "Leaderless",
        tls={"caSecretRef": {"name": "ca", "key": "ca.crt"}, "clientCertificateSecretRef": certificate},
        sasl={
            "mechanism": "SCRAM-SHA-256",
            "username": "alice",
            "passwordSecretRef": {"name": "user", "key": "password"},
        },
    ).kafka_security
    folder = Path("/etc/sharedlogkv/kafka")
    assert security == KafkaSecurity(
        True,
        folder / "ca.crt",
        folder / "client.crt",
        folder / "client.key",
        "SCRAM-SHA-256",
        "alice",
        folder / "password",
    )


def test_both_know_the_same_mechanisms_and_so_does_the_resource() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "sharedlogkvs.sharedlog.dev.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert tuple(spec["kafka"]["properties"]["sasl"]["properties"]["mechanism"]["enum"]) == MECHANISMS


def test_both_know_the_same_write_modes_and_so_does_the_resource() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "sharedlogkvs.sharedlog.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["writeMode"]
    assert schema["enum"] == [mode.value for mode in SpecWriteMode] == [mode.value for mode in WriteMode]


def test_every_variable_of_the_operator_is_a_setting_of_the_replica() -> None:
    settings = {setting.variable for setting in SETTINGS}
    given = {value for name, value in vars(names).items() if name.startswith("ENV_")}
    assert given <= settings


def test_the_operator_runs_a_program_that_the_package_has() -> None:
    command = container("Leaderless")["command"]
    assert isinstance(command, list)
    assert re.search(rf'^{command[0]} = "sharedlogkv_replica\.', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_pod_gets_more_time_to_stop_than_the_replica_takes() -> None:
    config = replica_config("Leaderless")
    assert config.drain_seconds < config.stop_seconds < desired.STOP_SECONDS - 5


def test_a_replica_that_may_lead_is_told_what_it_needs_for_it() -> None:
    config = replica_config("Leader")
    assert (config.peer_address, config.peer_port) == ("10.0.0.1", names.PEER_PORT)
    assert config.peer_secret_file is not None
    assert config.lease_seconds == 3
    assert (config.default_consistency, config.default_max_lag_ms) == (Level.EVENTUAL, 1000)


def test_the_operator_understands_the_status_that_the_replica_gives() -> None:
    log = MemoryLog(MemoryBroker())
    replica = Replica(log, name="r", write_mode=WriteMode.LEADERLESS, write_timeout_seconds=5, value_limit_bytes=1024)
    status = parse_replica_status(replica.status())
    assert status.load is not None
    assert (status.load.position, status.load.served_requests) == (0, 0)
    assert 0 < status.load.cpu_limit <= 1
    assert (status.is_ready, status.reason, status.lag_seconds) == (False, Reason.STARTING.value, 0.0)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/status"])
def test_the_paths_that_are_probed_exist(path: str) -> None:
    log = MemoryLog(MemoryBroker())
    replica = Replica(log, name="r", write_mode=WriteMode.LEADERLESS, write_timeout_seconds=5, value_limit_bytes=1024)
    answer = AdminHandler(replica, metrics=lambda: b"", secret=lambda: None).handle(Request(b"GET", path.encode()))
    assert isinstance(answer, Response)
    assert answer.status in (200, 503)


def test_the_probes_of_the_pod_are_paths_of_the_replica() -> None:
    found = container("Leaderless")
    probes = {found[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")}  # type: ignore[index] # nested
    assert probes == {"/livez", "/readyz"}
