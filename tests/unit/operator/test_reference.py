"""docs/reference.md names everything that a user can set or see, and nothing that does not exist."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sharedlogkv_operator import names
from sharedlogkv_operator.autoscaler.decision import Limit, Rule
from sharedlogkv_operator.autoscaler.policy import Policy
from sharedlogkv_operator.config import PREFIX, VARIABLES, parse_config
from sharedlogkv_operator.events import Deed
from sharedlogkv_operator.metrics import CONDITION_TYPES, Metrics
from sharedlogkv_operator.reasons import STALLED, Reason, ScalingReason
from sharedlogkv_operator.resource_parser import POD_SPEC_FIELDS
from sharedlogkv_operator.topic import CREATION_DEFAULTS, OWNED_SETTINGS
from tests.support.operator_objects import build_autoscaling, build_resource
from tests.support.secured_kafka import LEAST_RIGHTS

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "docs/reference.md").read_text()
RUNBOOK = (REPOSITORY / "docs/operations.md").read_text()
CRD: dict[str, Any] = yaml.safe_load((REPOSITORY / "crds/sharedlogkvs.sharedlog.dev.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def rows(heading: str) -> dict[str, str]:
    """The tables under a heading: what is named in each row's first cell, and the rest; of two, the first counts."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(reversed(re.findall(r"^\| `([^`]+)` \| (.*) \|$", section, re.MULTILINE)))


def fields(schema: Mapping[str, Any], *, depth: int, prefix: str = "") -> Iterator[str]:
    """The names of a schema's fields, down to that many levels."""
    for name, field in schema.items():
        inner = field.get("properties")
        if inner and depth > 1:
            yield from fields(inner, depth=depth - 1, prefix=f"{prefix}{name}.")
        else:
            yield prefix + name


def test_every_field_of_the_spec_and_of_the_status_is_there() -> None:
    properties = SCHEMA["spec"]["properties"]
    kafka = set(fields(properties["kafka"]["properties"], depth=3, prefix="kafka.")) | {"kafka.tls", "kafka.sasl"}
    spec = (set(fields(properties, depth=2)) | kafka) - {"resources.requests", "resources.limits"}
    status = set(fields(SCHEMA["status"]["properties"], depth=1))
    documented = rows("The resource")
    assert set(documented) == spec | {"resources"} | status


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("topic.replicationFactor", SCHEMA["spec"]["properties"]["topic"]["properties"]["replicationFactor"]),
        ("topic.minInSyncReplicas", SCHEMA["spec"]["properties"]["topic"]["properties"]["minInSyncReplicas"]),
        ("topic.reclaimPolicy", SCHEMA["spec"]["properties"]["topic"]["properties"]["reclaimPolicy"]),
        ("writeMode", SCHEMA["spec"]["properties"]["writeMode"]),
        ("leader.leaseSeconds", SCHEMA["spec"]["properties"]["leader"]["properties"]["leaseSeconds"]),
        ("reads.defaultConsistency", SCHEMA["spec"]["properties"]["reads"]["properties"]["defaultConsistency"]),
        ("reads.maxLagMs", SCHEMA["spec"]["properties"]["reads"]["properties"]["maxLagMs"]),
        ("replicas", SCHEMA["spec"]["properties"]["replicas"]),
    ],
)
def test_a_field_s_default_is_the_crd_s(field: str, schema: Mapping[str, Any]) -> None:
    assert rows("The resource")[field].split(" | ")[0].strip("`") == str(schema["default"])


@pytest.mark.parametrize("group", ["topic", "leader", "reads"])
def test_a_group_s_default_as_a_whole_is_that_of_its_fields(group: str) -> None:
    schema = SCHEMA["spec"]["properties"][group]
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    assert schema["default"] == defaults


