"""One pass over one resource: look at everything, decide, carry it out, write down what came of it.

Level-triggered: a pass reads the resource fresh and depends on nothing that an earlier pass remembers, so it may be cut
off anywhere and simply run again. The order keeps data safe:

1. A generation not seen before is acknowledged in the status at once.
2. The finalizer is set before there is a topic that it answers for.
3. The topic's id is written to the status before any replica is told of it. A crash between creating a topic and that
   write finds the topic there, and adopts it; and as nobody can tell any more whose it is, it is never deleted.
4. Trouble with the topic leaves the replicas alone.
5. The status is written on every path; events follow it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.children import Children
from sharedlogkv_operator.claim_register import ClaimRegister
from sharedlogkv_operator.claims import Claimant
from sharedlogkv_operator.errors import (
    KafkaBusy,
    KafkaRefused,
    KafkaUnavailable,
    KubeRefused,
    KubeUnavailable,
    SpecInvalid,
)
from sharedlogkv_operator.events import Deed, Event
from sharedlogkv_operator.handover import Handover
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kafka_access import KafkaAccess
from sharedlogkv_operator.kafka_admin import KafkaAdmin
from sharedlogkv_operator.kafka_pool import KafkaClusters
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.preview import Preview, judge_pause
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_client import ReplicaClient
from sharedlogkv_operator.reporter import Reporter
from sharedlogkv_operator.resource_parser import parse_identity, parse_resource
from sharedlogkv_operator.scaling import ScalingBoard
from sharedlogkv_operator.spec import Identity, PinnedTopic, Resource, WriteMode
from sharedlogkv_operator.status import (
    TOPIC_IS_FIT,
    Condition,
    Outcome,
    Verdict,
    parse_conditions,
)
from sharedlogkv_operator.survey import survey_topic
from sharedlogkv_operator.topic import (
    CreateTopic,
    RefuseTopic,
    UseTopic,
    decide_topic,
    find_missing_rights,
)

DELETION_DEADLINE: Final = timedelta(seconds=120)
"""After it, a resource whose topic can't be deleted is let go: a finalizer must not hold a namespace for ever."""

SOON_SECONDS: Final = 5.0
BUSY_SECONDS: Final = 1.0
WISH_SECONDS: Final = 1.0
RETRY_REASONS: Final = frozenset(
    {
        Reason.KAFKA_UNAVAILABLE,
        Reason.SECRET_INVALID,
        Reason.KAFKA_LOGIN_FAILED,
        Reason.KAFKA_ACCESS_DENIED,
        Reason.KAFKA_REFUSED,
        Reason.KUBE_UNAVAILABLE,
        Reason.NOT_ENOUGH_BROKERS,
        Reason.TOPIC_ABSENT,
        Reason.TOPIC_CLAIMED,
        Reason.TOPIC_NOT_ADOPTED,
        Reason.CHILD_REFUSED,
        Reason.LEADERSHIP_REFUSED,
    }
)


@dataclass(frozen=True, slots=True)
class Result:
    """When to look at the resource again.

    Attributes:
        conditions: what its status says now; None when the resource is gone.
        backs_off: try again after a back-off that grows.
        after_seconds: otherwise, look again after so long; None: at the usual interval.
        was_tried: False when others were in the way: this says nothing about the resource, and ends no back-off.
    """

    conditions: tuple[Condition, ...] | None
    backs_off: bool = False
    after_seconds: float | None = None
    was_tried: bool = True


@dataclass(frozen=True, slots=True)
class TopicStep:
    """What came of the topic: a verdict, the topic that the resource is now bound to, and what is worth telling."""

    verdict: Verdict
    pinned: PinnedTopic | None
    events: tuple[Event, ...] = ()


