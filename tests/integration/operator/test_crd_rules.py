"""The CRD's rules on the real API server: what each accepts, and what it refuses with which words."""

import pytest

from tests.support.cluster import Cluster
from tests.support.crd_specs import (
    FULL_TEMPLATE,
    NODE_TERM,
    Manifest,
    sasl,
    try_create,
    with_kafka,
    with_servers,
    with_template,
    with_topic,
)
from tests.support.environment import Environment
from tests.support.kubernetes import build_store

pytestmark = pytest.mark.asyncio
LONG_NAME = "a" * 52
ACCEPTED: dict[str, Manifest] = {
    "one broker": with_servers("kafka:9092"),
    "three brokers": with_servers("kafka-0.kafka.svc:9092,kafka-1.kafka.svc:9092,10.0.0.1:9093"),
    "the lowest and the highest port": with_servers("a:1,b:9,c:10000,d:59999,e:65535"),
    "brokers at IPv6 addresses": with_servers(
        "[fd00::1]:9092,[::ffff:10.0.0.1]:9092,kafka:9092,[1:2:3:4:5:6:7:8]:9092"
    ),
    "TLS by the system's authorities": with_kafka(tls={}),
    "TLS, with everything from Secrets": with_kafka(
        tls={"caSecretRef": {"name": "ca", "key": "ca.crt"}, "clientCertificateSecretRef": {"name": "my.user"}}
    ),
    "SASL PLAIN within TLS": with_kafka(tls={}, sasl=sasl("PLAIN")),
    "SCRAM without TLS": with_kafka(sasl=sasl("SCRAM-SHA-256")),
    "a user's name with blanks": with_kafka(sasl=sasl("SCRAM-SHA-512", username="CN=a b, O=c")),
    "a topic name": with_topic(name="My_topic.v1-2"),
    "a topic name of 249 characters": with_topic(name="t" * 249),
    "a single copy": with_topic(replicationFactor=1, minInSyncReplicas=1),
    "as many in sync as there are copies": with_topic(replicationFactor=3, minInSyncReplicas=3),
    "topic settings": with_topic(config={"segment.ms": "60000", "compression.type": "zstd"}),
    "the topic deleted with the store": with_topic(reclaimPolicy="Delete", allowDataLoss=True),
    "no topic that was there before": with_topic(adoptionPolicy="Never"),
    "any topic that was there before": with_topic(adoptionPolicy="Always"),
    "a topic that is left as it is": with_topic(driftPolicy="Warn"),
    "a leader": {"writeMode": "Leader"},
    "nobody who leads": {"writeMode": "Leaderless"},
    "read only": {"writeMode": "ReadOnly"},
    "the shortest lease": {"leader": {"leaseSeconds": 2}},
    "the longest lease": {"leader": {"leaseSeconds": 60}},
    "linearizable reads": {"reads": {"defaultConsistency": "Linearizable"}},
    "bounded reads": {"reads": {"defaultConsistency": "Bounded", "maxLagMs": 1}},
    "none for now": {"suspend": True},
    "one replica": {"replicas": 1},
    "a hundred replicas": {"replicas": 100},
    "an image": {"image": "registry.example.com/team/sharedlogkv@sha256:0123456789abcdef"},
    "requests within limits": {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "1024Mi"}}},
    "a resource of none": {"resources": {"requests": {"cpu": 0}}},
    "only limits": {"resources": {"limits": {"cpu": "0.5"}}},
    "everything about pods": {"podTemplate": FULL_TEMPLATE},
    "no topology constraints": with_template(topologySpreadConstraints=[]),
}


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_a_good_spec_is_accepted(cluster: Cluster, environment: Environment, spec: Manifest) -> None:
    status, answer = await try_create(environment, build_store("default", **spec))
    assert status == 201, answer["message"]
    for field, value in spec.items():
        assert includes(answer["spec"][field], value)


def includes(found: object, given: object) -> bool:
    """Whether everything that was given is there still; defaults may have been added."""
    if isinstance(found, dict) and isinstance(given, dict):
        return all(key in found and includes(found[key], value) for key, value in given.items())
    return found == given


