"""What one pass does, among fakes: order, idempotence, and every kind of trouble."""

import asyncio

import pytest

from sharedlogkv_operator.errors import KafkaBusy, KafkaRefused, KafkaUnavailable, KubeRefused, KubeUnavailable
from sharedlogkv_operator.leadership import LeaderReport
from sharedlogkv_operator.pods import DELETION_COST
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.replica_client import ReplicaStatus
from sharedlogkv_operator.status import Truth, parse_conditions
from tests.support.operator_fakes import BROKER_DEFAULTS, Interfere
from tests.support.operator_objects import build_resource_body
from tests.support.operator_world import World

pytestmark = pytest.mark.asyncio

DELETE = {"topic": {"reclaimPolicy": "Delete", "allowDataLoss": True}}
LEADER = {"writeMode": "Leader"}
FINALIZER = "sharedlog.dev/topic"
FIT = {
    **BROKER_DEFAULTS,
    "cleanup.policy": "compact",
    "min.insync.replicas": "2",
    "message.timestamp.type": "LogAppendTime",
}


def failing(call: str, error: Exception) -> Interfere:
    """Makes every call of that name fail."""

    def interfere(moment: str) -> None:
        if moment == f"before {call}":
            raise error

    return interfere


def set_interference(world: World, interfere: Interfere) -> None:
    world.kube.interfere = world.kafka.interfere = interfere


async def settled(**arguments: object) -> World:
    """A world in which the resource is Ready."""
    world = World()
    world.create(**arguments)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    world.take_writes()
    return world


async def test_a_new_resource_gets_its_topic_then_its_pin_then_its_children() -> None:
    world = World()
    world.create()
    await world.reconcile()
    writes = [call for call in world.take_writes() if call != "post_event"]
    assert writes == [
        "write_status",  # acknowledged
        "create_topic",
        "write_status",  # pinned
        "apply_child",
        "apply_child",
        "apply_child",
        "write_status",
    ]
    assert world.status["topic"] == {"name": "demo.store", "id": "id-1", "origin": "Created"}
    assert world.deployment is not None
    environment = world.deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "SLKV_REPLICA_TOPIC_ID", "value": "id-1"} in environment
    assert world.event_reasons == ["TopicCreated", "ReplicasNotReady"]
    assert "finalizers" not in world.body["metadata"]


async def test_a_settled_resource_is_looked_at_without_writing_anything() -> None:
    world = await settled()
    version = world.body["metadata"]["resourceVersion"]
    result = await world.reconcile()
    assert world.take_writes() == []
    assert world.body["metadata"]["resourceVersion"] == version
    assert (result.backs_off, result.after_seconds) == (False, None)


async def test_a_change_of_the_spec_is_carried_out_and_ready_again_when_the_replicas_are() -> None:
    world = await settled()
    world.kube.change_spec("demo", "store", replicas=5)
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.FALSE
    assert world.status["observedGeneration"] == 2
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").message == "5 replicas serve"


async def test_a_suspended_store_runs_no_replica_keeps_its_topic_and_wakes_again() -> None:
    world = await settled()
    world.kube.change_spec("demo", "store", suspend=True)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 0
    assert ("PodDisruptionBudget", "demo", "store") not in world.kube.children
    assert world.condition("Reconciling").truth is Truth.TRUE
    world.serve()
    result = await world.reconcile()
    assert (world.condition("Ready").truth, world.condition("Ready").reason) == (Truth.FALSE, "Suspended")
    assert world.condition("Reconciling").truth is Truth.FALSE
    assert world.condition("Stalled").truth is Truth.FALSE
    assert result.after_seconds is None
    assert world.status["topic"]["id"] == "id-1"
    assert "demo.store" in world.kafka.topics
    world.kube.change_spec("demo", "store", suspend=False)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").message == "3 replicas serve"


async def test_a_suspended_store_has_no_leader_and_its_topic_is_still_looked_after() -> None:
    world = await settled(spec=LEADER)
    world.kube.change_spec("demo", "store", suspend=True)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert (world.condition("LeaderElected").truth, world.condition("LeaderElected").reason) == (
        Truth.FALSE,
        "Suspended",
    )
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "delete"})
    await world.reconcile()
    assert world.kafka.topics["demo.store"].config["cleanup.policy"] == "compact"
    assert "leader" not in world.status


