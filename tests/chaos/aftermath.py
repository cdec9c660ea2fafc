"""What must hold once the dust has settled: live replicas and a fresh one hold the same map, and nothing is lost."""

from collections.abc import Mapping, Sequence

from tests.chaos.history import Operation, acknowledged

Map = Mapping[str, tuple[int, str]]


def check_maps(maps: Mapping[str, Map]) -> list[str]:
    """Every difference between the maps of replicas that have applied the same writes, in words."""
    (first, reference), *others = maps.items()
    found: list[str] = []
    for name, other in others:
        found += [
            f"{key} is {reference.get(key)} at {first} and {other.get(key)} at {name}"
            for key in sorted(reference.keys() | other.keys())
            if reference.get(key) != other.get(key)
        ]
    return found


def check_nothing_lost(history: Sequence[Operation], final: Map) -> list[str]:
    """Every key that ended in another state than its last acknowledged write, or a later one in doubt, explains."""
    last: dict[str, tuple[int, Operation]] = {}
    for version, operation in acknowledged(history):
        key = operation.asked.key
        if key not in last or version > last[key][0]:
            last[key] = version, operation
    doubtful_values = {op.asked.value for op in history if op.asked.kind == "put" and op.outcome == "info"}
    doubtful_deletions = {op.asked.key for op in history if op.asked.kind == "delete" and op.outcome == "info"}
    found = []
    for key, (version, operation) in last.items():
        expected = None if operation.asked.kind == "delete" else (version, operation.asked.value)
        actual = final.get(key)
        if actual == expected:
            continue
        later = (actual[0] > version and actual[1] in doubtful_values) if actual else key in doubtful_deletions
        if not later:
            found.append(f"{key} is {actual}, and {expected} was acknowledged last")
    return found
