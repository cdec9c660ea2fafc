"""Decides what to do about the topic: from the spec, the topic as it is, and the id that the resource is bound to.

The rules, in order; the first that applies decides:

1. Bound to an id, and there is no topic: the data is gone. Never recreated: `TopicLost`.
2. Bound to an id, and the topic has another: somebody recreated it. Never followed: `TopicReplaced`.
3. No topic: created, if there are brokers enough; under ReadOnly it is awaited, since others write it.
4. Not bound yet: the topic that is there is adopted as `adoptionPolicy` allows: not at all, if it keeps the spec's
   promises (else each difference is told), or always, and then it is made to keep those that settings can keep.
5. Bound to it: settings that the spec lists and that drifted are set back, or only told, as `driftPolicy` has it. Under
   ReadOnly nothing is ever altered.

A person may accept the loss of the topic that a resource is bound to; it then counts as not bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.spec import AdoptionPolicy, DriftPolicy, Resource, Spec, TopicSpec, WriteMode

CREATION_DEFAULTS: Final[Mapping[str, str]] = {
    "min.compaction.lag.ms": str(10 * 60 * 1000),  # a record stays readable this long, whatever supersedes it
    "delete.retention.ms": str(7 * 24 * 60 * 60 * 1000),  # a replay that takes longer could resurrect a deleted key
    "segment.ms": str(60 * 60 * 1000),  # the open segment is never compacted
    "max.message.bytes": str(2 * 1024 * 1024),  # a value of 1 MiB, with its key and framing
}
"""Settings of a topic that we create, unless the spec says otherwise. An adopted topic keeps its own."""

OWNED_SETTINGS: Final[Mapping[str, str]] = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",  # one clock for lag, and for the broker's expiry of producers
    "unclean.leader.election.enable": "false",  # an unclean election loses acknowledged writes
}
"""Settings without which the store breaks its promises. The CRD refuses them in `topic.config`."""

MIN_ISR: Final = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    """A topic as Kafka describes it.

    Attributes:
        id: its id.
        partitions: how many it has.
        replication_factor: that of its worst partition.
        config: its settings.
        rights: what our Kafka user may do with it, as ACLs name it; None where Kafka does not tell.
    """

    id: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
    rights: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """There is no topic yet: create it with one partition."""

    name: str
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UseTopic:
    """The topic is fit: set `alterations` (often none), and bind the resource to `id`.

    Attributes:
        id: the topic's id.
        adopted: the resource was not bound to it before.
        alterations: settings that drifted, with the values to set back.
        reason: what to report of it.
        message: the same for people.
    """

    id: str
    adopted: bool
    alterations: Mapping[str, str]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class RefuseTopic:
    """Nothing may be done about the topic as things are; `reason` and `message` say why."""

    reason: Reason
    message: str


TopicDecision = CreateTopic | UseTopic | RefuseTopic


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a topic falls short; `setting` names the Kafka setting that would mend it, if one would."""

    name: str
    actual: str
    wanted: str
    setting: tuple[str, str] | None = None
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.name}: is {self.actual}, must be {self.wanted}" + (f" ({self.advice})" if self.advice else "")


def find_bound_id(resource: Resource, observed: ObservedTopic | None) -> str | None:
    """The id of the topic that the resource is bound to; None if it is to none.

    Nor is it if that topic is lost or replaced and a person has accepted the loss of that very one.
    """
    if resource.pinned is None:
        return None
    is_lost = observed is None or observed.id != resource.pinned.id
    is_accepted = resource.annotations.get(names.ACCEPT_LOSS_ANNOTATION) == resource.pinned.id
    return None if is_lost and is_accepted else resource.pinned.id