async def test_one_replica_has_no_disruption_budget() -> None:
    world = await settled()
    assert ("PodDisruptionBudget", "demo", "store") in world.kube.children
    world.kube.change_spec("demo", "store", replicas=1)
    await world.reconcile()
    assert ("PodDisruptionBudget", "demo", "store") not in world.kube.children


async def test_a_crash_between_topic_and_pin_ends_in_the_same_topic() -> None:
    world = World()
    world.create()
    statuses = 0

    def crash(moment: str) -> None:
        nonlocal statuses
        statuses += moment == "before write_status"
        if statuses == 2:
            raise KubeUnavailable("cut off")

    set_interference(world, crash)
    with pytest.raises(KubeUnavailable):
        await world.reconcile()
    assert "topic" not in world.status
    assert world.deployment is None
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.status["topic"]["id"] == "id-1"
    assert world.kafka.created == 1
    assert "TopicAdopted" in world.event_reasons
    assert world.status["topic"]["origin"] == "Adopted"


async def overtaken(**spec: object) -> World:
    """A world in which somebody else creates the topic between our look at it and our try to create it."""
    world = World()
    world.create(spec=spec)

    def overtake(moment: str) -> None:
        if moment == "before create_topic":
            world.kafka.add_topic("demo.store", replication_factor=3, config=FIT)

    set_interference(world, overtake)
    await world.reconcile()
    return world


async def test_a_topic_that_somebody_else_creates_just_before_us_is_adopted_and_never_deleted() -> None:
    world = await overtaken(topic={"reclaimPolicy": "Delete", "allowDataLoss": True})
    assert world.status["topic"]["origin"] == "Adopted"
    assert "TopicAdopted" in world.event_reasons
    assert "TopicCreated" not in world.event_reasons
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert world.event_reasons[-1] == "TopicKept"


async def test_a_topic_that_somebody_else_creates_just_before_us_is_left_alone_where_none_may_be_adopted() -> None:
    world = await overtaken(topic={"adoptionPolicy": "Never"})
    assert world.condition("TopicReady").reason == "TopicNotAdopted"
    assert "topic" not in world.status
    assert world.deployment is None


async def test_kafka_out_of_reach_at_first_makes_nothing_and_is_tried_again() -> None:
    world = World(interfere=failing("describe_topic", KafkaUnavailable("no answer from kafka:9092")))
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    assert world.kube.children == {}
    assert world.condition("TopicReady").truth is Truth.UNKNOWN
    assert world.condition("Ready").message == "no answer from kafka:9092"


async def test_kafka_out_of_reach_later_leaves_the_replicas_alone_and_still_scales_them() -> None:
    world = await settled()
    set_interference(world, failing("lease", KafkaUnavailable("down")))
    result = await world.reconcile()
    assert result.backs_off
    assert world.take_writes() == ["write_status", "post_event"]
    assert world.status["readyReplicas"] == 3
    world.kube.change_spec("demo", "store", replicas=4)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 4


async def test_a_refusal_of_kafka_is_stalled_with_its_words_and_tried_again() -> None:
    world = World(interfere=failing("create_topic", KafkaRefused("POLICY_VIOLATION: no")))
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    stalled = world.condition("Stalled")
    assert (stalled.truth, stalled.reason, stalled.message) == (Truth.TRUE, "KafkaRefused", "POLICY_VIOLATION: no")


LOGIN = {
    "kafka": {
        "bootstrapServers": "kafka:9093",
        "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}},
        "sasl": {"mechanism": "PLAIN", "username": "alice", "passwordSecretRef": {"name": "user", "key": "password"}},
    }
}


def put_secrets(world: World, password: str = "aHVzaA==") -> None:
    world.kube.secrets["demo", "ca"] = {"data": {"ca.crt": "UEVN"}}
    world.kube.secrets["demo", "user"] = {"data": {"password": password}}


async def test_kafka_is_asked_with_what_the_secrets_hold_at_that_moment() -> None:
    world = World()
    world.create(spec=LOGIN)
    put_secrets(world)
    await world.reconcile()
    world.serve()
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    world.take_writes()
    put_secrets(world, "aGFzaA==")
    await world.reconcile()
    assert [dict(login.properties)["sasl.password"] for login in world.kafka.logins] == ["hush", "hush", "hash"]
    assert world.take_writes() == [], "a rotated Secret changes nothing that we write"


