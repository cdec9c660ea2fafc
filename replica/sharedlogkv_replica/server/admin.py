"""The admin port: `/livez /readyz /metrics /status`, and `/leader/transfer`. For kubelet, Prometheus and operator."""

import asyncio
import hmac
from collections.abc import Callable
from typing import Final

import orjson

from sharedlogkv_replica.core.modes import Reason
from sharedlogkv_replica.engine.replica import Replica
from sharedlogkv_replica.errors import LogRefused, LogUnavailable, NoLeader, OutcomeUnknown
from sharedlogkv_replica.server.http_messages import Deferred, Outcome, PlainPut, Request, Response
from sharedlogkv_replica.server.problems import Refused, problem
from sharedlogkv_replica.server.targets import parse_query, split_target

_TEXT: Final = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n"
_JSON: Final = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
_METRICS: Final = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n"

_TRANSFER_PATH: Final = b"/leader/transfer"


class AdminHandler:
    """Serves what others need to know of one replica, and the one thing that they may ask it to do.

    Pages take GET and HEAD, and ignore a query; `/leader/transfer` takes POST.

    Args:
        replica: whom it speaks of.
        metrics: gives all metrics in Prometheus' text format.
        secret: gives the shared secret, without which nobody may ask for a transfer; None where there is none.

    Attributes:
        fields: the header fields that it looks at.
    """

    def __init__(self, replica: Replica, *, metrics: Callable[[], bytes], secret: Callable[[], bytes | None]) -> None:
        self.fields = frozenset({b"authorization"})
        self._replica = replica
        self._metrics = metrics
        self._secret = secret
        self._pages: dict[bytes, Callable[[], Response]] = {
            b"/livez": self._livez,
            b"/readyz": self._readyz,
            b"/metrics": lambda: Response(200, _METRICS, self._metrics()),
            b"/status": lambda: Response(200, _JSON, orjson.dumps(self._replica.status())),
        }

    @property
    def body_limit_bytes(self) -> int:
        """No path takes a body."""
        return 0

    def plain_get(self, target: bytes, token: bytes | None) -> bytes | None:
        """Nothing here is asked for often enough to deserve a short way."""
        del target, token
        return None

    def plain_put(self, target: bytes, body: bytes) -> PlainPut | None:
        """None: nothing is put here."""
        del target, body
        return None

    def admit(self, request: Request) -> Response | None:
        """Nothing: a body is over the limit anyhow."""
        del request
        return None

    def describe_state(self, request: Request) -> bytes:
        """Nothing: these answers are about the replica, not about the store."""
        del request
        return b""

    def handle(self, request: Request) -> Outcome:
        """The page that was asked for, or the promise of a transfer."""
        try:
            path, query = split_target(request.target)
            if path == _TRANSFER_PATH:
                return self._transfer(request, query)
        except Refused as refused:
            return refused.response
        page = self._pages.get(path)
        if page is None:
            return problem("no-such-path", "there are /livez, /readyz, /metrics, /status and /leader/transfer")
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

    def _transfer(self, request: Request, query: bytes) -> Deferred:
        """Asks the leader to hand over to the replica that `to` names, or to the best placed one.

        Raises:
            Refused: the request is no POST, bears no proof that it may, or is malformed.
        """
        if request.method != b"POST":
            raise Refused("method-not-allowed", "only POST is possible here", headers=b"Allow: POST\r\n")
        if not self._may_ask(request.headers.get(b"authorization", b"")):
            raise Refused("forbidden", "send Authorization: Bearer with the shared secret of the replicas")
        name = parse_query(query, frozenset({"to"})).get("to", b"")
        try:
            successor = name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("bad-request", f"to is not UTF-8: {error}") from error
        return Deferred(self._replica.transfer(successor), _finish_transfer, abandonable=False)

    def _may_ask(self, authorization: bytes) -> bool:
        """Whether the field holds our secret; told in a time that does not depend on how much of it is right."""
        secret = self._secret()
        scheme, _, credentials = authorization.partition(b" ")
        if not secret or scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(credentials.strip(), secret)


def _finish_transfer(future: "asyncio.Future[None]") -> Response:
    """What became of a transfer; the successor takes over on its own, so the leader can't tell that it has."""
    try:
        future.result()
    except NoLeader as error:
        return problem("not-leading", str(error))
    except OutcomeUnknown as error:
        return problem("outcome-unknown", str(error))
    except (LogUnavailable, LogRefused) as error:
        return problem("log-unavailable", str(error))
    return Response(200, _TEXT, b"resigned\n")
