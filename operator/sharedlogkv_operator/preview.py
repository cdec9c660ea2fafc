"""A pass that looks and changes nothing: for a resource that a person has paused, or whose plan one wants to see.

It decides as any pass does, and tells what would be done instead of doing it. Only the status is written.
"""

from sharedlogkv_operator import names
from sharedlogkv_operator.children import Children
from sharedlogkv_operator.claim_register import ClaimRegister
from sharedlogkv_operator.errors import KafkaRefused, KafkaUnavailable, KubeRefused, KubeUnavailable
from sharedlogkv_operator.kafka_access import KafkaAccess
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.spec import Resource, WriteMode
from sharedlogkv_operator.status import TOPIC_IS_FIT, Outcome, Replicas, Verdict
from sharedlogkv_operator.survey import Survey, survey_topic
from sharedlogkv_operator.topic import CreateTopic, RefuseTopic, UseTopic

ON = "true"
UNMADE_ID = "(of the topic to be created)"


def judge_pause(resource: Resource) -> Verdict | None:
    """Why nothing is to be carried out; None if it is."""
    if resource.annotations.get(names.PLAN_ANNOTATION) == ON:
        text = (
            f"the annotation {names.PLAN_ANNOTATION} is set: status.plan tells what would change, and nothing changes"
        )
        return Verdict(Reason.PLANNING, text)
    if resource.annotations.get(names.PAUSED_ANNOTATION) == ON:
        return Verdict(Reason.PAUSED, f"the annotation {names.PAUSED_ANNOTATION} is set: nothing changes")
    return None


class Preview:
    """Passes that change nothing."""

    def __init__(self, claims: ClaimRegister, kafka: KafkaAccess, children: Children) -> None:
        """Holds no state.

        Args:
            claims: knows who claims which topic.
            kafka: the way to the Kafka clusters.
            children: knows what the children should be.
        """
        self._claims = claims
        self._kafka = kafka
        self._children = children

    async def look(self, resource: Resource, pause: Verdict) -> Outcome:
        """What there is, and what would be done.

        Raises:
            KafkaBusy: enough others are busy with this Kafka cluster.
        """
        plan = list(_plan_finalizer(resource))
        verdict, topic_id, topic_plan = await self._look_at_topic(resource)
        plan += topic_plan
        replicas, problem = None, None
        if topic_id is not None:
            try:
                keeps_brokers = verdict.reason not in TOPIC_IS_FIT
                replicas, children_plan = await self._look_at_children(resource, topic_id, keeps_brokers=keeps_brokers)
                plan += children_plan
            except (KubeUnavailable, KubeRefused) as error:
                problem = Verdict(Reason.KUBE_UNAVAILABLE, str(error))
        if plan and problem is None and verdict.reason in TOPIC_IS_FIT:
            count = "1 change waits" if len(plan) == 1 else f"{len(plan)} changes wait"
            problem = Verdict(pause.reason, f"{count} to be carried out: {pause.message}")
        return Outcome(
            verdict,
            resource.pinned,
            problem=problem,
            replicas=replicas,
            wants_leader=resource.spec.write_mode is WriteMode.LEADER,
            pause=pause,
            plan=tuple(plan) if pause.reason is Reason.PLANNING else None,
        )

    async def _look_at_topic(self, resource: Resource) -> tuple[Verdict, str | None, list[str]]:
        """The verdict on the topic, the id that replicas would be given (None: none would be made), and the plan."""
        pinned_id = resource.pinned.id if resource.pinned else None
        try:
            async with self._kafka.lend(resource) as admin:
                survey = await survey_topic(self._claims, admin, resource)
        except KafkaUnavailable as error:
            return Verdict(Reason.KAFKA_UNAVAILABLE, str(error)), pinned_id, []
        except KafkaRefused as error:
            return Verdict(error.reason, str(error)), pinned_id, []
        except (KubeUnavailable, KubeRefused) as error:
            return Verdict(Reason.KUBE_UNAVAILABLE, str(error)), pinned_id, []
        return _describe_topic(resource, survey)

    async def _look_at_children(
        self, resource: Resource, topic_id: str, *, keeps_brokers: bool
    ) -> tuple[Replicas | None, list[str]]:
        intent = await self._children.plan(resource, topic_id=topic_id, keeps_brokers=keeps_brokers)
        if isinstance(intent, Verdict):
            return None, [intent.message]
        if intent.deployment is None:
            return None, list(intent.describe())
        return await self._children.observe_untouched(resource, intent.deployment), list(intent.describe())


def _plan_finalizer(resource: Resource) -> tuple[str, ...]:
    has, wants = names.TOPIC_FINALIZER in resource.identity.finalizers, resource.spec.topic.is_reclaimed
    if has == wants:
        return ()
    return (f"{'set' if wants else 'remove'} the finalizer {names.TOPIC_FINALIZER}",)


def _describe_topic(resource: Resource, survey: Survey) -> tuple[Verdict, str | None, list[str]]:
    name = resource.spec.topic.name
    match survey.decision:
        case RefuseTopic(reason, message):
            return Verdict(reason, message), resource.pinned.id if resource.pinned else None, []
        case CreateTopic(replication_factor=copies, config=config):
            settings = ", ".join(f"{key}={value}" for key, value in sorted(config.items()))
            text = f"create topic {name}: 1 partition, replication factor {copies}, {settings}"
            return Verdict(Reason.PROGRESSING, f"there is no topic {name} yet"), UNMADE_ID, [text]
        case UseTopic(id=id_, alterations=alterations, reason=reason, message=message):
            plan = []
            if survey.bound_id is None:
                reason, message = Reason.PROGRESSING, f"not bound yet; topic {name}, id {id_}, is there and fits"
                plan.append(f"adopt topic {name}, id {id_}")
            if alterations:
                settings = ", ".join(f"{key}={value}" for key, value in sorted(alterations.items()))
                plan.append(f"set on topic {name}: {settings}")
            return Verdict(reason, message), id_, plan