async def test_a_missing_secret_is_stalled_and_the_topic_is_unknown_until_it_is_there() -> None:
    world = World()
    world.create(spec=LOGIN)
    result = await world.reconcile()
    assert result.backs_off
    assert world.condition("Stalled").reason == "SecretInvalid"
    assert world.condition("TopicReady").truth is Truth.UNKNOWN
    assert world.kafka.logins == [], "Kafka is not asked"
    put_secrets(world)
    await world.reconcile()
    assert world.condition("TopicReady").truth is Truth.TRUE


async def test_a_secret_that_may_not_be_read_is_told_as_such() -> None:
    world = World(interfere=failing("get_secret", KubeRefused("secrets is forbidden")))
    world.create(spec=LOGIN)
    await world.reconcile()
    assert world.condition("Ready").reason == "SecretInvalid"
    assert "can't be read: secrets is forbidden" in world.condition("Ready").message


async def test_a_login_that_kafka_refuses_leaves_the_replicas_and_their_login_alone() -> None:
    world = await settled()
    refusal = KafkaRefused("invalid credentials", reason=Reason.KAFKA_LOGIN_FAILED)
    put_secrets(world)
    world.kube.change_spec("demo", "store", **LOGIN)
    before = world.deployment
    set_interference(world, failing("describe_topic", refusal))
    await world.reconcile()
    assert world.condition("Stalled").reason == "KafkaLoginFailed"
    assert world.condition("TopicReady").truth is Truth.UNKNOWN
    assert world.deployment == before
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["template"]["spec"]["volumes"][0]["name"] == "kafka"


@pytest.mark.parametrize(("mode", "needed"), [("Leaderless", "Read and Write"), ("ReadOnly", "Read")])
async def test_rights_that_the_replicas_lack_are_told_before_there_are_any(mode: str, needed: str) -> None:
    world = World()
    world.create(spec={"writeMode": mode})
    world.kafka.add_topic("demo.store", replication_factor=3, config=FIT)
    world.kafka.limit_rights("demo.store", "Describe")
    await world.reconcile()
    assert world.condition("TopicReady").reason == "KafkaAccessDenied"
    assert world.condition("Ready").message == f"{needed} on demo.store"
    assert world.deployment is None
    assert "topic" not in world.status
    world.kafka.limit_rights("demo.store", "Describe", *needed.split(" and "))
    await world.reconcile()
    assert world.condition("TopicReady").truth is Truth.TRUE


async def test_a_busy_kafka_cluster_is_asked_again_soon_and_nothing_is_said_of_it() -> None:
    world = await settled()
    set_interference(world, failing("lease", KafkaBusy("busy")))
    result = await world.reconcile()
    assert (result.backs_off, result.after_seconds) == (False, 1.0)
    assert world.take_writes() == []


async def test_too_few_brokers_is_a_clear_condition() -> None:
    world = World(brokers=1)
    world.create()
    assert (await world.reconcile()).backs_off
    assert world.condition("Ready").reason == "NotEnoughBrokers"
    assert world.kafka.topics == {}


async def test_a_foreign_topic_that_does_not_fit_is_left_as_it_is() -> None:
    world = World()
    world.kafka.add_topic("demo.store")
    world.create()
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicIncompatible"
    assert world.kafka.topics["demo.store"].config == BROKER_DEFAULTS
    assert world.kube.children == {}
    assert "topic" not in world.status


async def test_a_lost_topic_is_not_created_again_and_the_replicas_stay() -> None:
    world = await settled()
    del world.kafka.topics["demo.store"]
    result = await world.reconcile()
    assert not result.backs_off
    assert world.kafka.topics == {}
    assert world.condition("Stalled").reason == "TopicLost"
    assert world.status["topic"]["id"] == "id-1"
    assert world.deployment is not None
    assert "apply_child" not in world.take_writes()


async def test_a_replaced_topic_is_not_followed() -> None:
    world = await settled()
    world.kafka.add_topic("demo.store")
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicReplaced"
    assert world.status["topic"]["id"] == "id-1"


ACCEPT = "sharedlog.dev/accept-topic-loss"


async def test_a_lost_topic_is_made_anew_once_a_person_accepts_the_loss() -> None:
    world = await settled()
    del world.kafka.topics["demo.store"]
    world.annotate({ACCEPT: "id-0"})
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicLost", "that is the id of another topic"
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"] == {"name": "demo.store", "id": "id-2", "origin": "Created"}
    assert "id-2" in str(world.deployment)
    assert world.body["metadata"]["annotations"] == {}
    assert world.event_reasons[-3:] == ["TopicLossAccepted", "TopicCreated", "RollingOut"]