def decide_topic(
    spec: Spec,
    observed: ObservedTopic | None,
    *,
    pinned_id: str | None,
    broker_count: int,
    is_created: bool = False,
) -> TopicDecision:
    """What to do about the topic, by the rules above.

    Args:
        spec: what is wanted.
        observed: the topic that now bears the name; None when there is none.
        pinned_id: the id that the resource is bound to; None before the first time.
        broker_count: brokers that are up; only looked at when the topic would be created.
        is_created: we have created it a moment ago.
    """
    topic = spec.topic
    if observed is None:
        return _decide_absent(spec, pinned_id=pinned_id, broker_count=broker_count)
    if pinned_id is not None and observed.id != pinned_id:
        return RefuseTopic(
            Reason.TOPIC_REPLACED,
            f"topic {topic.name} has the id {observed.id}, but this resource is bound to {pinned_id}: the topic was "
            f"deleted and created anew, and holds other data. Replicas refuse it. To accept the loss of {pinned_id} "
            f"and go on with the topic that is there, annotate this SharedLogKV with {_spell_acceptance(pinned_id)}.",
        )
    is_new = pinned_id is None and not is_created
    if is_new and topic.adoption_policy is AdoptionPolicy.NEVER and spec.write_mode is not WriteMode.READ_ONLY:
        return RefuseTopic(
            Reason.TOPIC_NOT_ADOPTED,
            f"topic {topic.name} exists, id {observed.id}, and topic.adoptionPolicy is Never: name another topic, "
            f"delete that one, or set the policy to IfCompatible.",
        )
    if differences := _find_obstacles(spec, observed, is_bound=pinned_id is not None):
        text = f"topic {topic.name} exists and can't be used: {_describe(spec, differences)}"
        return RefuseTopic(Reason.TOPIC_INCOMPATIBLE, text)
    return _use(spec, observed, adopted=is_new)


def find_missing_rights(spec: Spec, observed: ObservedTopic) -> list[str]:
    """The ACLs on the topic that the replicas lack: they log in as the operator does, which is thus told first."""
    needed = ["Read"] if spec.write_mode is WriteMode.READ_ONLY else ["Read", "Write"]
    return [] if observed.rights is None else [right for right in needed if right not in observed.rights]


def build_topic_config(topic: TopicSpec) -> dict[str, str]:
    """Every setting of a topic that we create: our defaults, overridden by the spec, and those that we own."""
    return {
        **CREATION_DEFAULTS,
        **topic.config,
        **OWNED_SETTINGS,
        MIN_ISR: str(topic.min_in_sync_replicas),
    }


def _decide_absent(spec: Spec, *, pinned_id: str | None, broker_count: int) -> TopicDecision:
    topic = spec.topic
    if pinned_id is not None:
        return RefuseTopic(
            Reason.TOPIC_LOST,
            f"topic {topic.name} with the id {pinned_id} is gone, and the data with it. It is not created again by "
            f"itself. To accept the loss and begin anew, annotate this SharedLogKV with "
            f"{_spell_acceptance(pinned_id)}.",
        )
    if spec.write_mode is WriteMode.READ_ONLY:
        return RefuseTopic(
            Reason.TOPIC_ABSENT,
            f"there is no topic {topic.name} on {spec.bootstrap_servers}: writeMode ReadOnly serves a topic that "
            f"others create and write.",
        )
    if topic.replication_factor > broker_count:
        brokers = "1 broker" if broker_count == 1 else f"{broker_count} brokers"
        return RefuseTopic(
            Reason.NOT_ENOUGH_BROKERS,
            f"topic.replicationFactor is {topic.replication_factor}, but {spec.bootstrap_servers} has {brokers} up: "
            f"add brokers, or lower topic.replicationFactor and topic.minInSyncReplicas.",
        )
    return CreateTopic(topic.name, topic.replication_factor, build_topic_config(topic))


def _find_obstacles(spec: Spec, observed: ObservedTopic, *, is_bound: bool) -> list[Difference]:
    """What forbids to use the topic, since no setting that we may change would mend it."""
    topic, shape = spec.topic, _shape_differences(observed)
    if spec.write_mode is WriteMode.READ_ONLY:
        return shape
    promises = _promise_differences(spec, observed)
    if not is_bound and topic.adoption_policy is not AdoptionPolicy.ALWAYS:
        return shape + promises
    if topic.drift_policy is DriftPolicy.WARN:
        return shape + [difference for difference in promises if difference.name in OWNED_SETTINGS]
    return [difference for difference in shape if difference.setting is None]


def _spell_acceptance(topic_id: str) -> str:
    return f"{names.ACCEPT_LOSS_ANNOTATION}={topic_id}"


def _spell_reassignment(spec: Spec) -> str:
    """How a person raises the topic's number of copies, which Kafka has no setting for."""
    copies = ",".join(f"ID{number}" for number in range(1, spec.topic.replication_factor + 1))
    partition = f'{{"topic":"{spec.topic.name}","partition":0,"replicas":[{copies}]}}'
    return (
        f'raise it with the ids of {spec.topic.replication_factor} brokers for {copies}: echo \'{{"version":1,'
        f'"partitions":[{partition}]}}\' > copies.json; kafka-reassign-partitions.sh --bootstrap-server '
        f"{spec.bootstrap_servers} --reassignment-json-file copies.json --execute"
    )


