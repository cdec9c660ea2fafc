"""Compares the children that are wanted with those that are there, and says what to do: pure, one level.

A child is applied when its digest shows that we want something else than when we last applied it (which also removes
fields no longer wanted), or when a field of ours was changed by somebody else. A child of the same name that is not
ours is never touched, and then nothing else is either: half of a resource would help nobody.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.desired import Manifest
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.spec import Identity

CHANGES_SHOWN: Final = 10
TEXT_LIMIT: Final = 120


@dataclass(frozen=True, slots=True)
class ApplyChild:
    """Apply this manifest."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class CreateChild:
    """Create this child, and fail if it is there after all."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete this child, which is ours and no longer wanted; `uid` guards against a successor."""

    kind: str
    uid: str


@dataclass(frozen=True, slots=True)
class ForeignChild:
    """An object of that kind bears the name already, and is not ours.

    Attributes:
        kind: its kind.
        name: its name.
        owner: whose it seems to be, for people.
        leftover: it belonged to a resource of our name that was deleted, so the garbage collector is about to take it.
    """

    kind: str
    name: str
    owner: str
    leftover: bool


ChildAction = ApplyChild | CreateChild | DeleteChild


@dataclass(frozen=True, slots=True)
class Child:
    """One kind of child: as it is wanted (None: not at all) and as it is (None: not there).

    What is `irreplaceable` holds something that can't be made again: it is written only over what was seen, never over
    what another process has put there meanwhile.
    """

    kind: str
    wanted: Manifest | None
    live: JsonObject | None
    irreplaceable: bool = False


def plan_children(identity: Identity, children: Sequence[Child]) -> tuple[ChildAction, ...] | ForeignChild:
    """What to do, in order; none when all is as it should be. A `ForeignChild` forbids everything."""
    actions: list[ChildAction] = []
    for child in children:
        if child.live is not None and not _is_ours(child.live, identity):
            if child.wanted is None:
                continue
            return ForeignChild(
                child.kind,
                name=str(_metadata(child.live)["name"]),
                owner=_describe_owner(child.live),
                leftover=_is_leftover(child.live, identity),
            )
        if child.wanted is None:
            if child.live is not None:
                actions.append(DeleteChild(child.kind, uid=str(_metadata(child.live)["uid"])))
        elif child.live is None:
            actions.append(CreateChild(child.wanted) if child.irreplaceable else ApplyChild(child.wanted))
        elif not covers(child.live, child.wanted):
            actions.append(ApplyChild(_pin_version(child.wanted, child.live) if child.irreplaceable else child.wanted))
    return tuple(actions)


def describe_actions(actions: Sequence[ChildAction], children: Sequence[Child]) -> tuple[str, ...]:
    """What each of the actions would do, for people; of a Secret only that it would change."""
    return tuple(_describe_action(action, children) for action in actions)


def find_changes(live: object, wanted: object, path: str = "") -> Iterator[str]:
    """Where `live` lacks what is in `wanted`, as `path: there -> wanted`, down to the value or list that differs."""
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        for key, value in wanted.items():
            if not covers({key: live[key]} if key in live else {}, {key: value}):
                yield from find_changes(live.get(key), value, f"{path}.{key}" if path else str(key))
    elif isinstance(live, list) and isinstance(wanted, list) and len(live) == len(wanted):
        for index, (old, new) in enumerate(zip(live, wanted, strict=True)):
            if not covers(old, new):
                yield from find_changes(old, new, f"{path}[{index}]")
    else:
        yield f"{path}: {_shorten(live)} -> {_shorten(wanted)}"


def _describe_action(action: ChildAction, children: Sequence[Child]) -> str:
    if isinstance(action, DeleteChild):
        return f"delete {action.kind}"
    kind, name = str(action.manifest["kind"]), _metadata(action.manifest)["name"]
    live = next((child.live for child in children if child.kind == kind), None)
    if live is None:
        return f"create {kind} {name}"
    if kind == "Secret":
        return f"change {kind} {name}"
    found = [change for change in find_changes(live, action.manifest) if names.DIGEST_ANNOTATION not in change]
    changes = found[:CHANGES_SHOWN] + (["..."] if len(found) > CHANGES_SHOWN else [])
    return f"change {kind} {name}: {'; '.join(changes) or 'fields that are no longer wanted go'}"


def _shorten(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."


def covers(live: object, wanted: object, *, quantities: bool = False) -> bool:
    """Whether `live` has everything that is in `wanted`; it may have more keys, but no longer lists.

    What is wanted empty may be absent: the API server stores no empty text, list or map.

    With `quantities`, texts that name the same amount are equal, since the API server writes them in its own way.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            (key not in live and value in ("", [], {}))
            or (key in live and covers(live[key], value, quantities=quantities or key == "resources"))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(covers(*pair, quantities=quantities) for pair in zip(live, wanted, strict=True))
        )
    return live == wanted or (
        quantities and _parse_quantity(live) is not None and _parse_quantity(live) == _parse_quantity(wanted)
    )


def _pin_version(wanted: Manifest, live: JsonObject) -> Manifest:
    """`wanted`, to be applied only as long as `live` is what is there."""
    metadata = {**_metadata(wanted), "resourceVersion": _metadata(live)["resourceVersion"]}
    return {**wanted, "metadata": metadata}


def _metadata(live: JsonObject) -> JsonObject:
    metadata = live["metadata"]
    assert isinstance(metadata, Mapping)
    return metadata


def _is_ours(live: JsonObject, identity: Identity) -> bool:
    references = _metadata(live).get("ownerReferences", [])
    assert isinstance(references, list)
    return any(reference.get("uid") == identity.uid for reference in references)


def _is_leftover(live: JsonObject, identity: Identity) -> bool:
    references = _metadata(live).get("ownerReferences", [])
    assert isinstance(references, list)
    return any(
        (reference.get("apiVersion"), reference.get("kind"), reference.get("name"))
        == (names.API_VERSION, names.KIND, identity.name)
        for reference in references
    )


def _describe_owner(live: JsonObject) -> str:
    references = _metadata(live).get("ownerReferences", [])
    assert isinstance(references, list)
    for reference in references:
        if reference.get("controller"):
            return f"{reference.get('kind')} {reference.get('name')}"
    labels = _metadata(live).get("labels", {})
    assert isinstance(labels, Mapping)
    manager = labels.get("app.kubernetes.io/managed-by")
    # An orphan of our own: the resource was deleted with its children left behind.
    if manager == names.FIELD_MANAGER:
        return "a SharedLogKV that no longer exists"
    return str(manager) if manager else "somebody else"


_SUFFIXES: Final[Mapping[str, Decimal]] = {
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), range(-9, 19, 3), strict=True)
    },
    **{
        suffix: Decimal(2) ** power
        for suffix, power in zip(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), range(10, 61, 10), strict=True)
    },
}
_QUANTITY: Final = re.compile(r"(?P<number>[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<suffix>[EPTGMK]i|[numkMGTPE]?)")


def _parse_quantity(value: object) -> Decimal | None:
    """The amount that a Kubernetes quantity names; None if it is none."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    try:
        return Decimal(match["number"]) * _SUFFIXES[match["suffix"]]
    except InvalidOperation:
        return None
