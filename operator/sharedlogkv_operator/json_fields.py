"""Reads the fields of JSON objects that the API server gives, strictly: what is ill-typed is an error."""

from collections.abc import Mapping, Sequence
from datetime import datetime

JsonObject = Mapping[str, object]
"""A JSON object as the API server gives it."""


def as_object(value: object) -> JsonObject:
    """`value`, which is an object.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no object")
    return value


def as_array(value: object) -> Sequence[object]:
    """`value`, which is a list.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{value!r} is no list")
    return value


def as_string(value: object) -> str:
    """`value`, which is a string.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def as_boolean(value: object) -> bool:
    """`value`, which is true or false.

    Raises:
        TypeError: it is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def as_integer(value: object) -> int:
    """`value`, which is an integer.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no integer")
    return value


def as_strings(value: object) -> dict[str, str]:
    """`value`, which is an object whose values are strings.

    Raises:
        TypeError: it is none.
    """
    return {key: as_string(item) for key, item in as_object(value).items()}


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 text of the API server names, with its time zone.

    Raises:
        ValueError: it is no such text.
    """
    return datetime.fromisoformat(text)