def _use(spec: Spec, observed: ObservedTopic, *, adopted: bool) -> UseTopic:
    topic = spec.topic
    reason, message = Reason.TOPIC_BOUND, f"bound to topic {topic.name}, id {observed.id}"
    alterations: dict[str, str] = {}
    if spec.write_mode is not WriteMode.READ_ONLY:
        drifts = [
            difference
            for difference in _shape_differences(observed) + _promise_differences(spec, observed)
            if difference.setting is not None
        ]
        if topic.drift_policy is DriftPolicy.ENFORCE:
            alterations = {difference.setting[0]: difference.setting[1] for difference in drifts if difference.setting}
        elif drifts:
            reason, message = Reason.TOPIC_DRIFTED, f"{message}; as driftPolicy Warn has it, {_describe(spec, drifts)}"
        if MIN_ISR in alterations and observed.replication_factor < topic.min_in_sync_replicas:
            # More than there are copies, and the brokers would refuse every write.
            del alterations[MIN_ISR]
            if _number(observed.config.get(MIN_ISR)) < observed.replication_factor:
                alterations[MIN_ISR] = str(observed.replication_factor)
        if observed.replication_factor < topic.replication_factor:
            reason = Reason.REPLICATION_FACTOR_LOW if reason is Reason.TOPIC_BOUND else reason
            message += (
                f"; its replication factor is {observed.replication_factor}, not {topic.replication_factor}: "
                f"{_spell_reassignment(spec)}"
            )
        if _number(observed.config.get(MIN_ISR)) > topic.min_in_sync_replicas:
            message += f"; its {MIN_ISR} is {observed.config[MIN_ISR]}, more than the spec asks, and is left so"
    return UseTopic(observed.id, adopted=adopted, alterations=alterations, reason=reason, message=message)


def _shape_differences(observed: ObservedTopic) -> list[Difference]:
    """What makes a topic unfit in every write mode."""
    differences = []
    if observed.partitions != 1:
        advice = "a topic can't lose partitions: use another one"
        differences.append(Difference("partitions", str(observed.partitions), "1", advice=advice))
    key = "cleanup.policy"
    if not _is_equal(observed.config.get(key), OWNED_SETTINGS[key]):
        differences.append(_setting_difference(observed, key, OWNED_SETTINGS[key]))
    return differences


def _promise_differences(spec: Spec, observed: ObservedTopic) -> list[Difference]:
    """In what a topic that we write to promises less than the spec."""
    topic, differences = spec.topic, []
    if observed.replication_factor < topic.replication_factor:
        wanted = f"{topic.replication_factor} or more"
        advice = _spell_reassignment(spec)
        differences.append(Difference("replication factor", str(observed.replication_factor), wanted, advice=advice))
    if _number(observed.config.get(MIN_ISR)) < topic.min_in_sync_replicas:
        wanted = str(topic.min_in_sync_replicas)
        differences.append(
            Difference(MIN_ISR, observed.config.get(MIN_ISR, "unset"), f"{wanted} or more", setting=(MIN_ISR, wanted))
        )
    for key, wanted in {**topic.config, **OWNED_SETTINGS}.items():
        if key != "cleanup.policy" and not _is_equal(observed.config.get(key), wanted):
            differences.append(_setting_difference(observed, key, wanted))
    return differences


def _setting_difference(observed: ObservedTopic, key: str, wanted: str) -> Difference:
    return Difference(key, observed.config.get(key, "unset"), wanted, setting=(key, wanted))


def _describe(spec: Spec, differences: Sequence[Difference]) -> str:
    """Each difference, and the command that would mend those that a command can."""
    text = "; ".join(map(str, differences)) + "."
    settings = [difference.setting for difference in differences if difference.setting is not None]
    if not settings:
        return text
    # Kafka's tool takes brackets around a value that holds commas.
    values = ",".join(f"{key}=[{value}]" if "," in value else f"{key}={value}" for key, value in settings)
    return (
        f"{text} To mend what can be mended, if its other users agree: kafka-configs.sh --bootstrap-server "
        f"{spec.bootstrap_servers} --alter --entity-type topics --entity-name {spec.topic.name} --add-config '{values}'"
    )


def _is_equal(actual: str | None, wanted: str) -> bool:
    """Whether Kafka's text of a setting means the same as ours: it may write a number or a list in another way."""
    if actual is None:
        return False
    if actual.strip().lower() == wanted.strip().lower():
        return True
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return [item.strip() for item in actual.split(",")] == [item.strip() for item in wanted.split(",")]


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0
