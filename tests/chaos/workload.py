"""Concurrent clients of all operations, which write down all that they see.

A write whose outcome is unknown is asked again only where it bears an `Idempotency-Key`: then all attempts are one
operation, which may take effect once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.chaos.history import End, Invocation, Recorder
from tests.chaos.http_client import Answer, Connections, NoAnswer, NotSent, key_target
from tests.chaos.intentions import Abilities, Intention, intend

OPERATIONS_PER_GENERATION: Final = 300
"""After so many operations the clients go on to new keys: the search for an explanation grows with a key's history."""

_READ_SECONDS = 3.0  # above the replica's own limit of 1 s
_WRITE_SECONDS = 7.0  # above the replica's own limit of 5 s
_REPEAT_SECONDS = 10.0  # well below the topic's min.compaction.lag.ms, within which requests are remembered
_BACK_OFF_SECONDS = 0.1


@dataclass(slots=True)
class Shared:
    """What all clients of a run share.

    Attributes:
        hosts: The address of each replica, by name.
        recorder: Takes the history.
        log_id: The log that every answer must speak of.
        token: The highest offset that any client has been told.
        prefix: Of the keys.
        surprises: Answers that no client should ever get.
        keys: Every key that was used, in order.
    """

    hosts: Mapping[str, str]
    recorder: Recorder
    log_id: str
    token: int | None = None
    prefix: str = "k"
    surprises: list[str] = field(default_factory=list)
    keys: dict[str, None] = field(default_factory=dict)

    def key(self, number: int, operation: int) -> str:
        """The present key of that number."""
        key = f"{self.prefix}{operation // OPERATIONS_PER_GENERATION}.{number}"
        self.keys[key] = None
        return key


