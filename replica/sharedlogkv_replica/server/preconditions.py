"""The header fields that make a write depend on something: `If-Match`, `If-None-Match`, `Idempotency-Key`.

Versions are the only entity tags here, and every field that names something else is refused: a condition that can never
hold, or that always does, is a mistake of the client's that it should hear of.

Source: RFC 9110 sections 8.8.3, 13.1.1 (`If-Match` compares strongly: a weak tag matches nothing) and 13.1.2
(`If-None-Match` compares weakly: `W/` does not count).
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.writes import REQUEST_ID_LIMIT_BYTES, UNCONDITIONAL, Condition, RequestId
from sharedlogkv_replica.server.problems import Refused
from sharedlogkv_replica.server.targets import printable

FIELDS: Final = (b"if-match", b"if-none-match", b"idempotency-key")

_VERSION: Final = re.compile(rb'"(0|[1-9][0-9]{0,17})"')
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % REQUEST_ID_LIMIT_BYTES)


def parse_condition(headers: Mapping[bytes, bytes]) -> Condition:
    """What a write's header makes it depend on.

    Raises:
        Refused: a field holds what is neither `*` nor a list of versions.
    """
    match, none_match = headers.get(b"if-match"), headers.get(b"if-none-match")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Condition(
        match=None if match is None else _parse_versions("If-Match", match, may_be_weak=False),
        none_match=None if none_match is None else _parse_versions("If-None-Match", none_match, may_be_weak=True),
    )


def _parse_versions(field: str, text: bytes, *, may_be_weak: bool) -> frozenset[Offset]:
    """The versions that `text` lists; empty: `*`."""
    if text == b"*":
        return frozenset()
    versions = []
    for tag in text.split(b","):
        spelled = tag.strip(b" \t")
        found = _VERSION.fullmatch(spelled.removeprefix(b"W/") if may_be_weak else spelled)
        if found is None:
            raise Refused(
                "bad-request",
                f"{field} holds {printable(tag)!r}; it must be * or a list of versions as an ETag gave them, in quotes",
            )
        versions.append(Offset(int(found[1])))
    return frozenset(versions)


def parse_request_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The id that the client gave its write; None where it gave none.

    Raises:
        Refused: it is not of visible ASCII, too long or empty.
    """
    text = headers.get(b"idempotency-key")
    if text is None:
        return None
    if not _REQUEST_ID.fullmatch(text):
        raise Refused(
            "bad-request",
            f"Idempotency-Key is {printable(text)!r}; it must be 1 to {REQUEST_ID_LIMIT_BYTES} characters of visible "
            "ASCII, and be sent once",
        )
    return text.decode("ascii")


def identify_request(name: str, *, key: bytes, value: bytes | None, condition: Condition) -> RequestId:
    """The id of a write, with the fingerprint of all that it asks for: 32 hexadecimal digits."""
    parts = [key, b"delete" if value is None else b"put", value or b""]
    parts += [_spell(condition.match), _spell(condition.none_match)]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return RequestId(name, digest.hexdigest())


def _spell(versions: frozenset[Offset] | None) -> bytes:
    if versions is None:
        return b""
    return b",".join(b"%d" % version for version in sorted(versions)) or b"*"
