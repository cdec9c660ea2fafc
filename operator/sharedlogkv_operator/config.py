"""The operator's configuration: from flags, else from environment variables `SLKV_OPERATOR_<NAME>`, else defaults."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from sharedlogkv_operator.errors import ConfigError

PREFIX: Final = "SLKV_OPERATOR_"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Config:
    """What the operator runs with.

    Attributes:
        replica_image: the image of replicas whose resource names none.
        namespaces: the namespaces to serve; empty for the whole cluster.
        http_host: the address to listen on; empty for all interfaces.
        http_port: the port of /healthz, /readyz and /metrics.
        log_level: what is logged.
        workers: how many reconciles may be under way.
        resync_seconds: how long until a settled resource is looked at again, give or take.
        lease: namespace and name of the Lease to hold while at work; None where there is one operator only.
    """

    replica_image: str
    namespaces: tuple[str, ...] = ()
    http_host: str = ""
    http_port: int = 8081
    log_level: str = "info"
    workers: int = 8
    resync_seconds: float = 15.0
    lease: tuple[str, str] | None = None


VARIABLES: Final[Mapping[str, str]] = {
    "REPLICA_IMAGE": "the image of replicas whose resource names none (required)",
    "NAMESPACES": "namespaces to serve, separated by commas; all unless given (flag: --namespace, repeatable)",
    "HTTP_HOST": "address to listen on; all interfaces unless given",
    "HTTP_PORT": "port of /healthz, /readyz and /metrics; 8081",
    "LOG_LEVEL": "debug, info, warning or error; info",
    "WORKERS": "how many resources are reconciled at a time; 8",
    "RESYNC_SECONDS": "a settled resource is looked at again after so long; 15",
    "LEASE": "namespace/name of the Lease that the one of several operators holds that works; none unless given",
}
"""Every variable, without its prefix, and what it means."""


def parse_config(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration; a flag wins over its variable.

    Raises:
        ConfigError: with every problem found, one a line.
    """
    given = _parse_arguments(arguments)
    values = {name: given.get(name) or environment.get(PREFIX + name) or "" for name in VARIABLES}
    problems = [
        f"{name}: no such variable; there are {', '.join(PREFIX + known for known in VARIABLES)}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in VARIABLES
    ]
    reader = _Reader(values, problems)
    config = Config(
        replica_image=reader.read_required("REPLICA_IMAGE"),
        namespaces=reader.read_namespaces("NAMESPACES"),
        http_host=values["HTTP_HOST"],
        http_port=int(reader.read_number("HTTP_PORT", default=8081, least=0, most=65535)),
        log_level=reader.read_choice("LOG_LEVEL", LOG_LEVELS, default="info"),
        workers=int(reader.read_number("WORKERS", default=8, least=1, most=256)),
        resync_seconds=reader.read_number("RESYNC_SECONDS", default=15, least=1, most=3600),
        lease=reader.read_lease("LEASE"),
    )
    if problems:
        raise ConfigError("\n".join(problems))
    return config


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads values, and notes what is wrong instead of stopping at the first."""

    values: Mapping[str, str]
    problems: list[str]

    def read_required(self, name: str) -> str:
        if not self.values[name]:
            self.problems.append(f"{PREFIX}{name} is not set: {VARIABLES[name]}")
        return self.values[name]

    def read_choice(self, name: str, choices: Sequence[str], *, default: str) -> str:
        value = self.values[name] or default
        if value not in choices:
            self.problems.append(f"{PREFIX}{name} is {value!r}, must be one of {', '.join(choices)}")
        return value

    def read_number(self, name: str, *, default: float, least: int, most: int) -> float:
        text = self.values[name]
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            self.problems.append(f"{PREFIX}{name} is {text!r}, must be a whole number from {least} to {most}")
            return default
        return int(text)

    def read_lease(self, name: str) -> tuple[str, str] | None:
        text = self.values[name]
        namespace, _, lease = text.partition("/")
        if text and not (NAMESPACE.fullmatch(namespace) and NAMESPACE.fullmatch(lease)):
            self.problems.append(f"{PREFIX}{name} is {text!r}, must be NAMESPACE/NAME")
        return (namespace, lease) if text else None

    def read_namespaces(self, name: str) -> tuple[str, ...]:
        namespaces = tuple(dict.fromkeys(part.strip() for part in self.values[name].split(",") if part.strip()))
        for namespace in namespaces:
            if not NAMESPACE.fullmatch(namespace):
                self.problems.append(f"{PREFIX}{name} holds {namespace!r}, which is no name of a namespace")
        return namespaces


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of exiting, so that problems are told in one way."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """The values given by flags, by the names of their variables."""
    parser = _Parser(
        prog="sharedlogkv-operator",
        description="Turns each SharedLogKV resource into a compacted Kafka topic and a Deployment of replicas.",
        epilog=f"Each flag may be given as an environment variable: {PREFIX}REPLICA_IMAGE for --replica-image.",
        allow_abbrev=False,
    )
    for name, meaning in VARIABLES.items():
        if name == "NAMESPACES":
            parser.add_argument("--namespace", dest=name, action="append", metavar="NAMESPACE", help=meaning)
        else:
            parser.add_argument("--" + name.lower().replace("_", "-"), dest=name, metavar="VALUE", help=meaning)
    given: dict[str, str | list[str] | None] = vars(parser.parse_args(arguments))
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
