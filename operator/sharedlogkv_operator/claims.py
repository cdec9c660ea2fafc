"""Decides whose a topic is when several resources name it: pure.

Two stores that write one topic would undo each other's promises, and the end of the one would take the other's data. So
a resource that writes is bound to a topic only when no other one has a better claim, by these rules:

1. Whoever is bound to the very topic, by its id, keeps it, under whatever addresses its brokers go.
2. Of those that name a topic of this name on a broker that both name, one that is bound to it, or was, goes first.
3. Of those that are not, the older one goes first; of two of the same second, the one with the lower uid.

Resources with writeMode ReadOnly write nothing: they claim nothing, and share every topic. One that is being deleted
keeps its claim until it is gone. Its pods outlive it, and those of one that has become ReadOnly go on until they are
replaced; so a topic that nobody claims any more is still waited for until no pod of another resource may write to it.
The operator sees the resources and pods of the namespaces that it serves, and no others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sharedlogkv_operator import names
from sharedlogkv_operator.errors import SpecInvalid
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.pods import is_ended
from sharedlogkv_operator.replica_container import read_variables
from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.spec import Resource, WriteMode


@dataclass(frozen=True, slots=True)
class Claimant:
    """A resource, as far as claims go."""

    resource: Resource
    creation_time: str

    @property
    def title(self) -> str:
        """Its namespace and name, for people."""
        return f"{self.resource.identity.namespace}/{self.resource.identity.name}"

    @property
    def age(self) -> tuple[str, str]:
        """What orders resources by age: the API server's text of a time sorts as the time does."""
        return self.creation_time, self.resource.identity.uid


@dataclass(frozen=True, slots=True)
class Writer:
    """A pod that may write to a topic, and the resource whose it is or was; each as its namespace and name."""

    pod: str
    owner: str


def parse_claimants(bodies: Iterable[JsonObject]) -> tuple[Claimant, ...]:
    """The resources among `bodies` that can be read; the others have their own trouble, and claim nothing."""
    claimants = []
    for body in bodies:
        metadata = body.get("metadata")
        try:
            created = metadata.get("creationTimestamp", "") if isinstance(metadata, dict) else ""
            claimants.append(Claimant(parse_resource(body), str(created)))
        except SpecInvalid:
            continue
    return tuple(claimants)


def find_rival(resource: Resource, claimants: Sequence[Claimant], *, topic_id: str | None) -> Claimant | None:
    """Who has a better claim to the topic that `resource` names, which now has the id `topic_id`; None for nobody."""
    if resource.spec.write_mode is WriteMode.READ_ONLY:
        return None
    uid = resource.identity.uid
    own_age = next((claimant.age for claimant in claimants if claimant.resource.identity.uid == uid), ("~", uid))
    for other in claimants:
        if other.resource.identity.uid == uid or other.resource.spec.write_mode is WriteMode.READ_ONLY:
            continue
        pinned = other.resource.pinned
        if pinned is not None and pinned.id == topic_id:
            return other
        if _names_same_topic(resource, other.resource) and (pinned is not None or other.age < own_age):
            return other
    return None


def find_writer(resource: Resource, pods: Iterable[JsonObject], *, topic_id: str) -> Writer | None:
    """A pod of another resource that may still write to the topic with that id; None where there is none.

    One that is being stopped may; one whose containers have ended for good may not.
    """
    harmless = {None, WriteMode.READ_ONLY.value}
    own = f"{resource.identity.namespace}/{resource.identity.name}"
    for pod in pods:
        variables = read_variables(pod)
        if variables.get(names.ENV_TOPIC_ID) != topic_id or variables.get(names.ENV_WRITE_MODE) in harmless:
            continue
        writer = _parse_writer(pod)
        if writer.owner != own and not is_ended(pod):
            return writer
    return None


def find_sharer(resource: Resource, claimants: Sequence[Claimant]) -> Claimant | None:
    """Another resource, of whatever write mode, that is bound to the topic of `resource`; None where there is none."""
    for other in claimants:
        pinned = other.resource.pinned
        is_other = other.resource.identity.uid != resource.identity.uid
        if is_other and pinned is not None and resource.pinned is not None and pinned.id == resource.pinned.id:
            return other
    return None


def _parse_writer(pod: JsonObject) -> Writer:
    metadata = pod.get("metadata")
    known = metadata if isinstance(metadata, Mapping) else {}
    labels = known.get("labels")
    owner = labels.get(names.CLUSTER_LABEL) if isinstance(labels, Mapping) else None
    return Writer(f"{known.get('namespace')}/{known.get('name')}", f"{known.get('namespace')}/{owner}")


def _names_same_topic(one: Resource, other: Resource) -> bool:
    brokers = [set(resource.spec.bootstrap_servers.split(",")) for resource in (one, other)]
    return one.spec.topic.name == other.spec.topic.name and bool(brokers[0] & brokers[1])
