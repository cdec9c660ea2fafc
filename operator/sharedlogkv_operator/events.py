"""Says which Kubernetes events a reconcile is worth: one for each transition and each deed, none for standing still."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sharedlogkv_operator import names
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.spec import Identity
from sharedlogkv_operator.status import Condition, Truth, format_time

MESSAGE_LIMIT = 1024
"""What the API server takes."""


class Deed(Enum):
    """The reason of an event that tells what the operator did, rather than what became of a condition."""

    TOPIC_CREATED = "TopicCreated"
    TOPIC_ADOPTED = "TopicAdopted"
    TOPIC_RECONFIGURED = "TopicReconfigured"
    TOPIC_DELETED = "TopicDeleted"
    TOPIC_LOSS_ACCEPTED = "TopicLossAccepted"
    TOPIC_KEPT = "TopicKept"
    SCALED = "Scaled"
    LEADER_TRANSFERRED = "LeaderTransferred"
    LEADER_TRANSFER_FAILED = "LeaderTransferFailed"


NEW_TOPIC_DEEDS = frozenset({Deed.TOPIC_CREATED.value, Deed.TOPIC_ADOPTED.value})
"""They say what a transition to TopicBound would repeat."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling about a resource."""

    is_warning: bool
    reason: str
    message: str


NORMAL_REASONS = frozenset(
    reason.value
    for reason in (
        Reason.SERVING,
        Reason.TOPIC_BOUND,
        Reason.ROLLING_OUT,
        Reason.REPLICAS_NOT_READY,
        Reason.SUSPENDED,
        Reason.PAUSED,
        Reason.PLANNING,
        Reason.ELECTED,
        Reason.WRITE_MODE_CHANGING,
        Reason.CHILD_TERMINATING,
        Reason.DELETING,
    )
)


UNTOLD_REASONS = frozenset({Reason.PROGRESSING.value, Reason.LEADER_UNKNOWN.value})


def derive_events(before: Mapping[str, Condition], after: Sequence[Condition]) -> tuple[Event, ...]:
    """The events of the transitions between the conditions `before` and `after`.

    A transition is a new status or a new reason of Ready, TopicReady or LeaderElected; a message alone is none, as it
    may hold counts. What Ready only repeats of the others is told once. Not knowing who leads is no news.
    """
    current = {condition.type: condition for condition in after}
    events = []
    for type_ in ("TopicReady", "LeaderElected", "Ready"):
        if type_ not in current:
            continue
        old, new = before.get(type_), current[type_]
        others = [condition.reason for condition in after if condition.type in ("TopicReady", "LeaderElected")]
        repeats = type_ == "Ready" and new.reason in others
        changed = old is None or (old.truth, old.reason) != (new.truth, new.reason)
        if not changed or repeats or new.reason in UNTOLD_REASONS:
            continue
        lost = type_ == "Ready" and old is not None and old.truth is Truth.TRUE
        is_warning = new.reason not in NORMAL_REASONS or (lost and new.reason == Reason.REPLICAS_NOT_READY.value)
        events.append(Event(is_warning, new.reason, new.message))
    return tuple(events)


def build_event(event: Event, identity: Identity, *, now: datetime, instance: str) -> dict[str, object]:
    """The core/v1 Event. The same event of the same object bears the same name, so that a repetition can be counted.

    Args:
        event: what to tell.
        identity: of what object.
        now: when.
        instance: which process of the operator tells it.
    """
    text = f"{identity.uid}\0{event.reason}\0{event.message}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    message = event.message if len(event.message) <= MESSAGE_LIMIT else event.message[: MESSAGE_LIMIT - 3] + "..."
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{identity.name}.{digest}", "namespace": identity.namespace},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "namespace": identity.namespace,
            "name": identity.name,
            "uid": identity.uid,
            "resourceVersion": identity.resource_version,
        },
        "type": "Warning" if event.is_warning else "Normal",
        "reason": event.reason,
        "message": message,
        "count": 1,
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "source": {"component": names.FIELD_MANAGER, "host": instance},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": instance,
    }
