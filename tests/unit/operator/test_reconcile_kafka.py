"""What a pass makes of a Kafka that does not answer, refuses, or lets us in no more."""

import pytest

from sharedlogkv_operator.errors import KafkaBusy, KafkaRefused, KafkaUnavailable, KubeRefused, KubeUnavailable
from sharedlogkv_operator.reasons import Reason
from sharedlogkv_operator.status import Truth
from tests.support.operator_fakes import BROKER_DEFAULTS
from tests.support.operator_world import World, failing, set_interference, settled

pytestmark = pytest.mark.asyncio

FIT = {
    **BROKER_DEFAULTS,
    "cleanup.policy": "compact",
    "min.insync.replicas": "2",
    "message.timestamp.type": "LogAppendTime",
}
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