async def test_a_replaced_topic_is_adopted_once_a_person_accepts_the_loss_of_the_former() -> None:
    world = await settled()
    config = world.kafka.topics["demo.store"].config
    world.kafka.add_topic("demo.store", replication_factor=3, config=config)
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"] == {"name": "demo.store", "id": "id-2", "origin": "Adopted"}
    assert "TopicLossAccepted" in world.event_reasons


async def test_accepting_a_loss_that_is_none_loses_nothing_and_is_not_kept_for_later() -> None:
    world = await settled()
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.status["topic"]["id"] == "id-1"
    assert world.body["metadata"]["annotations"] == {}
    del world.kafka.topics["demo.store"]
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicLost"


async def test_a_replaced_topic_that_does_not_fit_is_not_followed_even_so() -> None:
    world = await settled()
    world.kafka.add_topic("demo.store")
    world.annotate({ACCEPT: "id-1"})
    await world.reconcile()
    assert world.condition("Stalled").reason == "TopicIncompatible"
    assert world.status["topic"]["id"] == "id-1"
    assert world.body["metadata"]["annotations"] == {ACCEPT: "id-1"}


async def test_a_second_store_on_the_topic_of_another_is_stalled_and_changes_nothing_until_it_is_free() -> None:
    world = await settled()
    world.kube.put(build_resource_body(spec={"topic": {"name": "demo.store"}}, metadata={"name": "two", "uid": "two"}))
    world.take_writes()
    result = await world.reconciler.reconcile("demo", "two")
    assert result.backs_off
    second = world.kube.resources["demo", "two"]
    assert parse_conditions(second)["Stalled"].reason == "TopicClaimed"
    assert "that of SharedLogKV demo/store" in parse_conditions(second)["Ready"].message
    assert set(world.take_writes()) == {"write_status", "post_event"}
    world.kube.delete("demo", "store")
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


@pytest.mark.parametrize("end", ["deleted", "made ReadOnly"])
async def test_a_topic_that_is_free_again_is_waited_for_while_a_pod_of_the_former_store_may_write(end: str) -> None:
    world = await settled()
    world.add_pod("store-7f-1", ip="10.0.0.1", is_ready=True)
    world.kube.put(build_resource_body(spec={"topic": {"name": "demo.store"}}, metadata={"name": "two", "uid": "two"}))
    if end == "deleted":
        world.kube.delete("demo", "store")
    else:
        world.kube.change_spec("demo", "store", writeMode="ReadOnly")
    result = await world.reconciler.reconcile("demo", "two")
    assert result.backs_off
    second = parse_conditions(world.kube.resources["demo", "two"])
    assert second["Stalled"].reason == "TopicClaimed"
    assert "pod demo/store-7f-1 of SharedLogKV demo/store" in second["Ready"].message
    assert ("Deployment", "demo", "two") not in world.kube.children
    world.kube.pods.clear()
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


async def test_whoever_only_reads_waits_for_no_pod_of_another_store() -> None:
    world = await settled()
    world.add_pod("store-7f-1", ip="10.0.0.1", is_ready=True)
    spec = {"topic": {"name": "demo.store"}, "writeMode": "ReadOnly"}
    world.kube.put(build_resource_body(spec=spec, metadata={"name": "two", "uid": "two"}))
    await world.reconciler.reconcile("demo", "two")
    assert world.kube.resources["demo", "two"]["status"]["topic"]["id"] == "id-1"


async def test_two_stores_that_are_looked_at_together_are_never_both_bound_to_one_topic() -> None:
    world = World()
    for name in ("a", "b"):
        world.kube.put(build_resource_body(spec={"topic": {"name": "one"}}, metadata={"name": name, "uid": name}))
    for order in ("ab", "ba"):
        await asyncio.gather(*(world.reconciler.reconcile("demo", name) for name in order))
    await world.reconciler.reconcile("demo", "a")
    bound = [name for name in ("a", "b") if "topic" in world.kube.resources["demo", name]["status"]]
    assert len(bound) == 1
    assert world.kafka.created == 1


async def test_deletion_never_takes_a_topic_that_another_store_uses() -> None:
    world = await settled(spec=DELETE)
    reader = build_resource_body(
        spec={"topic": {"name": "demo.store"}, "writeMode": "ReadOnly"},
        metadata={"name": "reader", "uid": "reader"},
        status={"topic": {"name": "demo.store", "id": "id-1", "origin": "Adopted"}},
    )
    world.kube.put(reader)
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "demo/reader uses it too" in world.last_event["message"]


