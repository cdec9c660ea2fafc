"""The history of a run: who asked what when, and what was answered; JSON lines, the food of all checks.

Each operation has one `invoke` line and at most one end: `ok` (answered), `fail` (surely not done) or `info` (nobody
knows, it may still happen). `note` lines tell what the nemesis did. Times are nanoseconds of one monotonic clock. An
operation without an end was under way when the run ended, and counts as `info`.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

Kind: TypeAlias = Literal["put", "delete", "get"]
Level: TypeAlias = Literal["eventual", "bounded", "session", "linearizable"]
ConditionKind: TypeAlias = Literal["absent", "version"]
EndKind: TypeAlias = Literal["ok", "fail", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a client is about to ask.

    Attributes:
        operation: The number that its end bears too.
        process: The client; it does one thing after the other.
        at: Before the first byte is sent, in ns.
        kind: What it asks for.
        key: The key.
        value: Of a put; no other put of the run has it.
        condition: Of a write: `absent` (If-None-Match: *), `version` (If-Match), or none.
        expected: The version of the condition `version`.
        level: Of a read.
        max_lag_ms: Of a bounded read.
        token: The offset that the answer must include, if one was sent.
        request_id: The `Idempotency-Key`, if one is sent, the same at each attempt.
        replica: Whom it asks first.
    """

    operation: int
    process: int
    at: int
    kind: Kind
    key: str
    replica: str = ""
    value: str = ""
    condition: ConditionKind | None = None
    expected: int | None = None
    level: Level | None = None
    max_lag_ms: int | None = None
    token: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What became of an operation.

    Attributes:
        operation: Its number.
        at: When the answer was there, in ns.
        event: `ok`, `fail` or `info`.
        held: The write's condition held (or it had none).
        version: Of the record written, read, or on which the condition failed; None where there was no key.
        value: What was read.
        token: The offset that the answer vouches for.
        status: The HTTP status of the last answer; None when there was none.
        why: For people: what went wrong.
    """

    operation: int
    at: int
    event: EndKind
    held: bool = True
    version: int | None = None
    value: str = ""
    token: int | None = None
    status: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the nemesis did, at `at` ns."""

    at: int
    text: str


Event: TypeAlias = Invocation | End | Note


@dataclass(frozen=True, slots=True)
class Operation:
    """An invocation and its end; None while it is open."""

    asked: Invocation
    end: End | None

    @property
    def outcome(self) -> EndKind:
        """How it ended; an open one is `info`."""
        return "info" if self.end is None else self.end.event

    @property
    def written(self) -> int | None:
        """The version that it is known to have written; None for reads, refusals and what nobody knows."""
        if self.end is None or self.asked.kind == "get" or self.end.event != "ok" or not self.end.held:
            return None
        return self.end.version


def encode(event: Event) -> str:
    """The line of an event; what is None is left out."""
    kind = {Invocation: {"event": "invoke"}, Note: {"event": "note"}, End: {}}[type(event)]
    fields: dict[str, object] = {**kind, **asdict(event)}
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def decode(line: str) -> Event:
    """The event of a line.

    Raises:
        ValueError: It is no line of a history.
    """
    fields = json.loads(line)
    try:
        match fields.get("event"):
            case "invoke":
                return Invocation(**{name: value for name, value in fields.items() if name != "event"})
            case "note":
                return Note(at=fields["at"], text=fields["text"])
            case _:
                return End(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a line of a history: {line}") from error


def read(path: Path) -> list[Event]:
    """All events of a file, in the order in which they were written."""
    with path.open() as lines:
        return [decode(line) for line in lines]


def operations(events: Iterable[Event]) -> list[Operation]:
    """The operations of a history, by the time of their invocation."""
    events = list(events)
    ends = {event.operation: event for event in events if isinstance(event, End)}
    asked = (event for event in events if isinstance(event, Invocation))
    return sorted(
        (Operation(invocation, ends.get(invocation.operation)) for invocation in asked), key=lambda op: op.asked.at
    )


def acknowledged(history: Iterable[Operation]) -> Iterator[tuple[int, Operation]]:
    """Each write that was acknowledged, with its version."""
    for operation in history:
        if (version := operation.written) is not None:
            yield version, operation


class Recorder:
    """Writes a history while it happens. For one event loop.

    Attributes:
        path: The file.
        events: What was written so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._writes: set[int] = set()
        self._file = path.open("w")
        self._operations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def next_operation(self) -> int:
        """A number that no operation has had."""
        self._operations += 1
        return self._operations

    def write(self, event: Event) -> None:
        """Adds an event."""
        self.events.append(event)
        if isinstance(event, Invocation) and event.kind != "get":
            self._writes.add(event.operation)
        self._file.write(encode(event) + "\n")

    @property
    def mark(self) -> int:
        """A place in the history, for `writes_ended`."""
        return len(self.events)

    def writes_ended(self, *outcomes: EndKind, since: int = 0) -> list[End]:
        """The ends of writes behind a mark, of these outcomes."""
        return list(self._ends(self.events[since:], outcomes))

    def last_acknowledged(self, *, before: int) -> End | None:
        """The end of the last write before a mark that was acknowledged; None where there is none."""
        return next(self._ends(reversed(self.events[:before]), ("ok",)), None)

    def _ends(self, events: Iterable[Event], outcomes: Sequence[EndKind]) -> Iterator[End]:
        for event in events:
            if isinstance(event, End) and event.event in outcomes and event.operation in self._writes:
                yield event

    def note(self, text: str) -> None:
        """Adds what the nemesis does."""
        self.write(Note(at=time.monotonic_ns(), text=text))

    def flush(self) -> None:
        """Returns once the file holds every event."""
        self._file.flush()
