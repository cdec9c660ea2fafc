"""Whatever is cut off, refused or out of reach, and wherever: the data is safe, and in the end all is as wanted."""

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from sharedlogkv_operator.errors import (
    KafkaBusy,
    KafkaRefused,
    KafkaUnavailable,
    KubeRefused,
    KubeUnavailable,
    OperatorError,
)
from sharedlogkv_operator.status import Truth
from tests.support.operator_world import World

KAFKA_CALLS = ("lease", "describe_topic", "count_brokers", "create_topic", "alter_topic", "delete_topic")
KAFKA_ERRORS = (KafkaUnavailable, KafkaRefused)
KUBE_ERRORS = (KubeUnavailable, KubeRefused, asyncio.CancelledError)


class Faults:
    """Fails the calls whose turn it is, before they act or after, so that their answer is lost."""

    def __init__(self, world: World, turns: dict[int, int]) -> None:
        self._world = world
        self._turns = turns
        self._moments = 0
        self._secret: str | None = None

    def __call__(self, moment: str) -> None:
        self.check()
        self._moments += 1
        choice = self._turns.get(self._moments)
        if choice is None:
            return
        call = moment.split()[1]
        if call == "lease":
            raise KafkaBusy("busy")
        errors = KAFKA_ERRORS if call in KAFKA_CALLS else KUBE_ERRORS
        raise errors[choice % len(errors)](f"fault at {moment}")

    def check(self) -> None:
        """What must hold at every moment."""
        world = self._world
        # What replicas share is made once, whatever became of the answer.
        self._secret = self._secret or world.peer_secret
        assert world.is_gone() or self._secret == world.peer_secret
        # A topic is created at most once, whatever became of the answer.
        assert world.kafka.created <= 1
        if world.is_gone() or "topic" not in world.body.get("status", {}):
            # No replica runs on a topic that is not written down.
            assert world.is_gone() or world.deployment is None
            return
        assert world.status["topic"]["id"] == "id-1"
        if world.deployment is not None:
            environment = world.deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            assert {"name": "SLKV_REPLICA_TOPIC_ID", "value": "id-1"} in environment


async def pass_over(world: World) -> None:
    with contextlib.suppress(OperatorError, asyncio.CancelledError):
        await world.reconcile()


# Which calls fail, by their turn, and how.
TURNS = st.dictionaries(st.integers(1, 60), st.integers(0, 5), max_size=12)


@settings(deadline=None)
@given(turns=TURNS, policy=st.sampled_from(["Retain", "Delete"]), mode=st.sampled_from(["Leader", "Leaderless"]))
def test_a_resource_becomes_ready_after_any_faults(turns: dict[int, int], policy: str, mode: str) -> None:
    async def scenario() -> None:
        world = World()
        world.create(spec={"topic": {"reclaimPolicy": policy, "allowDataLoss": True}, "writeMode": mode})
        faults = Faults(world, turns)
        world.kube.interfere = world.kafka.interfere = faults
        for _ in range(5):
            await pass_over(world)
        world.kube.interfere = world.kafka.interfere = lambda _: None
        await world.reconcile()
        world.serve()
        await world.reconcile()
        faults.check()
        assert world.condition("Ready").truth is Truth.TRUE
        assert len(world.kube.children) == (4 if mode == "Leader" else 3)
        version = world.body["metadata"]["resourceVersion"]
        await world.reconcile()
        assert world.body["metadata"]["resourceVersion"] == version

    asyncio.run(scenario())


@settings(deadline=None)
@given(turns=TURNS)
def test_a_deletion_ends_after_any_faults_and_never_takes_another_topic(turns: dict[int, int]) -> None:
    async def scenario() -> None:
        world = World()
        world.create(spec={"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}})
        await world.reconcile()
        world.kube.delete("demo", "store")
        world.kube.interfere = world.kafka.interfere = Faults(world, turns)
        for _ in range(5):
            await pass_over(world)
        world.kube.interfere = world.kafka.interfere = lambda _: None
        await world.reconcile()
        assert world.is_gone()
        assert "demo.store" not in world.kafka.topics

    asyncio.run(scenario())


@settings(deadline=None)
@given(turns=TURNS, drop=st.booleans())
def test_a_topic_that_is_lost_or_replaced_is_neither_made_anew_nor_followed_whatever_else_fails(
    turns: dict[int, int], drop: bool
) -> None:
    async def scenario() -> None:
        world = World()
        world.create()
        await world.reconcile()
        await world.kafka.delete_topic("demo.store")
        if not drop:
            world.kafka.add_topic("demo.store")
        made = world.kafka.created

        world.kube.interfere = world.kafka.interfere = Faults(World(), turns)
        for _ in range(5):
            await pass_over(world)
        world.kube.interfere = world.kafka.interfere = lambda _: None
        await world.reconcile()
        assert world.kafka.created == made
        assert world.status["topic"]["id"] == "id-1"
        assert world.condition("Stalled").truth is Truth.TRUE
        assert world.deployment is not None

    asyncio.run(scenario())


@settings(deadline=None)
@given(turns=TURNS, is_replaced=st.booleans())
def test_an_accepted_loss_ends_with_one_other_topic_after_any_faults(turns: dict[int, int], is_replaced: bool) -> None:
    async def scenario() -> None:
        world = World()
        world.create()
        await world.reconcile()
        config = world.kafka.topics["demo.store"].config
        await world.kafka.delete_topic("demo.store")
        if is_replaced:
            world.kafka.add_topic("demo.store", replication_factor=3, config=config)
        world.annotate({"sharedlog.dev/accept-topic-loss": "id-1"})
        world.kube.interfere = world.kafka.interfere = Faults(World(), turns)
        for _ in range(5):
            await pass_over(world)
        world.kube.interfere = world.kafka.interfere = lambda _: None
        await world.reconcile()
        assert world.status["topic"]["id"] == "id-2"
        assert world.kafka.created == 2
        assert "id-2" in str(world.deployment)
        assert world.body["metadata"]["annotations"] == {}
        assert world.condition("Stalled").truth is Truth.FALSE

    asyncio.run(scenario())


@settings(deadline=None)
@given(turns=TURNS, annotation=st.sampled_from(["paused", "plan"]), is_bound=st.booleans())
def test_a_paused_store_is_changed_by_nothing_that_fails(
    turns: dict[int, int], annotation: str, is_bound: bool
) -> None:
    async def scenario() -> None:
        world = World()
        world.create()
        if is_bound:
            await world.reconcile()
        world.annotate({f"sharedlog.dev/{annotation}": "true"})
        world.kube.change_spec("demo", "store", replicas=1, image="other:2")
        world.take_writes()
        world.kube.interfere = world.kafka.interfere = Faults(World(), turns)
        for _ in range(5):
            await pass_over(world)
        assert set(world.take_writes()) <= {"write_status", "post_event"}

    asyncio.run(scenario())
