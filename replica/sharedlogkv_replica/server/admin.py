"""The admin port: `/livez`, `/readyz`, `/metrics`, `/status`. For the kubelet, Prometheus and the operator."""

from collections.abc import Callable
from typing import Final

import orjson

from sharedlogkv_replica.core.modes import Reason
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.server.http_messages import Request, Response
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.targets import split_target

_TEXT: Final = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
_JSON: Final = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
_METRICS: Final = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n"


class AdminHandler:
    """Serves what others need to know of one replica. Every path takes GET and HEAD, and ignores a query.

    Args:
        replica: whom it speaks of.
        metrics: gives all metrics in Prometheus' text format.
    """

    def __init__(self, replica: Replica, *, metrics: Callable[[], bytes]) -> None:
        self._replica = replica
        self._metrics = metrics
        self._pages: dict[bytes, Callable[[], Response]] = {
            b"/livez": self._livez,
            b"/readyz": self._readyz,
            b"/metrics": lambda: Response(200, _METRICS, self._metrics()),
            b"/status": lambda: Response(200, _JSON, orjson.dumps(self._replica.status())),
        }

    @property
    def body_limit_bytes(self) -> int:
        """No page takes a body."""
        return 0

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """Nothing here is asked for often enough to deserve a short way."""
        del target, token
        return None

    def admit(self, request: Request) -> Response | None:
        """Nothing: a body is over the limit anyhow."""
        del request
        return None

    def handle(self, request: Request) -> Response:
        """The page that was asked for."""
        try:
            path, _ = split_target(request.target)
        except Refused as refused:
            return refused.response
        page = self._pages.get(path)
        if page is None:
            return problem("no-such-path", "there are /livez, /readyz, /metrics and /status")
        if request.method not in (b"GET", b"HEAD"):
            return problem("method-not-allowed", "only GET and HEAD are possible here", headers=b"Allow: GET, HEAD\r\n")
        return page()

    def _livez(self) -> Response:
        ailment = self._replica.ailment()
        return Response(200, _TEXT, b"ok\n") if ailment is None else Response(503, _TEXT, f"{ailment}\n".encode())

    def _readyz(self) -> Response:
        """Ready means: send requests here. A replica that stops still answers them, but no new client should come."""
        standing = self._replica.standing
        if standing.ready and standing.reason is not Reason.STOPPING:
            return Response(200, _TEXT, b"ok\n")
        return Response(503, _TEXT, f"{standing.reason.value}: {standing.message}\n".encode())