async def test_settings_that_drift_are_set_back_and_told() -> None:
    world = await settled()
    await world.kafka.alter_topic("demo.store", {"cleanup.policy": "delete"})
    await world.reconcile()
    assert world.kafka.topics["demo.store"].config["cleanup.policy"] == "compact"
    assert "TopicReconfigured" in world.event_reasons


async def test_the_finalizer_is_there_before_the_topic_that_it_answers_for() -> None:
    world = World()
    world.create(spec=DELETE)
    await world.reconcile()
    writes = world.take_writes()
    assert writes.index("write_finalizers") < writes.index("create_topic")
    assert world.body["metadata"]["finalizers"] == [FINALIZER]


async def test_the_finalizer_goes_when_the_policy_goes_back_and_others_stay() -> None:
    world = await settled(spec=DELETE, metadata={"finalizers": ["other"]})
    assert world.body["metadata"]["finalizers"] == ["other", FINALIZER]
    topic = world.body["spec"]["topic"]
    world.kube.change_spec("demo", "store", topic={**topic, "reclaimPolicy": "Retain"})
    await world.reconcile()
    assert world.body["metadata"]["finalizers"] == ["other"]


async def test_deletion_keeps_the_topic_by_default() -> None:
    world = await settled()
    world.kube.delete("demo", "store")
    assert world.is_gone()
    result = await world.reconcile()
    assert result.conditions is None
    assert world.take_writes() == []
    assert "demo.store" in world.kafka.topics


async def test_deletion_never_takes_a_topic_that_was_there_before_the_resource() -> None:
    world = await settled()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    world.create(spec=DELETE)
    await world.reconcile()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "TopicKept" in world.event_reasons


async def test_deletion_takes_the_topic_along_where_that_was_asked_for() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    assert not world.is_gone()
    await world.reconcile()
    assert world.is_gone()
    assert world.kafka.topics == {}
    assert "TopicDeleted" in world.event_reasons


async def test_deletion_never_takes_a_topic_with_another_id() -> None:
    world = await settled(spec=DELETE)
    await world.kafka.delete_topic("demo.store")
    world.kafka.add_topic("demo.store")
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics
    assert "TopicKept" in world.event_reasons


async def test_deletion_of_a_resource_whose_topic_is_gone_already_just_ends() -> None:
    world = await settled(spec=DELETE)
    await world.kafka.delete_topic("demo.store")
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()


async def test_deletion_of_a_resource_that_never_had_a_topic_asks_no_kafka() -> None:
    world = World(interfere=failing("lease", KafkaUnavailable("down")))
    world.create(spec=DELETE)
    await world.reconcile()
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.is_gone()


async def test_a_policy_taken_back_during_deletion_keeps_the_topic() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    topic = world.body["spec"]["topic"]
    world.kube.change_spec("demo", "store", topic={**topic, "reclaimPolicy": "Retain"})
    await world.reconcile()
    assert world.is_gone()
    assert "demo.store" in world.kafka.topics


async def test_a_dead_kafka_holds_a_deletion_up_for_two_minutes_and_no_longer() -> None:
    world = await settled(spec=DELETE)
    set_interference(world, failing("lease", KafkaUnavailable("no answer")))
    world.kube.delete("demo", "store")
    result = await world.reconcile()
    assert result.after_seconds == 5
    assert world.condition("Ready").reason == "Deleting"
    assert "no answer" in world.condition("Ready").message
    world.wait(119)
    await world.reconcile()
    assert not world.is_gone()
    world.wait(2)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons


async def test_a_deletion_that_comes_late_to_kafka_still_gets_its_two_minutes() -> None:
    world = await settled(spec=DELETE)
    world.kube.delete("demo", "store")
    world.wait(600)  # the operator was away
    set_interference(world, failing("lease", KafkaBusy("others are busy with it")))
    await world.reconcile()
    assert not world.is_gone()
    set_interference(world, failing("lease", KafkaUnavailable("no answer")))
    await world.reconcile()
    assert not world.is_gone()
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.is_gone()
    assert world.kafka.topics == {}


async def test_a_deletion_is_not_given_up_because_others_are_busy_with_kafka() -> None:
    world = await settled(spec=DELETE)
    set_interference(world, failing("lease", KafkaBusy("others are busy with it")))
    world.kube.delete("demo", "store")
    for _ in range(3):
        result = await world.reconcile()
        assert (result.after_seconds, result.was_tried) == (1, False)
        world.wait(600)
    assert not world.is_gone()
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert world.kafka.topics == {}


