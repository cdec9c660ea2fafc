"""Flags, variables, defaults and refusals."""

from pathlib import Path

import pytest

from sharedlogkv_replica.config import SETTINGS, Setting, parse_config
from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.errors import ConfigError
from sharedlogkv_replica.log.kafka_security import PLAINTEXT, KafkaSecurity

REFERENCE = Path(__file__).parents[3] / "docs" / "replica.md"


def test_the_log_is_all_that_must_be_told() -> None:
    config = parse_config(["--log", "memory:"], {})
    assert (config.log, config.topic_id, config.write_mode) == ("memory:", None, WriteMode.LEADERLESS)
    assert (config.http_port, config.admin_port, config.value_limit_bytes) == (8080, 9090, 1 << 20)
    assert (config.default_consistency, config.default_max_lag_ms) == (Level.EVENTUAL, 1000)
    assert config.name


def test_a_flag_wins_over_its_variable() -> None:
    environment = {"SLKV_REPLICA_LOG": "memory:", "SLKV_REPLICA_HTTP_PORT": "1", "SLKV_REPLICA_ADMIN_PORT": "2"}
    config = parse_config(["--http-port", "3"], environment)
    assert (config.http_port, config.admin_port) == (3, 2)


def test_all_problems_are_told_together() -> None:
    environment = {"SLKV_REPLICA_HTTP_PORT": "70000", "SLKV_REPLICA_WRITE_MODE": "Both", "SLKV_REPLICA_HTTPPORT": "1"}
    with pytest.raises(ConfigError) as caught:
        parse_config([], environment)
    text = str(caught.value)
    assert "--log (or SLKV_REPLICA_LOG) is missing" in text
    assert "'70000': must be from 0 to 65535" in text
    assert "'Both': must be one of Leader, Leaderless, ReadOnly" in text
    assert "SLKV_REPLICA_HTTPPORT is not a setting" in text


def test_the_default_level_of_a_read_is_one_that_the_replica_can_serve() -> None:
    arguments = ["--log", "memory:", "--default-consistency", "linearizable"]
    assert parse_config(arguments, {}).default_consistency is Level.LINEARIZABLE
    with pytest.raises(ConfigError, match="--default-consistency can't be linearizable with --write-mode ReadOnly"):
        parse_config([*arguments, "--write-mode", "ReadOnly"], {})
    with pytest.raises(ConfigError, match="must be one of eventual, bounded, session, linearizable"):
        parse_config(["--log", "memory:", "--default-consistency", "strong"], {})


def test_how_to_connect_to_kafka_is_told_as_one() -> None:
    assert parse_config(["--log", "memory:"], {}).kafka_security == PLAINTEXT
    flags = ["--kafka-tls", "true", "--kafka-ca-file", "/ca.crt", "--kafka-sasl-mechanism", "PLAIN"]
    flags += ["--kafka-sasl-username", "alice", "--kafka-sasl-password-file", "/password"]
    security = parse_config(["--log", "memory:", *flags], {}).kafka_security
    assert security == KafkaSecurity(True, Path("/ca.crt"), None, None, "PLAIN", "alice", Path("/password"))


def test_a_contradiction_in_how_to_connect_to_kafka_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(["--log", "memory:", "--kafka-ca-file", "/ca.crt", "--kafka-sasl-username", "alice"], {})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", "1e9"])
def test_a_duration_must_be_a_sensible_number(text: str) -> None:
    with pytest.raises(ConfigError, match="read-timeout-seconds"):
        parse_config(["--log", "memory:", "--read-timeout-seconds", text], {})


@pytest.mark.parametrize("address", ["10.0.0.7:8081", "10.0.0.7", "fd00::7", "[fd00::7]:8081", "pod.ns.svc:8081"])
def test_a_peer_address_is_a_host_with_or_without_a_port(address: str) -> None:
    assert parse_config(["--log", "memory:", "--peer-address", address], {}).peer_address == address


@pytest.mark.parametrize("address", ["fd00::7::8081", "[fd00::7", ":8081", "host:", "host:0", "host:65536", "host:8o"])
def test_another_peer_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="peer-address"):
        parse_config(["--log", "memory:", "--peer-address", address], {})


def test_without_a_secret_file_there_are_no_peers() -> None:
    assert parse_config(["--log", "memory:"], {}).peer_secret_file is None
    environment = {"SLKV_REPLICA_PEER_SECRET_FILE": "/etc/slkv/secret"}
    assert parse_config(["--log", "memory:"], environment).peer_secret_file == Path("/etc/slkv/secret")


def test_every_setting_has_a_field_a_variable_and_help() -> None:
    config = parse_config(["--log", "memory:"], {})
    for setting in SETTINGS:
        assert hasattr(config, setting.field)
        assert setting.variable == f"SLKV_REPLICA_{setting.field.upper()}"
        assert setting.help


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.field)
def test_every_setting_is_documented_with_its_default(setting: Setting) -> None:
    default = f"`{setting.default}`" if setting.default else "" if setting.default == "" else "(required)"
    row = f"| `{setting.flag}` | `{setting.variable}` | {default} | {setting.help} |"
    assert row in REFERENCE.read_text()
