"""What a client may ask of a write, and what becomes of it: the values that pass between HTTP, peers and the leader."""

from dataclasses import dataclass
from typing import Final, TypeAlias, final

from sharedlogkv_replica.core.records import Offset, Value

REQUEST_ID_LIMIT_BYTES: Final = 128


@dataclass(frozen=True, slots=True)
class Condition:
    """On what a write depends. Both parts must hold; None asks for nothing (RFC 9110 sections 13.1.1 and 13.1.2).

    Attributes:
        match: `If-Match`: the key has one of these versions; empty: it exists, in whatever version (`*`).
        none_match: `If-None-Match`: the key has none of these versions; empty: it does not exist (`*`).
    """

    match: frozenset[Offset] | None = None
    none_match: frozenset[Offset] | None = None


UNCONDITIONAL: Final = Condition()


@dataclass(frozen=True, slots=True)
class RequestId:
    """By which a client's repeated request is known.

    Attributes:
        id: the client's `Idempotency-Key`; 1 to `REQUEST_ID_LIMIT_BYTES` bytes of visible ASCII.
        fingerprint: a digest of key, value and condition; a repetition has the same.
    """

    id: str
    fingerprint: str


@final
class Write(Value):
    """One put or delete.

    Attributes:
        key: the user's key.
        value: the bytes to put; None deletes.
        condition: on what it depends.
        request: its id, if the client gave one.
    """

    __slots__ = ("condition", "key", "request", "value")

    def __init__(
        self,
        key: bytes,
        value: bytes | None,
        condition: Condition = UNCONDITIONAL,
        request: RequestId | None = None,
    ) -> None:
        self.key: Final = key
        self.value: Final = value
        self.condition: Final = condition
        self.request: Final = request

    def parts(self) -> tuple[object, ...]:
        """See `Value`."""
        return self.key, self.value, self.condition, self.request


@final
class Written(Value):
    """It is in the log.

    Attributes:
        offset: of its record; the key's version.
        repeated: an earlier request with the same id had written it, and this one wrote nothing.
    """

    __slots__ = ("offset", "repeated")
    __match_args__ = ("offset", "repeated")

    def __init__(self, offset: Offset, repeated: bool = False) -> None:
        self.offset: Final = offset
        self.repeated: Final = repeated

    def parts(self) -> tuple[object, ...]:
        """See `Value`."""
        return self.offset, self.repeated


@dataclass(frozen=True, slots=True)
class ConditionFailed:
    """Nothing was written, since the condition did not hold.

    Attributes:
        version: the key's version, on which it failed; None when there was no such key.
        applied: the offset up to which the map on which it failed had applied the log.
    """

    version: Offset | None
    applied: Offset


@dataclass(frozen=True, slots=True)
class RequestMismatch:
    """Nothing was written: another request had the same id, and this is no repetition of it."""


WriteResult: TypeAlias = Written | ConditionFailed | RequestMismatch
