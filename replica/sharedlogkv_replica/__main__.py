"""The program `sharedlogkv-replica`: reads its configuration, and runs until it is told to stop."""

import gc
import logging
import os
import resource
import sys
from typing import Final

import uvloop

from sharedlogkv_replica.app import App
from sharedlogkv_replica.config import parse_config
from sharedlogkv_replica.errors import ConfigError
from sharedlogkv_replica.json_logs import configure_logging

logger = logging.getLogger(__name__)

GARBAGE_OBJECTS: Final = 50_000
"""New objects after which the collector looks at them, which takes it two or three milliseconds. A thousand writes
under way are ten thousand objects: with Python's own 700 it would look at them over and over, in vain."""


def main() -> None:
    """Exit status: 0 after a graceful stop, 1 after a failure, 2 when the configuration can't be used."""
    try:
        config = parse_config(sys.argv[1:], os.environ)
        configure_logging(config.log_level)
        app = App(config)
    except ConfigError as error:
        print(f"sharedlogkv-replica: the configuration can't be used:\n{error}", file=sys.stderr)
        sys.exit(2)
    _allow_open_files()
    gc.set_threshold(GARBAGE_OBJECTS, 20, 20)
    try:
        uvloop.run(app.run())
    except OSError as error:
        logger.error("can't listen", extra={"detail": str(error)})  # noqa: TRY400 # the address says it all
        sys.exit(1)


def _allow_open_files() -> None:
    """Raises the soft limit of open files to the hard one: each connection is one, and many systems begin at 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
