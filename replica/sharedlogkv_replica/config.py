"""The replica's configuration: each setting is a flag and an environment variable; the flag wins.

All problems are reported together, and the program ends with exit status 2: a wrong manifest is mended in one go.
"""

import argparse
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sharedlogkv_replica.core.consistency import Level
from sharedlogkv_replica.core.modes import WriteMode
from sharedlogkv_replica.engine.peer_address import complete_address
from sharedlogkv_replica.errors import ConfigError
from sharedlogkv_replica.log.kafka_security import MECHANISMS, KafkaSecurity

PREFIX: Final = "SLKV_REPLICA_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a replica is told at its start. Every field is one `Setting`.

    Attributes:
        log: `memory:` or `kafka://host:port[,host:port...]/topic`.
        topic_id: the only log id to follow; None: the one found at the start.
        write_mode: whether this replica takes writes.
        name: the pod's name, in the logs and in `/status`.
        host: the address to listen on; None: all, IPv4 and IPv6.
        http_port: the data port; 0 lets the kernel choose.
        admin_port: the port of `/livez /readyz /metrics /status`; 0 lets the kernel choose.
        lease_seconds: for how long one sign of life vouches for a leader.
        peer_port: the port at which other replicas reach this one when it leads.
        peer_address: `host` or `host:port` at which they do; None: the host's own address. The port is the peer port.
        peer_secret_file: holds the secret that all replicas share; None: there are no others, and no peer port.
        default_consistency: the level of a read that names none.
        default_max_lag_ms: the bound of a bounded read that names none.
        read_timeout_seconds: the longest that a read waits for the map.
        write_timeout_seconds: the longest that a write waits for the log.
        value_limit_bytes: the largest value taken; lower where the log takes less.
        max_lag_seconds: reads are turned away before the map is behind by more; 0: never.
        max_connections: open connections on the data port; one more is refused.
        drain_seconds: from NotReady until new connections are refused: the time in which load balancers learn of it.
        stop_seconds: the whole graceful stop at most, `drain_seconds` included.
        log_level: of the program's own log: `debug`, `info`, `warning` or `error`.
        kafka_tls: whether connections to Kafka are encrypted, and brokers verified.
        kafka_ca_file: the authorities to verify them by; None: the system's.
        kafka_certificate_file: the client certificate to show, if any.
        kafka_key_file: its key.
        kafka_sasl_mechanism: how to log in to Kafka, if at all.
        kafka_sasl_username: as whom.
        kafka_sasl_password_file: with which password.
    """

    log: str
    topic_id: str | None
    write_mode: WriteMode
    name: str
    host: str | None
    http_port: int
    admin_port: int
    lease_seconds: float
    peer_port: int
    peer_address: str | None
    peer_secret_file: Path | None
    default_consistency: Level
    default_max_lag_ms: int
    read_timeout_seconds: float
    write_timeout_seconds: float
    value_limit_bytes: int
    max_lag_seconds: float
    max_connections: int
    drain_seconds: float
    stop_seconds: float
    log_level: str
    kafka_tls: bool
    kafka_ca_file: Path | None
    kafka_certificate_file: Path | None
    kafka_key_file: Path | None
    kafka_sasl_mechanism: str | None
    kafka_sasl_username: str | None
    kafka_sasl_password_file: Path | None

    @property
    def kafka_security(self) -> KafkaSecurity:
        """What the log needs to know of the `kafka_` settings."""
        return KafkaSecurity(
            tls=self.kafka_tls,
            ca_file=self.kafka_ca_file,
            certificate_file=self.kafka_certificate_file,
            key_file=self.kafka_key_file,
            sasl_mechanism=self.kafka_sasl_mechanism,
            sasl_username=self.kafka_sasl_username,
            sasl_password_file=self.kafka_sasl_password_file,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its field in `Config`, its default as text (None: required), how to read it, and its help."""

    field: str
    default: str | None
    parse: Callable[[str], Any]
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.field.upper()

    @property
    def flag(self) -> str:
        """The command line's flag."""
        return "--" + self.field.replace("_", "-")


def _number(kind: type[int] | type[float], *, least: float, most: float = math.inf) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value <= most or math.isinf(value):
            limits = f"from {least:g} to {most:g}" if most < math.inf else f"{least:g} or more"
            raise ValueError(f"must be {limits}")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _peer_address(text: str) -> str | None:
    if text:
        complete_address(text, port=1)
    return text or None


def _write_mode(text: str) -> WriteMode:
    return WriteMode(_one_of(*(mode.value for mode in WriteMode))(text))


def _level(text: str) -> Level:
    return Level(_one_of(*(level.value for level in Level))(text))


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def _mechanism(text: str) -> str | None:
    return _one_of(*MECHANISMS)(text) if text else None


