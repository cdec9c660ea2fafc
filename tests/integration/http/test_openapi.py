"""openapi.yaml describes the server exactly: it is valid, served, and every answer agrees with it."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from openapi_spec_validator import validate
from schemathesis.checks import CheckFunction
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.server.problems import PROBLEMS, TYPE_PREFIX
from tests.support.http import LOOPBACK, Service, serving_in_a_thread

DOCUMENT = files("sharedlogkv_replica").joinpath("openapi.yaml").read_text()
CHECKS: list[CheckFunction] = [
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]

CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["400", "405", "410", "412", "413", "414", "501"]}}}
)
schema = schemathesis.openapi.from_dict(yaml.safe_load(DOCUMENT), config=CONFIG)


@pytest.fixture(scope="module", params=[WriteMode.LEADERLESS, WriteMode.LEADER], ids=lambda mode: str(mode.value))
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with serving_in_a_thread(write_mode=request.param, read_timeout_seconds=0.1) as running:
        yield running


def test_the_document_is_valid() -> None:
    validate(yaml.safe_load(DOCUMENT))


def test_the_document_lists_every_problem_and_no_other() -> None:
    listed = yaml.safe_load(DOCUMENT)["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert sorted(listed) == sorted(TYPE_PREFIX + slug for slug in PROBLEMS)


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_agrees_with_the_document(case: "schemathesis.Case[Any]", service: Service) -> None:
    response = case.call(base_url=f"http://{LOOPBACK}:{service.server.port}")
    case.validate_response(response, checks=CHECKS)