REFUSED: dict[str, tuple[Manifest, str]] = {
    "no kafka": ({"kafka": None}, "spec.kafka"),
    "no brokers": ({"kafka": {}}, "spec.kafka.bootstrapServers: Required value"),
    "a broker without a port": (with_servers("kafka"), "should match"),
    "port 0": (with_servers("a:0"), "should match"),
    "port 65536": (with_servers("a:65536"), "should match"),
    "port 99999, of the second broker": (with_servers("a:1,b:99999"), "should match"),
    "a port of six digits": (with_servers("a:655350"), "should match"),
    "an IPv6 address without brackets": (with_servers("fd00::1:9092"), "should match"),
    "a name in brackets": (with_servers("[kafka]:9092"), "should match"),
    "an IPv6 address without a port": (with_servers("[fd00::1]"), "should match"),
    "two brokers without a comma": (with_servers("[::1]:1[::2]:2"), "should match"),
    "a URL for a broker": (with_servers("kafka://kafka:9092"), "should match"),
    "a blank between brokers": (with_servers("a:1, b:1"), "should match"),
    "a comma at the end": (with_servers("a:1,"), "should match"),
    "too many brokers": (with_servers(",".join(["broker.example.com:9092"] * 50)), "Too long"),
    "SASL PLAIN without TLS": (with_kafka(sasl=sasl("PLAIN")), "PLAIN needs tls"),
    "a mechanism that there is not": (with_kafka(tls={}, sasl=sasl("GSSAPI")), "Unsupported value"),
    "SASL without a password": (
        with_kafka(sasl={"mechanism": "SCRAM-SHA-512", "username": "alice"}),
        "passwordSecretRef: Required value",
    ),
    "a password in the open": (
        with_kafka(sasl={**sasl("SCRAM-SHA-512"), "password": "hush"}),
        'unknown field "spec.kafka.sasl.password"',
    ),
    "a Secret without a name": (with_kafka(tls={"caSecretRef": {}}), "caSecretRef.name: Required value"),
    "a Secret of another namespace": (with_kafka(tls={"caSecretRef": {"name": "other/ca"}}), "should match"),
    "a user's name with a line break": (with_kafka(sasl=sasl("SCRAM-SHA-512", username="a\nb")), "should match"),
    "a topic name that Kafka refuses": (with_topic(name="a/b"), "spec.topic.name"),
    "a topic named dot": (with_topic(name="."), 'topic.name may not be "." or ".."'),
    "a topic named two dots": (with_topic(name=".."), 'topic.name may not be "." or ".."'),
    "a topic name of 250 characters": (with_topic(name="t" * 250), "spec.topic.name: Too long"),
    "an empty topic name": (with_topic(name=""), "spec.topic.name"),
    "no copies": (with_topic(replicationFactor=0), "spec.topic.replicationFactor"),
    "more in sync than copies": (
        with_topic(replicationFactor=2, minInSyncReplicas=3),
        "topic.minInSyncReplicas may not exceed topic.replicationFactor",
    ),
    "one copy, but two in sync by default": (
        {"topic": {"replicationFactor": 1}},
        "topic.minInSyncReplicas may not exceed topic.replicationFactor",
    ),
    "cleanup.policy": (with_topic(config={"cleanup.policy": "delete"}), 'cleanup.policy, which is always "compact"'),
    "min.insync.replicas": (with_topic(config={"min.insync.replicas": "1"}), "use topic.minInSyncReplicas"),
    "message.timestamp.type": (
        with_topic(config={"message.timestamp.type": "CreateTime"}),
        'message.timestamp.type, which is always "LogAppendTime"',
    ),
    "unclean.leader.election.enable": (
        with_topic(config={"unclean.leader.election.enable": "true"}),
        "an unclean election loses acknowledged writes",
    ),
    "a setting with a blank": (with_topic(config={"segment ms": "1"}), "no name of a Kafka topic configuration"),
    "a setting that is a number": (with_topic(config={"segment.ms": 1}), "must be of type string"),
    "too many settings": (with_topic(config={f"k{i}": "v" for i in range(65)}), "must have at most 64 items"),
    "the topic deleted with the store, by mistake": (
        with_topic(reclaimPolicy="Delete"),
        "topic.reclaimPolicy Delete needs topic.allowDataLoss true",
    ),
    "another adoption policy": (with_topic(adoptionPolicy="Perhaps"), "spec.topic.adoptionPolicy: Unsupported value"),
    "another drift policy": (with_topic(driftPolicy="Ignore"), "spec.topic.driftPolicy: Unsupported value"),
    "another reclaim policy": (with_topic(reclaimPolicy="Recycle"), "spec.topic.reclaimPolicy: Unsupported value"),
    "read only, and yet the topic is ours": (
        {"writeMode": "ReadOnly", **with_topic(reclaimPolicy="Delete", allowDataLoss=True)},
        "reclaimPolicy Delete excludes writeMode ReadOnly",
    ),
    "another write mode": ({"writeMode": "Anarchy"}, "spec.writeMode: Unsupported value"),
    "a lease that would flap": ({"leader": {"leaseSeconds": 1}}, "deposes it without need"),
    "a lease that nobody could wait out": (
        {"leader": {"leaseSeconds": 61}},
        "leader.leaseSeconds must be from 2 to 60",
    ),
    "half a second of lease": ({"leader": {"leaseSeconds": 2.5}}, "spec.leader.leaseSeconds"),
    "another consistency": ({"reads": {"defaultConsistency": "Strong"}}, "spec.reads.defaultConsistency: Unsupported"),
    "no lag at all": ({"reads": {"maxLagMs": 0}}, "spec.reads.maxLagMs"),
    "no replica": ({"replicas": 0}, "spec.replicas"),
    "too many replicas": ({"replicas": 101}, "spec.replicas"),
    "an image with a blank": ({"image": "a b"}, "spec.image"),
    "an empty image": ({"image": ""}, "spec.image"),
    "a quantity that is none": ({"resources": {"requests": {"cpu": "much"}}}, "spec.resources.requests.cpu"),
    "a negative number": ({"resources": {"requests": {"cpu": -1}}}, "spec.resources.requests.cpu"),
    "a negative quantity": ({"resources": {"limits": {"memory": "-1Gi"}}}, "spec.resources.limits.memory"),
    "requests beyond limits": (
        {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}},
        "resources.requests may not exceed resources.limits",
    ),
    "a label of ours": (
        with_template(labels={"app.kubernetes.io/instance": "x"}),
        "by which the operator finds its pods",
    ),
    "a label under our prefix": (
        with_template(labels={"sharedlog.dev/cluster": "x"}),
        "by which the operator finds its pods",
    ),
    "a label key that is none": (with_template(labels={"a b": "x"}), "a key must be a name"),
    "a label value that is none": (with_template(labels={"a": "x y"}), "spec.podTemplate.labels"),
    "an annotation key that is none": (with_template(annotations={"-a": "x"}), "a key must be a name"),
    "a node selector key that is none": (with_template(nodeSelector={"/a": "x"}), "a key must be a name"),
    "a toleration of anything": (with_template(tolerations=[{"value": "x"}]), "without a key needs operator Exists"),
    "a toleration of existence with a value": (
        with_template(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
        "with operator Exists takes no value",
    ),
    "a toleration for a while of the wrong effect": (
        with_template(tolerations=[{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]),
        "tolerationSeconds needs effect NoExecute",
    ),
    "a toleration by another operator": (with_template(tolerations=[{"key": "a", "operator": "Lt"}]), "operator"),
    "an affinity without a topology key": (
        with_template(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
        "topologyKey: Required value",
    ),
    "an affinity of weight zero": (
        with_template(
            affinity={
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": NODE_TERM}]
                }
            }
        ),
        "weight",
    ),
    "a constraint without a topology key": (
        with_template(topologySpreadConstraints=[{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]),
        "topologyKey: Required value",
    ),
    "a constraint of no skew": (
        with_template(
            topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]
        ),
        "maxSkew",
    ),
    "a pull secret without a name": (with_template(imagePullSecrets=[{}]), "name: Required value"),
    "a field of the pod that is not offered": (with_template(hostNetwork=True), "hostNetwork"),
    "a field that does not exist": ({"replica": 3}, "unknown field"),
}


@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_spec_is_refused_with_the_reason(
    cluster: Cluster, environment: Environment, spec: Manifest, words: str
) -> None:
    status, answer = await try_create(environment, build_store("default", **spec))
    assert status in (400, 422), "it was accepted"
    assert words in answer["message"]


@pytest.mark.parametrize("name", ["a", LONG_NAME, "a-1"])
async def test_a_name_that_a_service_can_bear_is_accepted(
    cluster: Cluster, environment: Environment, name: str
) -> None:
    status, answer = await try_create(environment, build_store("default", name))
    assert status == 201, answer["message"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (LONG_NAME + "a", "at most 52 characters"),
        ("1a", "must begin with a letter"),
        ("a.b", "must begin with a letter"),
    ],
)
async def test_a_name_that_no_service_can_bear_is_refused(
    cluster: Cluster, environment: Environment, name: str, words: str
) -> None:
    status, answer = await try_create(environment, build_store("default", name))
    assert status == 422
    assert words in answer["message"]


@pytest.mark.parametrize(
    ("autoscaling", "words"),
    [
        ({"mode": "Automatic"}, 'supported values: "None", "BuiltIn", "External"'),
        ({"mode": "BuiltIn", "minReplicas": 5, "maxReplicas": 4}, "minReplicas may not exceed autoscaling.maxReplicas"),
        ({"mode": "BuiltIn", "minReplicas": 11}, "minReplicas may not exceed autoscaling.maxReplicas"),
        ({"mode": "BuiltIn", "minReplicas": 0}, "should be greater than or equal to 1"),
        ({"mode": "BuiltIn", "readUtilization": 99}, "should be less than or equal to 95"),
        ({"mode": "BuiltIn", "behavior": {"scaleDown": {"periodSeconds": 0}}}, "greater than or equal to 1"),
    ],
    ids=str,
)
async def test_an_autoscaling_that_can_t_be_meant_is_refused(
    cluster: Cluster, environment: Environment, autoscaling: Manifest, words: str
) -> None:
    manifest = build_store("default")
    manifest["spec"]["autoscaling"] = autoscaling
    status, answer = await try_create(environment, manifest)
    assert status == 422
    assert words in answer["message"]