SETTINGS: Final = (
    Setting("log", None, str, "the log: memory:, file:///path or kafka://host:port[,host:port...]/topic"),
    Setting("topic_id", "", lambda text: text or None, "the only topic id to follow (default: the one found at start)"),
    Setting("write_mode", "Leaderless", _write_mode, "Leader: elect one that writes; Leaderless: all write; ReadOnly"),
    Setting("name", "", lambda text: text or socket.gethostname(), "this replica's name (default: the host's)"),
    Setting("host", "", lambda text: text or None, "the address to listen on (default: all)"),
    Setting("http_port", "8080", _number(int, least=0, most=65535), "the data port"),
    Setting("admin_port", "9090", _number(int, least=0, most=65535), "the port of /livez /readyz /metrics /status"),
    Setting("lease_seconds", "3", _number(float, least=0.5, most=60), "how long one sign of life vouches for a leader"),
    Setting("peer_port", "8081", _number(int, least=1, most=65535), "the port for other replicas"),
    Setting("peer_address", "", _peer_address, "host[:port] where others reach it (default: the host's own address)"),
    Setting("peer_secret_file", "", lambda text: Path(text) if text else None, "holds the secret that replicas share"),
    Setting("default_consistency", "eventual", _level, "the level of a read that names none"),
    Setting("default_max_lag_ms", "1000", _number(int, least=0, most=3_600_000), "of a bounded read that names none"),
    Setting("read_timeout_seconds", "1", _number(float, least=0.001, most=60), "the longest wait of a read"),
    Setting("write_timeout_seconds", "5", _number(float, least=0.1, most=60), "the longest wait of a write"),
    Setting("value_limit_bytes", "1048576", _number(int, least=1, most=64 << 20), "the largest value taken"),
    Setting(
        "max_lag_seconds", "30", _number(float, least=0, most=3600), "reads are shed before the map is older; 0: never"
    ),
    Setting("max_connections", "10000", _number(int, least=1), "open connections on the data port, at most"),
    Setting("drain_seconds", "5", _number(float, least=0, most=600), "from NotReady until connections are refused"),
    Setting("stop_seconds", "20", _number(float, least=0, most=3600), "the whole graceful stop, at most"),
    Setting("log_level", "info", _one_of("debug", "info", "warning", "error"), "of the program's own log"),
    Setting("kafka_tls", "false", lambda text: _one_of("true", "false")(text) == "true", "TLS to Kafka: true or false"),
    Setting("kafka_ca_file", "", _file, "PEM file of the authorities that vouch for brokers (default: the system's)"),
    Setting("kafka_certificate_file", "", _file, "PEM file of the client certificate to show Kafka, with its chain"),
    Setting("kafka_key_file", "", _file, "PEM file of its private key, without a passphrase"),
    Setting("kafka_sasl_mechanism", "", _mechanism, "how to log in to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
    Setting("kafka_sasl_username", "", lambda text: text or None, "the user to log in to Kafka as"),
    Setting("kafka_sasl_password_file", "", _file, "file of that user's password"),
)


def parse_config(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration that flags and environment spell.

    Raises:
        ConfigError: something is missing, unknown or out of range; names every problem, one a line.
    """
    parser = argparse.ArgumentParser(
        prog="sharedlogkv-replica",
        description="A stateless replica of a key-value store on a shared log.",
        epilog=f"Every option can be set in the environment as {PREFIX}<NAME>; the option wins.",
    )
    for setting in SETTINGS:
        shown = "" if setting.default in (None, "") else f" (default: {setting.default})"
        parser.add_argument(setting.flag, dest=setting.field, help=setting.help + shown)
    given = vars(parser.parse_args(arguments))

    values: dict[str, Any] = {}
    known = {setting.variable for setting in SETTINGS}
    problems = [
        f"{name} is not a setting" for name in sorted(environment) if name.startswith(PREFIX) and name not in known
    ]
    for setting in SETTINGS:
        text = given[setting.field] or environment.get(setting.variable) or setting.default
        if text is None:
            problems.append(f"{setting.flag} (or {setting.variable}) is missing: {setting.help}")
            continue
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            problems.append(f"{setting.flag} (or {setting.variable}) is {text!r}: {error}")
    if (values.get("write_mode"), values.get("default_consistency")) == (WriteMode.READ_ONLY, Level.LINEARIZABLE):
        problems.append("--default-consistency can't be linearizable with --write-mode ReadOnly: it may have to append")
    if problems:
        raise ConfigError("\n".join(problems))
    config = Config(**values)
    if contradictions := list(config.kafka_security.contradictions()):
        raise ConfigError("\n".join(contradictions))
    return config