async def test_a_namespace_that_refuses_holds_a_deletion_up_for_two_minutes_and_then_the_topic_stays() -> None:
    world = await settled(spec=DELETE)
    world.kube.refusing_namespaces = {"others"}  # whose resource may use the topic
    world.kube.delete("demo", "store")
    result = await world.reconcile()
    assert result.after_seconds == 5
    assert "forbidden in the namespace others" in world.condition("Ready").message
    world.wait(121)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons
    assert "demo.store" in world.kafka.topics


async def test_a_namespace_that_refuses_does_not_keep_a_new_resource_from_its_topic() -> None:
    world = World()
    world.kube.refusing_namespaces = {"others"}
    world.create()
    await world.reconcile()
    assert world.status["topic"]["name"] == "demo.store"


async def test_a_topic_that_is_there_is_not_taken_while_a_namespace_refuses_to_show_who_else_may_have_it() -> None:
    world = World()
    world.kafka.add_topic("demo.store", replication_factor=3, config=FIT)
    world.kube.refusing_namespaces = {"others"}
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    topic = world.condition("TopicReady")
    assert (topic.truth, topic.reason) == (Truth.UNKNOWN, "KubeUnavailable")
    assert "others" in topic.message
    world.kube.refusing_namespaces = set()
    await world.reconcile()
    assert world.status["topic"]["origin"] == "Adopted"


@pytest.mark.parametrize("error", [KubeRefused("sharedlogkvs is forbidden"), KubeUnavailable("try later")])
async def test_a_resource_that_is_not_bound_says_why_the_others_can_t_be_listed(error: Exception) -> None:
    world = World(interfere=failing("list_resources", error))
    world.create()
    result = await world.reconcile()
    assert result.backs_off
    topic = world.condition("TopicReady")
    assert (topic.truth, topic.reason, topic.message) == (Truth.UNKNOWN, "KubeUnavailable", str(error))
    assert world.condition("Ready").reason == "KubeUnavailable"
    assert world.kafka.topics == {}


async def test_a_secret_that_can_t_be_read_now_keeps_no_other_change_of_the_spec_back() -> None:
    world = World()
    put_secrets(world)
    world.create(spec=LOGIN)
    await world.reconcile()
    set_interference(world, failing("get_secret", KubeUnavailable("try later")))
    world.kube.change_spec("demo", "store", replicas=4)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 4
    assert world.condition("TopicReady").reason == "KubeUnavailable"


async def test_a_resource_that_can_t_be_read_does_not_hold_its_deletion_up_for_ever() -> None:
    world = await settled(spec=DELETE)
    world.body["spec"]["writeMode"] = "OfALaterVersion"
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert not world.is_gone()
    world.wait(121)
    await world.reconcile()
    assert world.is_gone()
    assert "TopicKept" in world.event_reasons


async def test_brokers_that_do_not_show_the_topic_are_not_rolled_out_to_the_replicas() -> None:
    world = await settled()
    set_interference(world, failing("describe_topic", KafkaUnavailable("no answer from mistyped:9092")))
    world.kube.change_spec("demo", "store", kafka={"bootstrapServers": "mistyped:9092"}, replicas=4)
    await world.reconcile()
    assert world.deployment is not None
    assert world.deployment["spec"]["replicas"] == 4
    assert "mistyped" not in str(world.deployment["spec"])
    set_interference(world, lambda _: None)
    await world.reconcile()
    assert "kafka://mistyped:9092/demo.store" in str(world.deployment["spec"])


async def test_a_resource_held_by_somebody_else_s_finalizer_says_so() -> None:
    world = await settled(metadata={"finalizers": ["other"]})
    world.kube.delete("demo", "store")
    await world.reconcile()
    assert world.condition("Ready").message == "waiting for other finalizers"
    assert world.body["metadata"]["finalizers"] == ["other"]


async def test_a_child_of_somebody_else_is_not_taken_over() -> None:
    world = World()
    foreign = {
        "kind": "Service",
        "metadata": {"namespace": "demo", "name": "store", "uid": "x", "generation": 1, "resourceVersion": "1"},
        "spec": {},
    }
    world.kube.children["Service", "demo", "store"] = foreign
    world.create()
    await world.reconcile()
    assert world.condition("Stalled").reason == "ChildConflict"
    assert "Service store exists and belongs to somebody else" in world.condition("Ready").message
    assert list(world.kube.children) == [("Service", "demo", "store")]
    assert world.kube.children["Service", "demo", "store"] == foreign


