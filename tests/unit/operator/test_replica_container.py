"""What a replica was told is read from its own container, whatever else is in the pod."""

import copy
from typing import Any

import pytest

from sharedlogkv_operator.desired import build_deployment, parse_bootstrap_servers
from sharedlogkv_operator.kafka_security import parse_applied_security
from sharedlogkv_operator.mode_change import Workload, choose_write_mode, parse_template_mode
from sharedlogkv_operator.replica_container import read_template_variables, read_variables
from sharedlogkv_operator.spec import WriteMode
from tests.support.operator_objects import build_resource

Manifest = dict[str, Any]

SIDECAR = {"name": "mesh", "env": [{"name": "SLKV_REPLICA_WRITE_MODE", "value": "ReadOnly"}]}
KAFKA = {"bootstrapServers": "kafka:9093", "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}}}
RESOURCE = build_resource(spec={"kafka": KAFKA, "writeMode": "Leaderless"})


@pytest.fixture
def deployment() -> Manifest:
    """Of Leaderless replicas, with a sidecar that was put before each."""
    found: Manifest = copy.deepcopy(build_deployment(RESOURCE, topic_id="t", default_image="i"))
    found["spec"]["template"]["spec"]["containers"].insert(0, SIDECAR)
    return found


def test_a_sidecar_that_stands_first_hides_nothing_of_a_deployment(deployment: Manifest) -> None:
    assert parse_template_mode(deployment) == "Leaderless"
    assert parse_bootstrap_servers(deployment) == "kafka:9093"
    assert parse_applied_security(deployment) == RESOURCE.spec.kafka_security


def test_a_pod_with_a_sidecar_that_stands_first_is_waited_for(deployment: Manifest) -> None:
    pod = deployment["spec"]["template"]
    assert choose_write_mode(WriteMode.LEADER, Workload(None, [], [pod])) is WriteMode.READ_ONLY


def test_variables_without_a_plain_value_are_left_out(deployment: Manifest) -> None:
    variables = read_template_variables(deployment)
    assert variables["SLKV_REPLICA_TOPIC_ID"] == "t"
    assert "SLKV_REPLICA_NAME" not in variables


@pytest.mark.parametrize("spec", [None, {}, {"containers": None}, {"containers": [SIDECAR]}])
def test_a_pod_without_a_replica_tells_nothing(spec: object) -> None:
    assert read_variables({"spec": spec}) == {}
    assert read_template_variables({"spec": {"template": {"spec": spec}}}) == {}
