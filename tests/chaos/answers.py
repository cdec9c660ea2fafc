"""What every single answer must keep, whatever its level: session guarantees, and that a token means what it says.

An answer with token t is read from the map that has applied the log up to t. So of two writes to a key that are known
to lie at or below t, it must not show the older one; with that, a client that passes its token on reads its own writes
and never goes back (Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994). Linearizability of
each key is judged elsewhere (`linearizability`); here, a linearizable read's token must reach every acknowledged write
of any key.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.history import Operation, acknowledged

CLOCK_SLACK_NS: Final = 250_000_000
"""Between a record's time in the log and its acknowledgement as a client sees it, on a machine with much to do."""


@dataclass(slots=True)
class _Key:
    """What is known of one key.

    Attributes:
        versions: Known versions, rising; of puts and deletions.
        values: The value of each; None for a deletion.
        doubtful_deletion_at: When the first deletion was begun of which nobody knows the outcome.
    """

    versions: list[int] = field(default_factory=list)
    values: dict[int, str | None] = field(default_factory=dict)
    doubtful_deletion_at: int | None = None

    def newest(self, token: int) -> int | None:
        """The last known version at or below `token`."""
        place = bisect_right(self.versions, token)
        return self.versions[place - 1] if place else None


def check_answers(history: Sequence[Operation]) -> list[str]:
    """Every breach, in words, in the order of the history; `history` is in the order of invocation."""
    return [*_check_values(history), *_check_tokens(history)]


def _check_values(history: Sequence[Operation]) -> Iterator[str]:
    """Values come from writes, a version has one value, and a value one version: nothing is written twice."""
    puts = {op.asked.value: op for op in history if op.asked.kind == "put"}
    version_of: dict[tuple[str, str], int] = {}
    value_of: dict[tuple[str, int], str] = {}
    for op in history:
        key, end = op.asked.key, op.end
        if end is None or end.event != "ok" or end.version is None or not end.held or op.asked.kind == "delete":
            continue
        value = end.value if op.asked.kind == "get" else op.asked.value
        put = puts.get(value)
        if put is None or put.asked.key != key:
            yield f"{_name(op)}: nobody put {value!r}"
            continue
        if put.asked.at > end.at or put.outcome == "fail" or (put.end and not put.end.held):
            yield f"{_name(op)}: {value!r} was not written, or not yet: {_name(put)}"
        if (known := version_of.setdefault((key, value), end.version)) != end.version:
            yield f"{_name(op)}: {value!r} was written twice, as {known} and {end.version}"
        if (other := value_of.setdefault((key, end.version), value)) != value:
            yield f"{_name(op)}: version {end.version} is {other!r} and {value!r}"


def _check_tokens(history: Sequence[Operation]) -> Iterator[str]:
    keys = _gather(history)
    written = sorted((op.end.at, version) for version, op in acknowledged(history) if op.end)
    times = [at for at, _ in written]
    highest = _running_maximum([version for _, version in written])
    for op in history:
        end, asked = op.end, op.asked
        if end is None or end.event != "ok" or end.token is None:
            continue
        if end.version is not None and end.version > end.token:
            yield f"{_name(op)}: the answer is newer than its token {end.token}"
        if asked.kind != "get":
            continue
        if asked.token is not None and end.token < asked.token:
            yield f"{_name(op)}: the answer's token {end.token} is older than the one sent"
        floor_ns = {"linearizable": asked.at, "bounded": asked.at - (asked.max_lag_ms or 0) * 10**6 - CLOCK_SLACK_NS}
        place = bisect_left(times, floor_ns[asked.level]) if asked.level in floor_ns else 0
        if place and end.token < highest[place - 1]:
            yield f"{_name(op)}: its token {end.token} lacks {highest[place - 1]}, which was acknowledged before"
        yield from _check_content(op, keys[asked.key])


def _check_content(op: Operation, key: _Key) -> Iterator[str]:
    """An answer shows the last write at or below its token."""
    assert op.end is not None
    assert op.end.token is not None
    newest = key.newest(op.end.token)
    if op.end.version is not None:
        if newest is not None and op.end.version < newest:
            yield f"{_name(op)}: below its token {op.end.token} there is {newest}, so it shows a lost state"
        return
    deleted = key.doubtful_deletion_at is not None and key.doubtful_deletion_at < op.end.at
    if newest is not None and key.values[newest] is not None and not deleted:
        yield f"{_name(op)}: below its token {op.end.token} there is {newest}, and nobody deleted it"


def _gather(history: Sequence[Operation]) -> dict[str, _Key]:
    keys: dict[str, _Key] = {}
    for op in history:
        key, end, asked = keys.setdefault(op.asked.key, _Key()), op.end, op.asked
        if asked.kind == "delete" and op.outcome == "info" and key.doubtful_deletion_at is None:
            key.doubtful_deletion_at = asked.at
        if end is None or end.event != "ok" or end.version is None or not end.held:
            continue
        key.values[end.version] = {"put": asked.value, "get": end.value, "delete": None}[asked.kind]
    for key in keys.values():
        key.versions = sorted(key.values)
    return keys


def _running_maximum(numbers: Sequence[int]) -> list[int]:
    highest, found = -1, []
    for number in numbers:
        highest = max(highest, number)
        found.append(highest)
    return found


def _name(op: Operation) -> str:
    asked, end = op.asked, op.end
    what = f"{asked.level} read" if asked.kind == "get" else asked.kind
    became = "unknown" if end is None else f"{end.event}, version {end.version} {end.value}".rstrip()
    return f"operation {asked.operation} ({what} of {asked.key} at {asked.replica} by client {asked.process}: {became})"