async def test_children_of_the_former_resource_of_that_name_are_waited_for() -> None:
    world = await settled()
    world.kube.resources.clear()  # deleted, and its children not collected yet
    world.create(metadata={"uid": "the-next"})
    result = await world.reconcile()
    assert world.condition("Ready").reason == "ChildTerminating"
    assert world.condition("Stalled").truth is Truth.FALSE
    assert result.after_seconds == 5
    world.kube.children.clear()
    await world.reconcile()
    assert world.deployment is not None
    assert world.kafka.created == 1


async def test_what_the_api_server_says_about_a_child_is_in_the_status() -> None:
    world = World(interfere=failing("apply_child", KubeRefused("exceeded quota: small")))
    world.create()
    assert (await world.reconcile()).backs_off
    stalled = world.condition("Stalled")
    assert (stalled.reason, stalled.message) == ("ChildRefused", "exceeded quota: small")
    assert world.status["topic"]["id"] == "id-1"


async def test_an_api_server_that_stumbles_over_a_child_is_tried_again() -> None:
    world = World(interfere=failing("apply_child", KubeUnavailable("try later")))
    world.create()
    assert (await world.reconcile()).backs_off
    assert world.condition("Ready").reason == "KubeUnavailable"


async def test_the_largest_lag_of_the_ready_replicas_is_shown() -> None:
    world = await settled()
    for index, (is_ready, lag) in enumerate([(True, 0.4), (True, 7.9), (False, 99.0)]):
        world.add_pod(f"store-7d9f-{index}", ip=f"10.0.0.{index}", is_ready=is_ready)
        world.replicas.statuses[f"10.0.0.{index}"] = ReplicaStatus(is_ready, "Serving", "", lag)
    await world.reconcile()
    assert world.status["lagSeconds"] == 7


async def test_why_a_replica_is_not_ready_is_told_in_its_own_words() -> None:
    world = await settled()
    assert world.deployment is not None
    world.deployment["status"]["availableReplicas"] = 2
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=False)
    world.add_pod("store-7d9f-2", ip="10.0.0.2", is_ready=False)
    world.replicas.statuses["10.0.0.1"] = ReplicaStatus(False, "LogUnavailable", "no broker answers", 0.0)
    result = await world.reconcile()
    message = world.condition("Ready").message
    assert message.startswith("2 of 3 replicas serve; LogUnavailable: no broker answers; ")
    assert "nobody is there" in message
    assert result.after_seconds == 5


async def test_a_ready_replica_that_does_not_tell_its_status_is_no_trouble() -> None:
    world = await settled()
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE
    assert "lagSeconds" not in world.status


async def test_a_spec_that_can_t_be_read_is_told_and_the_pin_is_kept() -> None:
    world = await settled()
    world.body["spec"]["writeMode"] = "OfALaterVersion"
    await world.reconcile()
    assert world.condition("Stalled").reason == "SpecInvalid"
    assert world.status["topic"]["id"] == "id-1"


async def test_a_bug_is_shown_in_the_status_and_the_pin_is_kept() -> None:
    world = await settled()
    await world.reconciler.report_bug("demo", "store", ZeroDivisionError("division by zero"))
    stalled = world.condition("Stalled")
    assert stalled.reason == "InternalError"
    assert "ZeroDivisionError: division by zero" in stalled.message
    assert world.status["topic"]["id"] == "id-1"
    assert world.status["readyReplicas"] == 3
    await world.reconcile()
    assert world.condition("Ready").truth is Truth.TRUE


async def test_a_bug_over_a_resource_that_is_gone_is_shown_nowhere() -> None:
    world = World()
    await world.reconciler.report_bug("demo", "store", ZeroDivisionError())
    assert world.take_writes() == []


async def test_the_secret_of_the_peers_is_made_once_before_the_pods_that_need_it_and_never_changed() -> None:
    world = await settled(spec=LEADER)
    writes = world.take_writes()
    first = world.peer_secret
    assert first is not None
    world.kube.change_spec("demo", "store", replicas=4)
    await world.reconcile()
    assert world.peer_secret == first
    assert "create_child" not in writes


async def test_a_secret_of_the_peers_that_was_deleted_is_made_anew_and_rolls_no_pod() -> None:
    world = await settled(spec=LEADER)
    first, generation = world.peer_secret, world.deployment["metadata"]["generation"]  # type: ignore[index]  # it is there
    del world.kube.children["Secret", "demo", "store-peers"]
    await world.reconcile()
    assert world.peer_secret not in (None, first)
    assert world.deployment is not None
    assert world.deployment["metadata"]["generation"] == generation


