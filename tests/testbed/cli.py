"""The command line."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from . import build, fault, images, layout, lifecycle, machine, steps
from .errors import TestbedError
from .layout import Instance
from .state import Size

_DESCRIPTION = (
    """A real Kubernetes cluster and a real Kafka on this machine, in network namespaces without a way out."""
)
_EPILOG = f"""Several instances, named by --name, stand side by side. What `build` makes is kept in
{layout.CACHE} ($TESTBED_CACHE), what an instance writes in {layout.RUNS}/NAME
($TESTBED_RUN/NAME). tests/testbed/README.md says how it all works."""
_UP_EPILOG = """An instance that is up in this size and whole is left as it is. What is left of one that is not whole (a
failed start, a dead process) is cleared away first. $TESTBED_JAVA_OPTS replaces the options of the brokers' JVM,
which make them start fast and run slowly; set it to an empty string for benchmarks."""
_SH_EPILOG = """There: KUBECONFIG, kubectl and helm, the cluster's DNS, Services and pods; SLKV_KAFKA (plaintext),
SLKV_KAFKA_SASL (SASL_SSL), SLKV_KAFKA_SSL (mutual TLS) and the file of their authority, SLKV_KAFKA_CA, and TESTBED, to
call this program for faults."""

_BUILD_EPILOG = """The first time it takes a quarter of an hour on two cores. What an interrupted build has made is
kept. Missing Debian packages are installed; Go must be there. Proxies, and the settings of apt, Go and Maven, are used
as they are."""
_IMAGE = "localhost/sharedlogkv:dev"

Act = Callable[[Instance, argparse.Namespace], int]


def main() -> int:
    """Runs one command and returns the exit status."""
    options = _parser().parse_args()
    act: Act = options.act
    try:
        machine.require()
        return act(Instance(options.name), options)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _build(_: Instance, __: argparse.Namespace) -> int:
    missing = steps.missing_packages()
    if missing:
        with build.progress(f"Debian packages: {' '.join(missing)}"):
            steps.install(missing)
    steps.require_go()
    build.build(steps.plan(), running=machine.instances())
    return 0


def _image(_: Instance, options: argparse.Namespace) -> int:
    build.require_built([step for step in steps.plan() if step.output == images.BASE_ARCHIVE])
    images.build(options.context, options.tag)
    return 0


def _up(instance: Instance, options: argparse.Namespace) -> int:
    machine.require_outside()
    lifecycle.up(instance, Size(options.nodes, options.brokers, options.hosts))
    return 0


def _down(instance: Instance, _: argparse.Namespace) -> int:
    machine.require_outside()
    lifecycle.down(instance)
    return 0


def _load(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.load(instance, options.image)
    return 0


def _sh(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.sh(instance, options.command, host=options.host)


def _fault(instance: Instance, options: argparse.Namespace) -> int:
    lifecycle.fault(instance, options.fault, options.arguments)
    return 0


def _status(instance: Instance, _: argparse.Namespace) -> int:
    return 0 if lifecycle.status(instance) else 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="testbed", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument(
        "--name",
        default=os.environ.get("TESTBED_NAME") or "test",
        help="the instance: small letters and digits (default: $TESTBED_NAME or test)",
    )
    actions = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, act: Act, does: str, epilog: str = "") -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=does, description=f"{does}.", epilog=epilog, formatter_class=raw)
        added.set_defaults(act=act)
        return added

    add("build", _build, "Fetch and build everything that a testbed needs, unless it is there", _BUILD_EPILOG)
    image = add("image", _image, "Build the product's image for `load`, unless it is there and unchanged")
    image.add_argument("--tag", default=_IMAGE, help=f"the image's name (default: {_IMAGE})")
    text = "the folder with the Dockerfile (default: that of the project)"
    image.add_argument("context", nargs="?", type=Path, default=layout.REPOSITORY, help=text)
    up = add("up", _up, "Start the cluster and the brokers", _UP_EPILOG)
    up.add_argument("--nodes", type=_count, default=1, metavar="N", help="nodes, 0 to 9 (default: 1)")
    up.add_argument("--brokers", type=_count, default=1, metavar="N", help="brokers, 0 to 9 (default: 1)")
    text = "hosts on which nothing runs but what `sh --host` starts, 0 to 9 (default: 0)"
    up.add_argument("--hosts", type=_count, default=0, metavar="N", help=text)
    add("down", _down, "Stop and remove an instance, whole or broken; nothing of it is left")
    load = add("load", _load, "Import an image on every node")
    text = f"an OCI archive, or the tag of an image that `image` has built (default: {_IMAGE})"
    load.add_argument("image", nargs="?", default=_IMAGE, help=text)
    sh = add("sh", _sh, "Run a command where the cluster and Kafka are reached", _SH_EPILOG)
    sh.add_argument("--host", default=layout.CLIENT, help="where: client (the default) or a plain host, such as host1")
    sh.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="the command (default: bash)")
    broken = add("fault", _fault, "Break or mend something", f"faults:\n{fault.describe()}")
    broken.add_argument("fault", choices=fault.FAULTS, metavar="FAULT")
    broken.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    add("status", _status, "Show hosts, processes, memory and processor time; exits with 1 unless all of it runs")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > layout.MOST:
        raise argparse.ArgumentTypeError(f"{text} is not in 0..{layout.MOST}")
    return int(text)