def test_every_field_of_the_crd_has_a_description() -> None:
    def undescribed(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, field in schema.get("properties", {}).items():
            if "description" not in field:
                yield f"{path}.{name}"
            yield from undescribed(field, f"{path}.{name}")
            yield from undescribed(field.get("items", {}), f"{path}.{name}[]")

    for part in ("spec", "status"):
        assert list(undescribed(SCHEMA[part], part)) == []


def test_the_pod_template_s_fields_are_those_that_reach_the_pods() -> None:
    offered = set(SCHEMA["spec"]["properties"]["podTemplate"]["properties"])
    assert offered == {"labels", "annotations", "topologySpreadConstraints", *POD_SPEC_FIELDS}


def test_every_setting_of_a_new_topic_is_there_with_its_value() -> None:
    documented = {name: row for name, row in rows("The topic").items() if not name.startswith("sharedlog.dev/")}
    assert set(documented) == {*CREATION_DEFAULTS, *OWNED_SETTINGS, "min.insync.replicas"}
    for setting, value in {**CREATION_DEFAULTS, **OWNED_SETTINGS}.items():
        assert value in documented[setting].split(" | ")[0]


def test_the_settings_that_the_crd_refuses_are_those_that_the_operator_owns() -> None:
    rules = SCHEMA["spec"]["properties"]["topic"]["properties"]["config"]["x-kubernetes-validations"]
    refused = {match for rule in rules for match in re.findall(r"key != '([^']+)'", rule["rule"])}
    assert refused == {*OWNED_SETTINGS, "min.insync.replicas"}


def test_every_condition_and_every_reason_is_there() -> None:
    documented = rows("Conditions")
    assert set(documented) == {*CONDITION_TYPES, *(reason.value for reason in Reason)}
    stalled = {name for name, row in documented.items() if row.startswith("Stalled |")}
    assert stalled - {"NotStalled"} == {reason.value for reason in STALLED}


def test_the_runbook_has_an_entry_for_every_reason_and_for_nothing_else() -> None:
    runbook = (REPOSITORY / "docs/operations.md").read_text().split("\n## Runbook\n")[1]
    entries = [name for heading in re.findall(r"^### (.+)$", runbook, re.MULTILINE) for name in heading.split(", ")]
    assert sorted(entries) == sorted(reason.value for reason in Reason)


def test_what_to_do_is_told_for_every_reason_of_the_scaling_and_for_nothing_else() -> None:
    section = RUNBOOK.split("\n## When replicas are scaled\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[A-Z][^|]*) \|", section, re.MULTILINE)
    entries = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(entries) == sorted(reason.value for reason in [*Rule, *Limit, *ScalingReason])


def test_every_reason_of_the_scaling_is_there() -> None:
    section = TEXT.split("\n## Scaling\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[A-Z][^|]*) \| Scaling", section, re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    reasons = [*Rule, *Limit, *ScalingReason]
    assert documented == {reason.value for reason in reasons}


def test_every_rule_is_explained_in_its_order() -> None:
    page = (REPOSITORY / "docs/autoscaling.md").read_text().split("\n## The rules\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [rule.value for rule in Rule]


def test_every_default_of_the_autoscaling_is_there_and_is_the_policy_s() -> None:
    autoscaling = SCHEMA["spec"]["properties"]["autoscaling"]
    documented = rows("The resource")
    for name, field in autoscaling["properties"].items():
        if name not in ("behavior", "maxBrokerEgressBytesPerSecond"):
            assert documented[f"autoscaling.{name}"].split(" | ")[0].strip("`") == str(field["default"])
    assert autoscaling["default"] == build_autoscaling(mode="None")
    resource = build_resource(spec={"autoscaling": autoscaling["default"]})
    assert resource.spec.autoscaling.policy == Policy()


def test_every_annotation_by_which_something_is_asked_for_is_there() -> None:
    asked = {value for name, value in vars(names).items() if name.endswith("_ANNOTATION")} - {names.DIGEST_ANNOTATION}
    assert asked == set(re.findall(r"^\| `(sharedlog\.dev/[^`]+)` \|", TEXT, re.MULTILINE))


def test_every_acl_that_is_ever_needed_is_there_and_no_other() -> None:
    section = TEXT.split("\n## Kafka access\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| (Topic|TransactionalId) \| (\w+) \|", section, re.MULTILINE)) == LEAST_RIGHTS


def test_every_event_is_there() -> None:
    assert set(rows("Events")) == {deed.value for deed in Deed}


def test_every_variable_is_there_with_its_default() -> None:
    documented = rows("The operator's settings")
    assert set(documented) == {PREFIX + name for name in VARIABLES}
    config = parse_config([], {PREFIX + "REPLICA_IMAGE": "x"})
    for name in ("HTTP_PORT", "LOG_LEVEL", "WORKERS", "RESYNC_SECONDS"):
        assert documented[PREFIX + name].split(" | ")[0] == str(getattr(config, name.lower()))


def test_every_metric_is_there() -> None:
    names = {metric.name + ("_total" if metric.type == "counter" else "") for metric in Metrics().registry.collect()}
    assert set(rows("The operator's metrics")) == names