class Reconciler:
    """Makes the world be as resources say, one pass at a time."""

    def __init__(
        self,
        kube: KubeClient,
        kafka: KafkaClusters,
        *,
        replica_client: ReplicaClient,
        default_image: str,
        scalings: ScalingBoard,
        instance: str,
        now: Callable[[], datetime],
    ) -> None:
        """Holds nothing between passes but when the deletion of a topic first failed, and what others claim.

        Args:
            kube: the API server.
            kafka: the Kafka clusters.
            replica_client: asks replicas how they are.
            default_image: the image of replicas whose resource names none.
            scalings: knows what is to be told of the scaling.
            instance: the name of this process, for events.
            now: the time, with its zone.
        """
        self._kube = kube
        self._kafka = KafkaAccess(kube, kafka)
        self._children = Children(kube, replica_client, default_image=default_image)
        self._claims = ClaimRegister(kube)
        self._preview = Preview(self._claims, self._kafka, self._children)
        self._handover = Handover(self._children, replica_client=replica_client, now=now)
        self._reporter = Reporter(kube, scalings=scalings, instance=instance, now=now)
        self._now = now
        self._first_failures: dict[str, datetime] = {}  # by uid; a restart only gives a deletion more time

    async def reconcile(self, namespace: str, name: str) -> Result:
        """One pass over the resource of that name.

        May be cancelled at any await; the next pass goes on from there.

        Raises:
            KubeUnavailable: the API server is out of reach, so that not even the status could be written.
            KubeRefused: it refuses us what we need for it.
        """
        body = await self._kube.get_resource(namespace, name)
        if body is None:
            return Result(None)
        identity = parse_identity(body)
        try:
            resource = parse_resource(body)
        except SpecInvalid as error:
            return await self._reject(body, identity, error)
        try:
            if identity.deletion_time is not None:
                return await self._delete(body, resource)
            if (pause := judge_pause(resource)) is not None:
                return await self._conclude(body, identity, await self._preview.look(resource, pause))
            return await self._settle(body, resource)
        except _FinalizerRefused as error:
            problem = Verdict(Reason.CHILD_REFUSED, str(error))
            return await self._conclude(body, identity, Outcome(None, resource.pinned, problem))
        except KafkaBusy:
            return Result(tuple(parse_conditions(body).values()), after_seconds=BUSY_SECONDS, was_tried=False)

    async def report_bug(self, namespace: str, name: str, error: Exception) -> None:
        """Shows in the status that a pass failed in a way that it should not have; one over a deletion has a deadline.

        Raises:
            KubeUnavailable, KubeRefused: as `reconcile`.
        """
        body = await self._kube.get_resource(namespace, name)
        if body is None:
            return
        identity = parse_identity(body)
        message = f"a bug in the operator, whose log says more: {type(error).__name__}: {error}"
        waits_for_us = names.TOPIC_FINALIZER in identity.finalizers and identity.deletion_time
        if waits_for_us and self._is_overdue(identity):
            await self._give_up(identity, message)
            return
        await self._reporter.conclude(body, identity, Outcome(None, None, Verdict(Reason.INTERNAL_ERROR, message)))

    async def _reject(self, body: JsonObject, identity: Identity, error: SpecInvalid) -> Result:
        """A pass over a resource that can't be understood, which must not hold its namespace for ever either."""
        waits_for_us = names.TOPIC_FINALIZER in identity.finalizers and identity.deletion_time
        if waits_for_us and self._now() >= waits_for_us + DELETION_DEADLINE:
            return await self._give_up(identity, str(error))
        result = await self._conclude(body, identity, Outcome(None, None, Verdict(Reason.SPEC_INVALID, str(error))))
        return replace(result, after_seconds=SOON_SECONDS) if waits_for_us else result

    async def _settle(self, body: JsonObject, resource: Resource) -> Result:
        """A pass over a resource that shall live."""
        body, resource = await self._reporter.acknowledge(body, resource)
        wants_finalizer = resource.spec.topic.is_reclaimed
        if wants_finalizer != (names.TOPIC_FINALIZER in resource.identity.finalizers):
            changed = await self._write_finalizer(resource.identity, present=wants_finalizer)
            if changed is None:
                return Result(None)
            body, resource = changed, parse_resource(changed)
        with self._claims.bind_alone(resource):
            topic = await self._settle_topic(resource)
            if topic.pinned is not None and topic.pinned != resource.pinned:
                written = await self._reporter.write_pinned(body, resource.identity, topic.pinned)
                if written is None:
                    return Result(None)
                body, resource = written, parse_resource(written)
        wants_leader = resource.spec.write_mode is WriteMode.LEADER
        outcome = Outcome(topic.verdict, topic.pinned, wants_leader=wants_leader)
        if topic.pinned is not None:
            outcome = await self._settle_children(resource, outcome, topic_id=topic.pinned.id)
        wish = await self._handover.advance(resource, outcome.replicas)
        deeds = topic.events if wish is None or wish.event is None else (*topic.events, wish.event)
        result = await self._conclude(body, resource.identity, outcome, deeds=deeds)
        if topic.verdict.reason in TOPIC_IS_FIT:
            await self._take_off(resource, names.ACCEPT_LOSS_ANNOTATION)
        if wish is not None and wish.event is not None:
            await self._take_off(resource, names.TRANSFER_ANNOTATION)
        elif wish is not None and not result.backs_off:
            result = replace(result, after_seconds=WISH_SECONDS)
        return result

    async def _take_off(self, resource: Resource, annotation: str) -> None:
        """Removes an annotation that is settled, if there is one, and still as it was settled."""
        value = resource.annotations.get(annotation)
        if value is not None:
            await self._kube.remove_annotation(resource.identity, annotation, value=value)

    async def _settle_topic(self, resource: Resource) -> TopicStep:
        try:
            async with self._kafka.lend(resource) as admin:
                return await self._decide_topic(admin, resource)
        except KafkaUnavailable as error:
            return TopicStep(Verdict(Reason.KAFKA_UNAVAILABLE, str(error)), resource.pinned)
        except KafkaRefused as error:
            return TopicStep(Verdict(error.reason, str(error)), resource.pinned)
        except (KubeUnavailable, KubeRefused) as error:  # a Secret, or who else names the topic, can't be read
            return TopicStep(Verdict(Reason.KUBE_UNAVAILABLE, str(error)), resource.pinned)

    async def _decide_topic(self, admin: KafkaAdmin, resource: Resource) -> TopicStep:
        """Sees what the topic is, and does what is decided, once: a topic just made is judged like any other."""
        spec, pinned = resource.spec, resource.pinned
        survey = await survey_topic(self._claims, admin, resource)
        observed, decision = survey.observed, survey.decision
        created = isinstance(decision, CreateTopic) and await admin.create_topic(decision)
        if created:
            observed = await admin.describe_topic(spec.topic.name)
            decision = decide_topic(
                spec, observed, pinned_id=survey.bound_id, broker_count=survey.broker_count, is_created=True
            )
        elif isinstance(decision, CreateTopic):  # somebody else was faster, whose topic is judged like any other
            survey = await survey_topic(self._claims, admin, resource)
            observed, decision = survey.observed, survey.decision
        match decision:
            case CreateTopic():
                raise KafkaUnavailable(f"topic {spec.topic.name} was created, and is not there")
            case RefuseTopic(reason, message):
                return TopicStep(Verdict(reason, message), pinned)
            case UseTopic():
                assert observed is not None
                missing = find_missing_rights(spec, observed)
                refusal = admin.refuse_rights(missing, spec.topic.name) if missing else None
                if refusal is not None and not created:  # one just made is bound all the same, or it would be nobody's
                    raise refusal
                if decision.alterations:
                    await admin.alter_topic(spec.topic.name, decision.alterations)
                events = _tell_deeds(spec.topic.name, decision, created=created)
                verdict = Verdict(decision.reason, decision.message)
                if refusal is not None:
                    verdict = Verdict(refusal.reason, str(refusal))
                if pinned is not None and pinned.id == decision.id:
                    return TopicStep(verdict, pinned, events)
                if pinned is not None:
                    text = f"the loss of topic {pinned.name}, id {pinned.id}, was accepted"
                    events = (Event(True, Deed.TOPIC_LOSS_ACCEPTED.value, text), *events)
                return TopicStep(verdict, PinnedTopic(spec.topic.name, decision.id, is_created=created), events)

    async def _settle_children(self, resource: Resource, outcome: Outcome, *, topic_id: str) -> Outcome:
        """Applies the children, and sees how the replicas are."""
        try:
            is_topic_seen = outcome.topic is not None and outcome.topic.reason in TOPIC_IS_FIT
            applied = await self._children.apply(resource, topic_id=topic_id, keeps_brokers=not is_topic_seen)
            if isinstance(applied, Verdict):
                return replace(outcome, problem=applied)
            return replace(outcome, replicas=await self._children.observe(resource, applied))
        except KubeRefused as error:
            return replace(outcome, problem=Verdict(Reason.CHILD_REFUSED, str(error)))
        except KubeUnavailable as error:
            return replace(outcome, problem=Verdict(Reason.KUBE_UNAVAILABLE, str(error)))

    async def _delete(self, body: JsonObject, resource: Resource) -> Result:
        """A pass over a resource that shall go; its children go by themselves, by their owner references."""
        identity = resource.identity
        waiting = Outcome(None, resource.pinned, Verdict(Reason.DELETING, "waiting for other finalizers"))
        if names.TOPIC_FINALIZER not in identity.finalizers:
            return await self._conclude(body, identity, waiting)
        events: tuple[Event, ...] = ()
        if resource.spec.topic.is_reclaimed and resource.pinned is not None:
            try:
                async with self._kafka.lend(resource) as admin:
                    sharer = await self._claims.find_sharer(resource)
                    events = await _delete_topic(admin, resource.pinned, sharer=sharer)
            except (KafkaUnavailable, KafkaRefused, KubeUnavailable, KubeRefused) as error:
                text = f"topic {resource.pinned.name} can't be deleted: {error}"
                if self._is_overdue(identity):
                    return await self._give_up(identity, text)
                result = await self._conclude(body, identity, replace(waiting, problem=Verdict(Reason.DELETING, text)))
                return replace(result, backs_off=False, after_seconds=SOON_SECONDS)
        self._first_failures.pop(identity.uid, None)
        await self._reporter.post(identity, events)
        await self._write_finalizer(identity, present=False)
        return Result(None)

    def _is_overdue(self, identity: Identity) -> bool:
        """Whether the deletion of the resource's topic has failed for long enough; notes when it failed first."""
        return self._now() >= self._first_failures.setdefault(identity.uid, self._now()) + DELETION_DEADLINE

    async def _give_up(self, identity: Identity, why: str) -> Result:
        """Lets a resource go whose topic can't be deleted, and so stays."""
        text = f"given up after {int(DELETION_DEADLINE.total_seconds())} s, the topic stays: {why}"
        await self._reporter.post(identity, (Event(True, Deed.TOPIC_KEPT.value, text),))
        await self._write_finalizer(identity, present=False)
        self._first_failures.pop(identity.uid, None)
        return Result(None)

    async def _conclude(
        self, body: JsonObject, identity: Identity, outcome: Outcome, *, deeds: tuple[Event, ...] = ()
    ) -> Result:
        """Ends a pass: the status, the events, and when to look again."""
        return _schedule(await self._reporter.conclude(body, identity, outcome, deeds=deeds))

    async def _write_finalizer(self, identity: Identity, *, present: bool) -> JsonObject | None:
        others = [finalizer for finalizer in identity.finalizers if finalizer != names.TOPIC_FINALIZER]
        finalizers = [*others, names.TOPIC_FINALIZER] if present else others
        try:
            return await self._kube.write_finalizers(identity, finalizers)
        except KubeRefused as error:
            raise _FinalizerRefused(f"the finalizer {names.TOPIC_FINALIZER} can't be changed: {error}") from error


