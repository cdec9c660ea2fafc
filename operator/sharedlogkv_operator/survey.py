"""Looks at the topic of a resource, at Kafka and at whoever else names it, and decides; changes nothing."""

from dataclasses import dataclass

from sharedlogkv_operator import names
from sharedlogkv_operator.claim_register import ClaimRegister
from sharedlogkv_operator.claims import Claimant, Writer
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.spec import Resource
from sharedlogkv_operator.topic import ObservedTopic, RefuseTopic, TopicDecision, decide_topic, find_bound_id


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen of a topic, and what is to be done about it.

    Attributes:
        observed: the topic; None when there is none.
        bound_id: the id that the resource is bound to; None if it is to none, or the loss of that one was accepted.
        broker_count: brokers that are up; only counted when there is no topic.
        decision: what to do.
    """

    observed: ObservedTopic | None
    bound_id: str | None
    broker_count: int
    decision: TopicDecision


async def survey_topic(claims: ClaimRegister, admin: KafkaAdmin, resource: Resource) -> Survey:
    """The standing of the resource's topic.

    Raises:
        KubeUnavailable, KubeRefused: the other resources, or their pods, can't be listed; where the topic is there,
            also if that is so in one of the namespaces alone.
        KafkaUnavailable, KafkaRefused: the topic can't be described.
    """
    observed = await admin.describe_topic(resource.spec.topic.name)
    bound_id = find_bound_id(resource, observed)
    if bound_id is None:
        rival = await claims.find_rival(resource, topic_id=observed.id if observed else None)
        if rival is not None:
            return Survey(observed, bound_id, 0, _refuse_rival(rival, resource.spec.topic.name))
        if observed is not None:
            writer = await claims.find_writer(resource, topic_id=observed.id)
            if writer is not None:
                return Survey(observed, bound_id, 0, _refuse_writer(writer, resource.spec.topic.name))
    broker_count = await admin.count_brokers() if observed is None else 0
    decision = decide_topic(resource.spec, observed, pinned_id=bound_id, broker_count=broker_count)
    return Survey(observed, bound_id, broker_count, decision)


def _refuse_rival(rival: Claimant, topic_name: str) -> RefuseTopic:
    return RefuseTopic(
        Reason.TOPIC_CLAIMED,
        f"topic {topic_name} is that of {names.KIND} {rival.title}; two that write would undo each other's promises. "
        f"Name another topic, delete that one (under reclaimPolicy Retain the topic stays), or use writeMode ReadOnly.",
    )


def _refuse_writer(writer: Writer, topic_name: str) -> RefuseTopic:
    return RefuseTopic(
        Reason.TOPIC_CLAIMED,
        f"topic {topic_name} may still be written by pod {writer.pod} of {names.KIND} {writer.owner}, which has given "
        f"the topic up. This goes on once that pod has ended; if its node is lost for good, delete the pod by force.",
    )
