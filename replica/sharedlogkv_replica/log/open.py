"""From the configured URL to a log: the one place that knows which implementations there are."""

from typing import Final

from sharedlogkv_replica.errors import ConfigError
from sharedlogkv_replica.log.base import SharedLog
from sharedlogkv_replica.log.file import FileLog, parse_path
from sharedlogkv_replica.log.kafka import KafkaLog, parse_location
from sharedlogkv_replica.log.kafka_security import PLAINTEXT, KafkaSecurity
from sharedlogkv_replica.log.memory import MemoryBroker, MemoryLog

LOCAL_BATCH_LIMIT_BYTES: Final = 2 << 20
"""Takes a value of 1 MiB, the default limit of values, with its key and framing; Kafka's own default does not."""

MEMORY_COMPACTION_LAG_SECONDS: Final = 10.0
"""Long enough for a client's retries, and short enough that overwriting a few keys for ever takes little memory."""


def open_log(url: str, *, expected_id: str | None = None, security: KafkaSecurity = PLAINTEXT) -> SharedLog:
    """A handle on the log that `url` names; nothing is connected before its `open()`.

    Args:
        url: `memory:` for a new log in this process's memory, `file:///path` for one in a file, which `open()` makes
            if there is none, or `kafka://host:port[,host:port...]/topic`.
        expected_id: the only log id that `open()` accepts; None accepts any.
        security: how to connect to Kafka, if that is where the log is.

    Raises:
        ConfigError: the URL names no log.
    """
    if url == "memory:":
        broker = MemoryBroker(
            batch_limit_bytes=LOCAL_BATCH_LIMIT_BYTES, compaction_lag_seconds=MEMORY_COMPACTION_LAG_SECONDS
        )
        return MemoryLog(broker, expected_id=expected_id)
    if url.startswith("file:"):
        return FileLog(
            parse_path(url), expected_id=expected_id, creates=True, batch_limit_bytes=LOCAL_BATCH_LIMIT_BYTES
        )
    if url.startswith("kafka:"):
        return KafkaLog(parse_location(url), expected_id=expected_id, security=security)
    raise ConfigError(
        f"the log {url!r} is none of `memory:`, `file:///path` and `kafka://host:port[,host:port...]/topic`"
    )
