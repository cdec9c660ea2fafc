"""A small client of a replica's HTTP interface, on one kept-alive connection, for tests and the demo's checks."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_from_bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: As sent.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        """The `SLKV-Token`; a KeyError when there is none."""
        return self.headers["slkv-token"]

    def json(self) -> Any:
        """Return the body as parsed JSON."""
        return json.loads(self.body)


class ReplicaClient:
    """Talks to one address. Not for several threads at once.

    Every method raises OSError or http.client.HTTPException when the connection fails; the next call makes a new one.
    """

    def __init__(self, host: str, port: int, *, timeout_seconds: float = 15.0) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return the answer, whatever its status."""
        fields = {**(headers or {}), **({} if token is None else {"SLKV-Token": token})}
        try:
            self._connection.request(method, path, body=body, headers=fields)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)

    def send(self, method: str, key: bytes, *, value: bytes | None = None, token: str | None = None) -> Reply:
        """Send one request about a key."""
        return self.request(method, key_path(key), body=value, token=token)

    def put(self, key: bytes, value: bytes) -> Reply:
        """Store a value."""
        return self.request("PUT", key_path(key), body=value)

    def get(self, key: bytes, *, token: str | None = None, consistency: str | None = None) -> Reply:
        """Read a value."""
        query = "" if consistency is None else f"?consistency={consistency}"
        return self.request("GET", key_path(key) + query, token=token)

    def delete(self, key: bytes) -> Reply:
        """Delete a key."""
        return self.request("DELETE", key_path(key))

    def items(self, *, prefix: bytes = b"", limit: int = 1000) -> list[dict[str, Any]]:
        """Return all items below a prefix, read page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            query = f"?prefix={quote_from_bytes(prefix, safe='')}&limit={limit}"
            reply = self.request(
                "GET", "/v1/kv" + query + (f"&cursor={quote_from_bytes(cursor.encode(), safe='')}" if cursor else "")
            )
            assert reply.status == 200, reply
            page = reply.json()
            found += page["items"]
            cursor = page.get("cursor") or ""
            if not cursor:
                return found


def key_path(key: bytes) -> str:
    """Return the request target of a key: every byte that is not unreserved is percent-encoded."""
    return "/v1/kv/" + quote_from_bytes(key, safe="")
