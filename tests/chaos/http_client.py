"""An HTTP client that never sends anything twice by itself, and says whether a request can have been taken.

Clients that one can install send an idempotent request again when a kept connection turns out to be closed; here that
would be a second write that the history knows nothing of.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

HTTP_PORT = 8080
ADMIN_PORT = 9090
_CONNECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSent(Exception):
    """There was nobody to send the request to: it surely was not taken."""


class NoAnswer(Exception):
    """The request was sent, at least in part, and no answer came: it may have been taken or not."""


class Connections:
    """Kept connections of one client, one to each address. Not for several tasks at once."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def request(
        self,
        host: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float = 8.0,
        port: int = HTTP_PORT,
    ) -> Answer:
        """Sends one request, once.

        Raises:
            NotSent: No connection could be made.
            NoAnswer: The connection broke, or the time passed.
        """
        address = (host, port)
        streams = self._open.pop(address, None)
        if streams is None:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    streams = await asyncio.open_connection(host, port)
            except (OSError, TimeoutError) as error:
                raise NotSent(f"{host}: {error!r}") from error
        reader, writer = streams
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        kept = False
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            async with asyncio.timeout(timeout_seconds):
                answer = await _receive(reader)
            kept = answer.headers.get("connection", "") != "close"
        except (OSError, EOFError, TimeoutError) as error:
            raise NoAnswer(f"{host}: {error!r}") from error
        finally:
            if kept:
                self._open[address] = streams
            else:
                writer.transport.abort()
        return answer

    def close(self) -> None:
        """Hangs up everywhere."""
        for _, writer in self._open.values():
            writer.transport.abort()
        self._open.clear()


async def _receive(reader: asyncio.StreamReader) -> Answer:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if status >= 200:
            break
    length = 0 if status in (204, 304) else int(headers.get("content-length", "0"))
    return Answer(status, headers, await reader.readexactly(length))


def key_target(key: str) -> str:
    """The request target of a key."""
    return "/v1/kv/" + quote(key, safe="")
