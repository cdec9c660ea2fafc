"""What of the replica is compiled, by mypyc, when SHAREDLOGKV_COMPILE=1 is in the environment; else nothing is.

    SHAREDLOGKV_COMPILE=1 python setup.py build_ext --build-lib FOLDER

It needs a C compiler, Python's headers, and in the same environment setuptools, mypy and the replica's dependencies,
all as in constraints.txt, for the code depends on their types. `make compiled` and the Dockerfile see to that; with pip
it takes `--no-build-isolation`. Everything else about the project is in pyproject.toml.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

COMPILED = (
    "core/batch_plan",
    "core/key_order",
    "core/lag",
    "core/leadership",
    "core/records",
    "core/request_window",
    "core/store",
    "core/writes",
    #
    "engine/deadlines",
    "engine/flight",
    "engine/forward",
    "engine/gathering",
    "engine/intake",
    "engine/load",
    "engine/local_service",
    "engine/outcomes",
    "engine/promise",
    "engine/waiters",
    "engine/write_queue",
    #
    "log/kafka_decode",
    #
    "server/clock",
    "server/counters",
    "server/http_connection",
    "server/http_messages",
    "server/http_reader",
    "server/puts_in_hand",
    "server/repeated_put",
    "server/routes",
    "server/short_way",
    "server/state_lines",
    "server/writes",
)
"""Compiled is what runs for each request or record; what runs for each connection, batch or second stays as it is.

The modules of `replica/sharedlogkv_replica/`, by package and name. None of them has a coroutine: one that mypyc made
looks for the exception under way in `sys.exc_info()`, where those of other tasks come and go while it waits. With an
`await` in a `finally` a cancellation was seen to be lost that way.
"""

DEPENDENCIES = ("aiokafka", "confluent_kafka", "httptools", "msgspec", "orjson", "uvloop")
"""Where mypy does not find one of these, it takes whatever comes from it for anything."""

MYPY_OPTIONS = ("--config-file=", "--ignore-missing-imports")
"""`make types` checks the sources by stricter rules; here counts only that the result depends on nothing else."""


def extensions() -> list[Extension]:
    """The extension modules to build, as C that is written into `build/`; none where nothing is to be compiled.

    Raises:
        SystemExit: Something that the compilation needs is missing.
    """
    if os.environ.get("SHAREDLOGKV_COMPILE", "0") in ("", "0"):
        return []
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        sys.exit(f"SHAREDLOGKV_COMPILE: there is no C compiler {compiler}; Debian's packages are gcc and libc6-dev")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        sys.exit(f"SHAREDLOGKV_COMPILE: there is no {header}; Debian's package is libpython3-dev")
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 # only who compiles needs it
    except ImportError as error:
        sys.exit(f"SHAREDLOGKV_COMPILE: {error}; install the mypy of constraints.txt, and build without isolation")
    missing = [name for name in DEPENDENCIES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"SHAREDLOGKV_COMPILE: {', '.join(missing)} must be installed as well, as in constraints.txt")
    sources = [f"replica/sharedlogkv_replica/{module}.py" for module in COMPILED]
    return mypycify([*MYPY_OPTIONS, *sources], opt_level="3", debug_level="0", group_name="sharedlogkv_replica")


setup(ext_modules=extensions())
