"""The chart's values: the schema is closed, the defaults pass it, and the README tells of each."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.chart_values import VALUES, leaves
from tests.support.cluster import CHART

SCHEMA = json.loads((CHART / "values.schema.json").read_text())

# Checked by the API server: their grammar is Kubernetes', and deep. `global` is Helm's.
OPEN = {"affinity.nodeAffinity", "affinity.podAffinity", "affinity.podAntiAffinity", "global"}


def schema_paths(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in the schema, arrays' items included, with its dotted path."""
    if schema.get("type") == "object":
        yield prefix.removesuffix("."), schema
    for key, value in schema.get("properties", {}).items():
        yield from schema_paths(value, f"{prefix}{key}.")
    if isinstance(items := schema.get("items"), dict):
        yield from schema_paths(items, f"{prefix}[].")


def test_the_defaults_pass_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA, cls=jsonschema.Draft7Validator)


def test_every_object_of_the_schema_is_closed() -> None:
    is_open = {path for path, schema in schema_paths(SCHEMA) if schema.get("additionalProperties", True) is True}
    assert is_open == OPEN


def test_every_value_is_in_the_schema_with_a_description() -> None:
    for path in leaves(VALUES):
        schema = SCHEMA
        for part in path.split("."):
            schema = schema["properties"][part]
        assert schema.get("description"), f"{path} has no description in values.schema.json"


def test_every_value_is_in_the_readme_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `([A-Za-z.]+)` \| (.*?) \|", (CHART / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(leaves(VALUES))


def test_the_defaults_in_the_readme_are_those_of_the_chart() -> None:
    rows = re.findall(r"^\| `([A-Za-z.]+)` \| `(.*?)` \|", (CHART / "README.md").read_text(), re.MULTILINE)
    for name, default in rows:
        value: Any = VALUES
        for part in name.split("."):
            value = value[part]
        assert yaml.safe_load(default) == value, name


@pytest.mark.parametrize(
    "values",
    [
        {"nosuchvalue": True},
        {"image": {"repositry": "x"}},
        {"image": {"repository": ""}},
        {"image": {"digest": "latest"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"crds": {"keep": "yes"}},
        {"logLevel": "chatty"},
        {"workers": 0},
        {"httpPort": 80},
        {"watchNamespaces": "default"},
        {"watchNamespaces": ["Default"]},
        {"watchNamespaces": ["a", "a"]},
        {"podLabels": {"tier": 1}},
        {"tolerations": [{"effect": "NoSchedul"}]},
        {"securityContext": {"readOnlyRootFileSystem": True}},
        {"metrics": {"podMonitor": {"interval": "often"}}},
    ],
    ids=json.dumps,
)
def test_what_can_t_be_meant_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA, cls=jsonschema.Draft7Validator)