class _FinalizerRefused(KubeRefused):
    """The API server does not let the finalizer be changed: an admission policy, say."""


async def _delete_topic(admin: KafkaAdmin, pinned: PinnedTopic, *, sharer: Claimant | None) -> tuple[Event, ...]:
    """Deletes the topic if it still is the one that was pinned, was created for this resource, and nobody shares it."""
    if sharer is not None:
        text = f"topic {pinned.name} stays: {names.KIND} {sharer.title} uses it too"
        return (Event(True, Deed.TOPIC_KEPT.value, text),)
    if not pinned.is_created:
        text = f"topic {pinned.name} stays: it was there before this resource, and may be others' too"
        return (Event(True, Deed.TOPIC_KEPT.value, text),)
    observed = await admin.describe_topic(pinned.name)
    if observed is None:
        text = f"topic {pinned.name} is not there, so there is nothing to delete"
        return (Event(True, Deed.TOPIC_KEPT.value, text),)
    if observed.id != pinned.id:
        text = f"topic {pinned.name} stays: its id is {observed.id}, not {pinned.id}, so it is not this resource's"
        return (Event(True, Deed.TOPIC_KEPT.value, text),)
    await admin.delete_topic(pinned.name)
    return (Event(False, Deed.TOPIC_DELETED.value, f"deleted topic {pinned.name}, id {pinned.id}"),)


