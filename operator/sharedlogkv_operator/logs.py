"""The operator's log: one JSON object a line on stdout, a constant message with fields beside it."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

FIELDS: Final = "slkv_fields"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, fields, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document: dict[str, object] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


class FieldLogger:
    """A logger whose methods take a constant message, and fields by keyword."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, message: str, **fields: object) -> None:
        """Something that whoever runs it wants to see."""
        self._logger.info(message, extra={FIELDS: fields})

    def warning(self, message: str, **fields: object) -> None:
        """Something that goes wrong and is dealt with."""
        self._logger.warning(message, extra={FIELDS: fields})

    def exception(self, message: str, error: BaseException, **fields: object) -> None:
        """A bug, with its traceback."""
        self._logger.error(message, extra={FIELDS: fields}, exc_info=error)


log: Final = FieldLogger("sharedlogkv_operator")


def configure_logs(level: str, *, stream: TextIO = sys.stdout) -> None:
    """Sends everything that is logged at `level` or above to the stream, ours and the libraries'."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The libraries tell what the operator tells better, or what is in its metrics.
    for name in ("aiohttp.access", "kopf", "kubernetes"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
