"""The configuration, from flags and from the environment."""

import pytest

from sharedlogkv_operator.config import VARIABLES, Config, parse_config
from sharedlogkv_operator.errors import ConfigError

IMAGE = {"SLKV_OPERATOR_REPLICA_IMAGE": "image:1"}


def test_only_the_image_is_required() -> None:
    assert parse_config([], IMAGE) == Config(replica_image="image:1")


def test_every_variable_is_read() -> None:
    environment = {
        "SLKV_OPERATOR_REPLICA_IMAGE": "image:1",
        "SLKV_OPERATOR_NAMESPACES": "a, b,,a",
        "SLKV_OPERATOR_HTTP_HOST": "127.0.0.1",
        "SLKV_OPERATOR_HTTP_PORT": "0",
        "SLKV_OPERATOR_LOG_LEVEL": "debug",
        "SLKV_OPERATOR_WORKERS": "3",
        "SLKV_OPERATOR_RESYNC_SECONDS": "60",
        "SLKV_OPERATOR_LEASE": "ops/operator",
    }
    assert {name.removeprefix("SLKV_OPERATOR_") for name in environment} == set(VARIABLES)
    assert parse_config([], environment) == Config(
        "image:1", ("a", "b"), "127.0.0.1", 0, "debug", 3, 60, ("ops", "operator")
    )


def test_a_flag_wins_over_its_variable_and_namespace_may_be_repeated() -> None:
    config = parse_config(["--replica-image", "other:2", "--namespace", "a", "--namespace", "b"], IMAGE)
    assert config == Config(replica_image="other:2", namespaces=("a", "b"))


def test_empty_variables_count_as_not_set_as_charts_write_them() -> None:
    assert parse_config([], {**IMAGE, "SLKV_OPERATOR_NAMESPACES": "", "SLKV_OPERATOR_WORKERS": ""}).workers == 8


def test_all_problems_are_told_together() -> None:
    environment = {
        "SLKV_OPERATOR_NAMESPACES": "Upper,fine",
        "SLKV_OPERATOR_HTTP_PORT": "65536",
        "SLKV_OPERATOR_WORKERS": "many",
        "SLKV_OPERATOR_LOG_LEVEL": "loud",
        "SLKV_OPERATOR_LEASE": "operator",
        "SLKV_OPERATOR_REPLICA_IMGAE": "x",
    }
    with pytest.raises(ConfigError) as caught:
        parse_config([], environment)
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    for wanted in (
        "REPLICA_IMAGE is not set",
        "NAMESPACE/NAME",
        "'Upper'",
        "'65536'",
        "'many'",
        "'loud'",
        "REPLICA_IMGAE: no such",
    ):
        assert any(wanted in line for line in lines), wanted


def test_an_unknown_flag_is_told_like_any_other_problem() -> None:
    with pytest.raises(ConfigError, match="--replica-imgae"):
        parse_config(["--replica-imgae", "x"], IMAGE)