class Client:
    """One client: one request after the other, and one session."""

    def __init__(self, shared: Shared, process: int) -> None:
        self._shared = shared
        self._process = process
        self._connections = Connections()
        self._token: int | None = None
        self._versions: dict[str, int] = {}

    async def run(self, intentions: Iterator[Intention], stop: asyncio.Event) -> None:
        """Does what it intends until told to stop."""
        try:
            for intention in intentions:
                if stop.is_set():
                    break
                await asyncio.sleep(intention.pause_seconds)
                if (await self.do(intention)).event == "fail":
                    await asyncio.sleep(_BACK_OFF_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Hangs up."""
        self._connections.close()

    async def do(self, intention: Intention, *, key: str | None = None) -> End:
        """Carries out one intention, and returns how it ended; on `key`, or else on the present key of its number."""
        recorder = self._shared.recorder
        number = recorder.next_operation()
        key = key or self._shared.key(intention.key, number)
        asked = self._invocation(intention, number, key)
        recorder.write(asked)
        end = await (self._read(asked, intention) if asked.kind == "get" else self._write(asked, intention))
        end = replace(end, at=time.monotonic_ns())
        recorder.write(end)
        self._learn(asked, end)
        return end

    def _invocation(self, intention: Intention, number: int, key: str) -> Invocation:
        seen = self._versions.get(key)
        condition = "absent" if intention.condition == "version" and seen is None else intention.condition
        if intention.kind == "delete" and condition == "absent":
            condition = None
        token = None
        if intention.level == "session":
            handed_over = self._shared.token if intention.replica % 4 == 0 else None
            token = max(self._token or 0, handed_over or 0) or None
        return Invocation(
            operation=number,
            process=self._process,
            at=time.monotonic_ns(),
            kind=intention.kind,
            key=key,
            replica=self._names(intention)[0],
            value=f"{self._process}-{number}" if intention.kind == "put" else "",
            condition=condition,
            expected=seen if condition == "version" else None,
            level=intention.level,
            max_lag_ms=intention.max_lag_ms,
            token=token,
            request_id=f"request-{self._process}-{number}" if intention.idempotent else None,
        )

    def _names(self, intention: Intention) -> Sequence[str]:
        names = list(self._shared.hosts)
        first = intention.replica % len(names)
        return names[first:] + names[:first]

    async def _read(self, asked: Invocation, intention: Intention) -> End:
        target = f"{key_target(asked.key)}?consistency={asked.level}"
        if asked.max_lag_ms is not None:
            target += f"&max_lag_ms={asked.max_lag_ms}"
        headers = {} if asked.token is None else {"SLKV-Token": f"{self._shared.log_id}:0:{asked.token}"}
        host = self._shared.hosts[self._names(intention)[0]]
        try:
            answer = await self._connections.request(
                host, "GET", target, headers=headers, timeout_seconds=_READ_SECONDS
            )
        except (NotSent, NoAnswer) as error:
            return _end(asked, "fail", why=str(error))
        match answer.status:
            case 200 | 404:
                return self._answered(asked, answer)
            case 410 | 503 | 504:
                return _end(asked, "fail", answer)
            case _:
                return self._surprise(asked, answer)

    async def _write(self, asked: Invocation, intention: Intention) -> End:
        names = self._names(intention)
        deadline = time.monotonic() + _REPEAT_SECONDS
        attempt, doubtful = 0, False
        while True:
            end = await self._attempt(asked, self._shared.hosts[names[attempt % len(names)]])
            doubtful = doubtful or end.event == "info"
            if end.event == "ok" or asked.request_id is None or time.monotonic() > deadline:
                break
            attempt += 1
            await asyncio.sleep(_BACK_OFF_SECONDS)
        return replace(end, event="info") if doubtful and end.event == "fail" else end

    async def _attempt(self, asked: Invocation, host: str) -> End:
        headers = {}
        if asked.condition == "absent":
            headers["If-None-Match"] = "*"
        elif asked.condition == "version":
            headers["If-Match"] = f'"{asked.expected}"'
        if asked.request_id is not None:
            headers["Idempotency-Key"] = asked.request_id
        method, body = ("PUT", asked.value.encode()) if asked.kind == "put" else ("DELETE", b"")
        target = key_target(asked.key)
        try:
            answer = await self._connections.request(
                host, method, target, headers=headers, body=body, timeout_seconds=_WRITE_SECONDS
            )
        except NotSent as error:
            return _end(asked, "fail", why=str(error))
        except NoAnswer as error:
            return _end(asked, "info", why=str(error))
        match answer.status:
            case 204 | 412:
                return self._answered(asked, answer)
            case 503:
                return _end(asked, "fail", answer)
            case 504:
                return _end(asked, "info", answer)
            case _:
                return self._surprise(asked, answer)

    def _answered(self, asked: Invocation, answer: Answer) -> End:
        log_id, _, offset = answer.headers.get("slkv-token", "").rpartition(":")
        if offset and log_id != f"{self._shared.log_id}:0":
            self._shared.surprises.append(f"operation {asked.operation} was answered from another log: {log_id}")
        etag = answer.headers.get("etag")
        return _end(
            asked,
            "ok",
            answer,
            held=answer.status != 412,
            version=int(etag.strip('"')) if etag and answer.status != 404 else None,
            value=answer.body.decode() if answer.status == 200 else "",
            token=int(offset) if offset else None,
        )

    def _surprise(self, asked: Invocation, answer: Answer) -> End:
        self._shared.surprises.append(f"{asked.kind} {asked.key} (operation {asked.operation}): {answer}")
        return _end(asked, "info", answer)

    def _learn(self, asked: Invocation, end: End) -> None:
        if end.event != "ok":
            return
        if end.token is not None:
            self._token = max(self._token or 0, end.token)
            self._shared.token = max(self._shared.token or 0, end.token)
        if end.version is None or (asked.kind == "delete" and end.held):
            self._versions.pop(asked.key, None)
        else:
            self._versions[asked.key] = end.version


def _end(
    asked: Invocation,
    event: str,
    answer: Answer | None = None,
    *,
    held: bool = True,
    version: int | None = None,
    value: str = "",
    token: int | None = None,
    why: str = "",
) -> End:
    """An end whose time is set when it is recorded."""
    if answer is not None and event != "ok":
        why = answer.body.decode(errors="replace")[:200]
    return End(
        operation=asked.operation,
        at=0,
        event="ok" if event == "ok" else "fail" if event == "fail" else "info",
        held=held,
        version=version,
        value=value,
        token=token,
        status=None if answer is None else answer.status,
        why=why,
    )


class Workload:
    """The clients of a run, at work while the context lasts."""

    def __init__(self, shared: Shared, *, seed: int, clients: int, abilities: Abilities) -> None:
        self.shared = shared
        self._stop = asyncio.Event()
        self._clients: Callable[[], list[asyncio.Task[None]]] = lambda: [
            asyncio.create_task(Client(shared, process).run(intend(seed, process, abilities), self._stop))
            for process in range(clients)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._auditor = Client(shared, clients)

    async def __aenter__(self) -> "Workload":
        self._tasks = self._clients()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def read_all(self) -> None:
        """Reads every key that was used, linearizably: whatever was acknowledged must be explained by the answers.

        Raises:
            AssertionError: A key can't be read.
        """
        try:
            for number, key in enumerate(self.shared.keys):
                intention = Intention(kind="get", key=0, replica=number, level="linearizable")
                end = await self._auditor.do(intention, key=key)
                assert end.event == "ok", f"{key} can't be read: {end}"
        finally:
            self._auditor.close()