async def test_a_secret_of_the_peers_that_was_emptied_is_filled_again() -> None:
    world = await settled(spec=LEADER)
    world.kube.children["Secret", "demo", "store-peers"]["data"] = {}
    await world.reconcile()
    assert world.peer_secret is not None


async def test_a_secret_of_somebody_else_is_not_taken_over() -> None:
    world = World()
    metadata = {"namespace": "demo", "name": "store-peers", "uid": "x", "generation": 1, "resourceVersion": "1"}
    world.kube.children["Secret", "demo", "store-peers"] = {"kind": "Secret", "metadata": metadata}
    world.create(spec=LEADER)
    await world.reconcile()
    assert world.condition("Stalled").reason == "ChildConflict"
    assert "Secret store-peers exists" in world.condition("Ready").message


async def test_without_a_leader_to_be_there_is_no_secret() -> None:
    world = await settled()
    assert world.peer_secret is None


def tell_leader(world: World, leader: str | None) -> None:
    """Has every replica say that this one leads."""
    for pod in world.kube.pods:
        report = LeaderReport(pod["metadata"]["name"] == leader, leader, 7 if leader else None, "")
        world.replicas.statuses[pod["status"]["podIP"]] = ReplicaStatus(True, "Serving", "", 0.0, leadership=report)


async def test_the_leader_that_replicas_tell_of_is_shown_and_its_pod_is_to_go_last() -> None:
    world = await settled(spec=LEADER)
    for index in range(3):
        world.add_pod(f"store-7d9f-{index}", ip=f"10.0.0.{index}", is_ready=True)
    tell_leader(world, None)
    await world.reconcile()
    assert world.condition("Ready").reason == "NoLeader"
    tell_leader(world, "store-7d9f-1")
    await world.reconcile()
    assert world.status["leader"] == {"name": "store-7d9f-1", "term": 7}
    assert world.condition("Ready").truth is Truth.TRUE
    costs = [pod["metadata"].get("annotations", {}).get(DELETION_COST) for pod in world.kube.pods]
    assert costs == [None, "1000", None]
    world.take_writes()
    await world.reconcile()
    assert world.take_writes() == []
    tell_leader(world, "store-7d9f-2")
    await world.reconcile()
    costs = [pod["metadata"].get("annotations", {}).get(DELETION_COST) for pod in world.kube.pods]
    assert costs == [None, None, "1000"]


async def test_a_pod_that_can_t_be_marked_fails_nothing() -> None:
    world = await settled(spec=LEADER)
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    tell_leader(world, "store-7d9f-1")
    set_interference(world, failing("annotate_pod", KubeRefused("forbidden")))
    await world.reconcile()
    assert world.condition("LeaderElected").truth is Truth.TRUE


async def test_a_write_mode_is_changed_by_way_of_read_only_and_with_no_writer_of_the_former_left() -> None:
    world = await settled()
    world.add_pod("store-7d9f-1", ip="10.0.0.1", is_ready=True)
    world.kube.change_spec("demo", "store", writeMode="Leader")
    await world.reconcile()
    assert world.write_mode == "ReadOnly"
    assert world.condition("Reconciling").reason == "WriteModeChanging"
    world.serve()
    await world.reconcile()
    assert world.write_mode == "ReadOnly", "a pod of the former mode is there still"
    world.kube.pods.clear()
    await world.reconcile()
    assert world.write_mode == "Leader"
    assert world.peer_secret is not None
    assert world.condition("Ready").reason == "RollingOut"


async def test_events_that_can_t_be_posted_fail_nothing() -> None:
    world = World(interfere=failing("post_event", KubeRefused("the namespace is being terminated")))
    world.create()
    await world.reconcile()
    assert world.deployment is not None
    assert world.event_reasons == []


@pytest.mark.parametrize("call", ["write_status", "write_finalizers"])
async def test_a_resource_that_vanishes_during_a_pass_ends_it_quietly(call: str) -> None:
    world = World()
    world.create(spec=DELETE)

    def vanish(moment: str) -> None:
        if moment == f"before {call}":
            world.kube.resources.clear()

    set_interference(world, vanish)
    await world.reconcile()
    assert world.is_gone()
    if call == "write_finalizers":
        assert world.kafka.topics == {}
