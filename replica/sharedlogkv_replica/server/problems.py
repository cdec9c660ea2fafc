"""The errors that clients see: RFC 9457 problem documents, one table for all of them.

A slug is API: clients branch on `type`, never on `title` or `detail`. Each is explained in docs/http-api.md.
"""

import logging
from dataclasses import dataclass
from typing import Final

import orjson

from sharedlogkv_replica.errors import ReplicaError
from sharedlogkv_replica.server.http_messages import Request, Response

logger = logging.getLogger(__name__)

TYPE_PREFIX: Final = "https://sharedlog.dev/problems/"
CONTENT_TYPE: Final = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"
RETRY_AFTER: Final = b"Retry-After: 1\r\n"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One row of the table.

    Attributes:
        status: the HTTP status.
        title: the same for every occurrence; `detail` says what it was this time.
        retry: the cause passes, so the answer bears `Retry-After`.
    """

    status: int
    title: str
    retry: bool = False


PROBLEMS: Final = {
    "bad-request": ProblemKind(400, "The request is malformed"),
    "conditions-unsupported": ProblemKind(501, "This request can't be made conditional here"),
    "consistency-unavailable": ProblemKind(400, "This consistency level is not available here"),
    "forbidden": ProblemKind(403, "The shared secret is missing or wrong"),
    "headers-too-large": ProblemKind(431, "The header fields are too large"),
    "idempotency-key-reused": ProblemKind(422, "The Idempotency-Key belongs to another write"),
    "internal-error": ProblemKind(500, "The replica failed on this request"),
    "key-invalid": ProblemKind(400, "The key is not valid"),
    "key-not-found": ProblemKind(404, "The key does not exist"),
    "key-reserved": ProblemKind(400, "The key is reserved"),
    "log-unavailable": ProblemKind(503, "The log is not available at the moment", retry=True),
    "method-not-allowed": ProblemKind(405, "The method is not allowed here"),
    "no-leader": ProblemKind(503, "No replica leads at the moment", retry=True),
    "no-such-path": ProblemKind(404, "There is nothing at this path"),
    "not-leading": ProblemKind(409, "This replica does not lead"),
    "not-ready": ProblemKind(503, "The replica is not ready", retry=True),
    "outcome-unknown": ProblemKind(504, "It is unknown whether the write happened"),
    "overloaded": ProblemKind(503, "The replica has too much to do", retry=True),
    "precondition-failed": ProblemKind(412, "The condition does not hold"),
    "read-only": ProblemKind(403, "This replica does not write"),
    "read-timeout": ProblemKind(504, "The read's deadline came first", retry=True),
    "request-timeout": ProblemKind(408, "The request did not arrive in time"),
    "token-invalid": ProblemKind(400, "The token is malformed"),
    "token-of-another-log": ProblemKind(410, "The token belongs to another log"),
    "uri-too-long": ProblemKind(414, "The request target or its key is too long"),
    "value-too-large": ProblemKind(413, "The value is too large"),
}


class Refused(ReplicaError):
    """A request can't be carried out; raised while it is read, and answered with the problem that it names."""

    def __init__(self, slug: str, detail: str, *, headers: bytes = b"") -> None:
        super().__init__(slug, detail)
        self.response = problem(slug, detail, headers=headers)


def problem(
    slug: str, detail: str, *, headers: bytes = b"", state: bytes | None = None, close: bool = False
) -> Response:
    """The answer that reports the problem `slug`.

    Args:
        slug: a key of `PROBLEMS`.
        detail: what was wrong this time, with the value, and what to do.
        headers: more header lines, each with its line end.
        state: as `Response.state`.
        close: whether the connection ends with it.
    """
    kind = PROBLEMS[slug]
    document = {"type": TYPE_PREFIX + slug, "title": kind.title, "status": kind.status, "detail": detail}
    retry_after = RETRY_AFTER if kind.retry else b""
    return Response(kind.status, CONTENT_TYPE + retry_after + headers, orjson.dumps(document), close, state)


def refuse_fields(request: Request, fields: tuple[bytes, ...], reason: str) -> None:
    """Nothing, as long as `request` has none of the header `fields`, which must not be passed over.

    Raises:
        Refused: it has one; `reason` says why that can't be honoured.
    """
    for field in fields:
        if field in request.headers:
            raise Refused("conditions-unsupported", f"{field.decode().title()} can't be honoured: {reason}")


def report_bug(error: Exception) -> Response:
    """The answer to a request that failed on a bug of ours, which is logged."""
    logger.error("a request failed on a bug", exc_info=error)
    return problem("internal-error", "this is a bug of the replica; its log says more", close=True)