def _tell_deeds(topic_name: str, decision: UseTopic, *, created: bool) -> tuple[Event, ...]:
    events = []
    if created:
        events.append(Event(False, Deed.TOPIC_CREATED.value, f"created topic {topic_name}, id {decision.id}"))
    elif decision.adopted:
        text = f"found topic {topic_name}, id {decision.id}, and use it"
        events.append(Event(False, Deed.TOPIC_ADOPTED.value, text))
    if decision.alterations:
        settings = ", ".join(f"{key}={value}" for key, value in sorted(decision.alterations.items()))
        events.append(Event(False, Deed.TOPIC_RECONFIGURED.value, f"set back on topic {topic_name}: {settings}"))
    return tuple(events)


def _schedule(conditions: tuple[Condition, ...]) -> Result:
    """When to look again, by what the status now says."""
    ready = next(condition for condition in conditions if condition.type == "Ready")
    topic = next(condition for condition in conditions if condition.type == "TopicReady")
    reconciling = next(condition for condition in conditions if condition.type == "Reconciling")
    retried = {reason.value for reason in RETRY_REASONS}
    if ready.reason in retried or topic.reason in retried:
        return Result(conditions, backs_off=True)
    # Replicas tell how far they are only when asked, and no event announces a collected child.
    return Result(conditions, after_seconds=SOON_SECONDS if reconciling.truth.value == "True" else None)
