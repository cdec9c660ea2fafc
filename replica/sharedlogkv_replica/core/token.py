"""The token `<log id>:<partition>:<offset>` that every answer carries, and that a client hands back to read its writes.

The log id makes it worthless on any other log: a topic that was deleted and created anew starts at offset 0 again, and
an offset of the old one would promise what the new one can't keep.
"""

import re
from dataclasses import dataclass
from typing import Final

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.errors import InvalidToken

_FORM: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,9}):([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Which log: the id that it got when it was created (Kafka: the topic id, KIP-516), and the partition."""

    log_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Token:
    """One offset of one log."""

    log: LogIdentity
    offset: Offset

    def __str__(self) -> str:
        return f"{self.log.log_id}:{self.log.partition}:{self.offset}"


def parse_token(text: str) -> Token:
    """The token that `text` spells.

    Raises:
        InvalidToken: `text` is not of the form `<log id>:<partition>:<offset>`.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidToken(
            f"the token {text[:80]!r} is not of the form <log id>:<partition>:<offset>; "
            "hand back the SLKV-Token of an earlier answer as it was"
        )
    log_id, partition, offset = match.groups()
    return Token(LogIdentity(log_id, int(partition)), Offset(int(offset)))
