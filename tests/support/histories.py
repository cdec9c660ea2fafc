"""Histories written by hand, for the tests of the checks: a letter is a client, time runs from line to line."""

from tests.chaos.history import ConditionKind, End, Event, Invocation, Kind, Level


class Script:
    """Writes a history. Each call takes a moment; what is `begun` ends when its `end` is called, if ever.

    Attributes:
        events: What was written so far.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._at = 0
        self._operations = 0

    def begin(
        self,
        client: int,
        kind: Kind,
        key: str,
        value: str = "",
        *,
        condition: ConditionKind | None = None,
        expected: int | None = None,
        level: Level | None = None,
        token: int | None = None,
        max_lag_ms: int | None = None,
    ) -> int:
        """Begins an operation; returns its number."""
        self._operations += 1
        self.events.append(
            Invocation(
                operation=self._operations,
                process=client,
                at=self._tick(),
                kind=kind,
                key=key,
                value=value,
                condition=condition,
                expected=expected,
                level=level or ("linearizable" if kind == "get" else None),
                token=token,
                max_lag_ms=max_lag_ms,
            )
        )
        return self._operations

    def ok(
        self, operation: int, version: int | None, value: str = "", *, token: int | None = None, held: bool = True
    ) -> None:
        """Ends an operation with an answer; its token is the version where none is given."""
        token = version if token is None else token
        self.events.append(
            End(
                operation=operation,
                at=self._tick(),
                event="ok",
                version=version,
                value=value,
                token=token,
                held=held,
            )
        )

    def lose(self, operation: int) -> None:
        """Ends an operation without anybody knowing how."""
        self.events.append(End(operation=operation, at=self._tick(), event="info"))

    def fail(self, operation: int) -> None:
        """Ends an operation that surely did not happen."""
        self.events.append(End(operation=operation, at=self._tick(), event="fail"))

    def put(self, client: int, key: str, value: str, version: int) -> None:
        """A put that is acknowledged."""
        self.ok(self.begin(client, "put", key, value), version)

    def delete(self, client: int, key: str, version: int) -> None:
        """A deletion that is acknowledged."""
        self.ok(self.begin(client, "delete", key), version)

    def get(
        self,
        client: int,
        key: str,
        version: int | None,
        value: str = "",
        *,
        level: Level = "linearizable",
        token: int | None = None,
        sent: int | None = None,
    ) -> None:
        """A read that is answered."""
        self.ok(self.begin(client, "get", key, level=level, token=sent), version, value, token=token)

    def wait(self, *, seconds: float) -> None:
        """Lets time pass."""
        self._at += int(seconds * 1e9)

    def _tick(self) -> int:
        self._at += 1000
        return self._at
