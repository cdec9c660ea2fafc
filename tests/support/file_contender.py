"""A process that claims a log file again and again, and says on stdout what became of it.

    python -m tests.support.file_contender PATH NAME

Each line is `term VALUE`, `fenced`, `hindered WHY`, or `OFFSET VALUE` for an acknowledged record. The key of a record
is the value of the claim under which it was written. A line without its end was cut by a kill and says nothing.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from sharedlogkv_replica.core.records import Entry
from sharedlogkv_replica.errors import Fenced, LogUnavailable, OutcomeUnknown
from sharedlogkv_replica.log.base import FencedWriter
from sharedlogkv_replica.log.file import FileLog
from tests.support.fenced_contract import CLAIM_KEY
from tests.support.file import LIMIT_BYTES

TIMEOUT_SECONDS = 30.0
BATCHES_OF_A_TERM = 20


def say(*words: object) -> None:
    """Prints a line by one write, also where stdout is unbuffered, so that a kill rarely cuts it."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def lead(writer: FencedWriter, term: bytes) -> None:
    """Claims the log, and appends until it is fenced, or has appended enough."""
    await writer.claim(lambda _: [Entry(CLAIM_KEY, term)], enlisted=(), timeout_seconds=TIMEOUT_SECONDS)
    say("term", term.decode())
    for number in range(BATCHES_OF_A_TERM):
        value = term + f".{number}".encode()
        offset = await writer.append([Entry(term, value)] * 2, timeout_seconds=TIMEOUT_SECONDS)
        say(offset, value.decode())


async def main(path: Path, name: str) -> None:
    """Leads whenever it can, for ever."""
    log = FileLog(path, batch_limit_bytes=LIMIT_BYTES)
    await log.open()
    writer = log.fenced_writer()
    for number in itertools.count():
        try:
            await lead(writer, f"{name}-{number}".encode())
        except Fenced:
            say("fenced")
        except (LogUnavailable, OutcomeUnknown) as error:
            say("hindered", error)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
