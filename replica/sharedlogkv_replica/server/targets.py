"""Request targets: path, percent-encoding and query parameters, as bytes, since keys are bytes (RFC 3986, RFC 9112).

Nothing is normalised: `.` and `..`, empty segments and letter case are a key's own business.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from sharedlogkv_replica.server.problems import Refused

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def percent_decode(text: bytes) -> bytes | None:
    """The bytes that `text` spells; None if a `%` is not followed by two hexadecimal digits."""
    if b"%" not in text:
        return text
    return None if _BROKEN_ESCAPE.search(text) else unquote_to_bytes(text)


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target, both still percent-encoded; the query is empty where there is none.

    Takes the absolute form too, which a server must (RFC 9112 section 3.2.2).

    Raises:
        Refused: the target holds a fragment, or is in no form that has a path.
    """
    if b"#" in target:
        raise Refused("bad-request", "the target holds a '#': a fragment is never sent, and in a key it is spelled %23")
    if target[:7].lower() == b"http://" or target[:8].lower() == b"https://":
        authority_end = target.find(b"/", target.index(b"//") + 2)
        target = b"/" if authority_end < 0 else target[authority_end:]
    path, _, query = target.partition(b"?")
    return path, query


def parse_query(query: bytes, known: frozenset[str]) -> Mapping[str, bytes]:
    """The parameters of a query by name, decoded; `+` is a space there, as HTML forms and most clients have it.

    Raises:
        Refused: a parameter is not in `known`, comes twice, or is wrongly encoded. A parameter that we don't know may
            be a condition that we would break by passing over it.
    """
    parameters: dict[str, bytes] = {}
    for pair in query.split(b"&") if query else ():
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = percent_decode(raw_name), percent_decode(raw_value.replace(b"+", b" "))
        if name is None or value is None:
            raise Refused(
                "bad-request", f"in the query, {printable(pair)!r} holds a '%' without two hexadecimal digits"
            )
        text = printable(name)
        if text not in known:
            allowed = ", ".join(sorted(known)) if known else "none"
            raise Refused("bad-request", f"there is no query parameter {text!r} here; there are: {allowed}")
        if text in parameters:
            raise Refused("bad-request", f"the query parameter {text!r} is given twice")
        parameters[text] = value
    return parameters


def parse_number(parameters: Mapping[str, bytes], name: str, *, least: int, most: int) -> int | None:
    """The whole number under `name`; None where it is not given.

    Raises:
        Refused: it is not a decimal number from `least` to `most`.
    """
    raw = parameters.get(name)
    if raw is None:
        return None
    if not raw.isdigit() or len(raw) > 18 or not least <= int(raw) <= most:
        raise Refused("bad-request", f"{name} is {printable(raw)!r}; it must be a number from {least} to {most}")
    return int(raw)


def printable(raw: bytes, limit: int = 80) -> str:
    """`raw` for a message to people: never more than about `limit` characters."""
    text = raw[:limit].decode("utf-8", "backslashreplace")
    return text if len(raw) <= limit else text + "..."
