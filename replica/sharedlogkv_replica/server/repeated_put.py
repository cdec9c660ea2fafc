r"""Recognises the PUT that a client repeats: all but its target, its length and its body is what the parser saw before.

Most clients send the same header with every PUT of a connection. Once the parser has found one of them plain, a request
that differs in those three alone is plain as well, and needs no parser: where its parts end is known.

    PUT /target HTTP/1.1\r\n ... Content-Length: 100\r\n ... \r\n\r\n body
    ~~~~       ~~~~~~~~~~~~ before ~~~~~~~~~~~~~~~   ~~~~~ after ~~~~~
"""

import re
from typing import Final, Self

_HEAD_BYTES: Final = 2048  # remembered by each connection
_LENGTH_DIGITS: Final = 9  # of a body that comes with its head in one piece: far fewer
_METHOD: Final = b"PUT /"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})[ \t]*\r\n" % _LENGTH_DIGITS, re.IGNORECASE)


class RepeatedPut:
    """What two PUTs have in common.

    Args:
        before: what follows the target, up to the digits of the length.
        after: what follows those, up to the body.
    """

    __slots__ = ("_after", "_before", "_between", "_body_bytes")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._between = before + b"0" + after  # from the target to the body, in the latest one
        self._body_bytes = 0  # of the latest one

    @classmethod
    def learn(cls, data: bytes) -> Self | None:
        """What to look for, after `data` was found to begin with a plain PUT, whole; None where that has no length."""
        if data[: len(_METHOD)] != _METHOD:
            return None
        target_end, head_end = data.find(b" ", len(_METHOD)), data.find(b"\r\n\r\n")
        lengths = list(_LENGTH.finditer(data, 0, head_end + 2))
        if not 0 < target_end < head_end <= target_end + _HEAD_BYTES or len(lengths) != 1:
            return None
        body_start, (digits_start, digits_end) = head_end + 4, lengths[0].span(1)
        if digits_start < target_end or int(lengths[0][1]) > len(data) - body_start:
            return None
        return cls(data[target_end:digits_start], data[digits_end:body_start])

    def match(self, data: bytes, start: int = 0) -> tuple[bytes, bytes, int] | None:
        """Target and body of the PUT that begins at `start`, and where it ends, if one such is there, and whole.

        The target ends at the first space. Nobody has looked at its bytes yet.
        """
        target_end = data.find(b" ", start + len(_METHOD))
        if target_end < 0 or not data.startswith(_METHOD, start):
            return None
        if not data.startswith(self._between, target_end) and not self._learn_length(data, target_end):
            return None
        body_start = target_end + len(self._between)
        end = body_start + self._body_bytes
        if end > len(data):
            return None
        return data[start + 4 : target_end], data[body_start:end], end

    def _learn_length(self, data: bytes, target_end: int) -> bool:
        """Whether it goes on as ever, but for the length, from `target_end` to the body; takes over the length then."""
        before, after = self._before, self._after
        digits_start = target_end + len(before)
        if not data.startswith(before, target_end):
            return False
        digits_end = data.find(after, digits_start, digits_start + _LENGTH_DIGITS + len(after))
        digits = data[digits_start:digits_end]
        if digits_end < 0 or not digits.isdigit():
            return False
        self._between, self._body_bytes = before + digits + after, int(digits)
        return True
