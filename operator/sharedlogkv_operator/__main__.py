"""Starts the operator: exit status 0 after SIGTERM, 2 for a configuration that can't be used, 1 for anything else."""

import asyncio
import os
import sys

from sharedlogkv_operator.app import run
from sharedlogkv_operator.config import parse_config
from sharedlogkv_operator.errors import ConfigError
from sharedlogkv_operator.lease_holder import LeaseLost
from sharedlogkv_operator.logs import configure_logs, log
from sharedlogkv_operator.watcher import WatchEnded


def main() -> None:
    """Runs the program."""
    try:
        config = parse_config(sys.argv[1:], os.environ)
        configure_logs(config.log_level)
        asyncio.run(run(config))
    except ConfigError as error:
        print(f"sharedlogkv-operator: {error}", file=sys.stderr)
        sys.exit(2)
    except (WatchEnded, LeaseLost) as error:
        log.exception("ended", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
