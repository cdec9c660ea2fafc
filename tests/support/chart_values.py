"""The chart's values, each by its dotted path."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from tests.support.cluster import CHART

VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text())
"""The defaults."""

WHOLE: Final = frozenset({"resources", "podSecurityContext", "securityContext"})
"""Objects that are Kubernetes' own: documented and valued as a whole."""


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted path of every value that a user may set."""
    for key, value in values.items():
        path = prefix + key
        if isinstance(value, dict) and value and path not in WHOLE:
            yield from leaves(value, path + ".")
        else:
            yield path
