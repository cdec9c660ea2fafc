"""Tells what came of a pass: the resource's status, written only where it differs, and events for what changed."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.events import NEW_TOPIC_DEEDS, Event, build_event, derive_events
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.logs import log
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.resource_parser import build_pinned, parse_resource, parse_scaling_mode
from sharedlogkv_operator.scaling import (
    BY_OTHERS,
    HALTS,
    NO_SCALING,
    SCALING_CONDITIONS,
    Scaling,
    ScalingBoard,
    build_halt,
    parse_scaling,
)
from sharedlogkv_operator.spec import Identity, PinnedTopic, Resource, ScalingMode
from sharedlogkv_operator.status import (
    Condition,
    Outcome,
    Verdict,
    build_progressing_status,
    build_status,
    judge,
    parse_conditions,
)


class Reporter:
    """Writes statuses and events. Calls raise `KubeUnavailable` or `KubeRefused` where a status can't be written."""

    def __init__(self, kube: KubeClient, *, scalings: ScalingBoard, instance: str, now: Callable[[], datetime]) -> None:
        """Holds no state.

        Args:
            kube: the API server.
            scalings: knows what is to be told of the scaling.
            instance: the name of this process, for events.
            now: the time, with its zone.
        """
        self._kube = kube
        self._scalings = scalings
        self._instance = instance
        self._now = now

    async def acknowledge(self, body: JsonObject, resource: Resource) -> tuple[JsonObject, Resource]:
        """Says in the status that this generation is being acted upon, unless it says so already."""
        status = body.get("status", {})
        generation = resource.identity.generation
        if isinstance(status, Mapping) and status.get("observedGeneration") == generation:
            return body, resource
        fresh = build_progressing_status(body, resource.identity, now=self._now())
        written = await self._kube.write_status(resource.identity, fresh)
        return (body, resource) if written is None else (written, parse_resource(written))

    async def conclude(
        self, body: JsonObject, identity: Identity, outcome: Outcome, *, deeds: tuple[Event, ...] = ()
    ) -> tuple[Condition, ...]:
        """Writes the status, if it differs, and tells what changed and what was done; the conditions."""
        before = parse_conditions(body)
        scaling = self._find_scaling(body, identity, pause=outcome.pause)
        status = build_status(body, identity, outcome, now=self._now(), further=scaling.conditions)
        if scaling.status is not None:
            status["scaling"] = scaling.status
        if status != body.get("status"):
            await self._kube.write_status(identity, status)
        conditions = (*judge(outcome), *scaling.conditions)
        transitions = derive_events(before, conditions)
        if any(deed.reason in NEW_TOPIC_DEEDS for deed in deeds):
            transitions = tuple(event for event in transitions if event.reason != Reason.TOPIC_BOUND.value)
        await self.post(identity, deeds + transitions)
        return conditions

    def _find_scaling(self, body: JsonObject, identity: Identity, *, pause: Verdict | None) -> Scaling:
        """What is to be told of the scaling; until it is decided anew, what the status tells already."""
        key = f"{identity.namespace}/{identity.name}"
        mode = parse_scaling_mode(body)
        if mode is not ScalingMode.BUILT_IN or identity.deletion_time is not None:
            self._scalings.forget(key)
            return BY_OTHERS if mode is ScalingMode.EXTERNAL else NO_SCALING
        if (halt := pause or _judge_suspension(body)) is not None:
            self._scalings.forget(key)
            return build_halt(halt, parse_scaling(body))
        told = self._scalings.watch(key)
        if told is not None:
            return told
        before = parse_conditions(body)
        conditions = tuple(before[type_] for type_ in SCALING_CONDITIONS if type_ in before)
        is_halted = any(condition.reason in HALTS for condition in conditions)  # no longer, and nothing is decided yet
        return Scaling(() if is_halted else conditions, parse_scaling(body) or None)

    async def write_pinned(self, body: JsonObject, identity: Identity, pinned: PinnedTopic) -> JsonObject | None:
        """Records the topic that the resource is bound to; the resource after it, None if it is gone."""
        status = body.get("status", {})
        assert isinstance(status, Mapping)
        return await self._kube.write_status(identity, {**status, "topic": build_pinned(pinned)})

    async def post(self, identity: Identity, events: tuple[Event, ...]) -> None:
        """Posts events, for what they are worth: nothing fails where they can't be posted."""
        for event in events:
            tell = log.warning if event.is_warning else log.info
            resource = f"{identity.namespace}/{identity.name}"
            tell("a resource changed", resource=resource, reason=event.reason, text=event.message)
            try:
                await self._kube.post_event(build_event(event, identity, now=self._now(), instance=self._instance))
            except (KubeUnavailable, KubeRefused) as error:
                log.warning("an event was not posted", resource=resource, reason=event.reason, error=str(error))


def _judge_suspension(body: JsonObject) -> Verdict | None:
    """Why no replica is to run; None where some are, or where that can't be read."""
    spec = body.get("spec")
    if isinstance(spec, Mapping) and spec.get("suspend") is True:
        return Verdict(Reason.SUSPENDED, "spec.suspend is true: no replica is to run, so there is nothing to scale")
    return None
