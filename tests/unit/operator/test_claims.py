"""Whose a topic is when several resources name it: the rules of `claims`."""

from typing import Any

import pytest

from sharedlogkv_operator.claims import Claimant, Writer, find_rival, find_sharer, find_writer, parse_claimants
from sharedlogkv_operator.desired import build_deployment
from tests.support.operator_objects import build_resource_body

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def claimant(
    name: str, *, created: str = EARLY, bound: str | None = None, topic: str = "shared", **spec: Any
) -> Claimant:
    status = {} if bound is None else {"status": {"topic": {"name": topic, "id": bound, "origin": "Created"}}}
    body = build_resource_body(
        spec={"topic": {"name": topic}, **spec},
        metadata={"name": name, "uid": f"uid-{name}", "creationTimestamp": created},
        **status,
    )
    (found,) = parse_claimants([body])
    return found


def rival(own: Claimant, *others: Claimant, topic_id: str | None = None) -> str | None:
    found = find_rival(own.resource, [own, *others], topic_id=topic_id)
    return None if found is None else found.title


def test_a_topic_that_nobody_else_names_is_free() -> None:
    assert rival(claimant("a"), claimant("b", topic="other")) is None


def test_of_two_that_are_bound_to_nothing_the_older_one_has_the_topic() -> None:
    old, new = claimant("old"), claimant("new", created=LATE)
    assert rival(new, old) == "demo/old"
    assert rival(old, new) is None


def test_of_two_of_the_same_second_exactly_one_has_it() -> None:
    a, b = claimant("a"), claimant("b")
    assert (rival(a, b), rival(b, a)) == (None, "demo/a")


def test_whoever_is_bound_goes_before_an_older_one_that_is_not() -> None:
    old, bound = claimant("old"), claimant("bound", created=LATE, bound="id-1")
    assert rival(old, bound, topic_id="id-1") == "demo/bound"


def test_whoever_lost_the_topic_of_that_name_still_goes_first() -> None:
    assert rival(claimant("old"), claimant("loser", created=LATE, bound="id-1")) == "demo/loser"


def test_the_same_topic_under_other_addresses_is_known_by_its_id() -> None:
    elsewhere: dict[str, Any] = {"kafka": {"bootstrapServers": "kafka.other-name:9092"}}
    bound = claimant("bound", created=LATE, bound="id-1", **elsewhere)
    assert rival(claimant("a"), bound, topic_id="id-1") == "demo/bound"
    assert rival(claimant("a"), bound, topic_id="id-2") is None, "a topic of that name in another Kafka"


def test_one_broker_that_both_name_makes_it_the_same_kafka() -> None:
    new = claimant("new", created=LATE, kafka={"bootstrapServers": "k2:9092,k1:9092"})
    assert rival(new, claimant("old", kafka={"bootstrapServers": "k1:9092"})) == "demo/old"
    assert rival(new, claimant("old", kafka={"bootstrapServers": "k3:9092"})) is None


def test_those_that_only_read_share_every_topic() -> None:
    writer, reader = claimant("writer", created=LATE), claimant("reader", bound="id-1", writeMode="ReadOnly")
    assert rival(writer, reader, topic_id="id-1") is None
    assert rival(reader, writer) is None


def test_a_resource_that_can_t_be_read_claims_nothing() -> None:
    body = build_resource_body(spec={"writeMode": "OfALaterVersion"})
    assert parse_claimants([body, {}]) == ()


@pytest.mark.parametrize(("bound", "expected"), [("id-1", True), ("id-2", False), (None, False)])
def test_whoever_else_is_bound_to_the_topic_is_found_also_if_it_only_reads(bound: str | None, expected: bool) -> None:
    own, other = claimant("own", bound="id-1"), claimant("other", bound=bound, writeMode="ReadOnly")
    assert (find_sharer(own.resource, [own, other]) is not None) == expected


def pod(owner: Claimant, *, phase: str = "Running", **metadata: str) -> dict[str, Any]:
    """A pod of the resource, on the topic with the id `id-1`."""
    deployment: dict[str, Any] = build_deployment(owner.resource, topic_id="id-1", default_image="i")
    template = deployment["spec"]["template"]
    named = {"namespace": "demo", "name": f"{owner.resource.identity.name}-1", **metadata}
    return {"metadata": template["metadata"] | named, "spec": template["spec"], "status": {"phase": phase}}


def writer(own: Claimant, *pods: dict[str, Any], topic_id: str = "id-1") -> Writer | None:
    return find_writer(own.resource, pods, topic_id=topic_id)


@pytest.mark.parametrize("mode", ["Leader", "Leaderless"])
def test_a_pod_that_outlives_its_resource_may_write_until_it_has_ended(mode: str) -> None:
    own, gone = claimant("own"), claimant("gone", writeMode=mode)
    expected = Writer("demo/gone-1", "demo/gone")
    assert writer(own, pod(gone)) == expected
    assert writer(own, pod(gone, deletionTimestamp=LATE)) == expected
    assert writer(own, pod(gone, phase="Succeeded"), pod(gone, phase="Failed")) is None


def test_no_other_pod_may_write_to_the_topic() -> None:
    own, other = claimant("own"), claimant("other")
    assert writer(own, pod(own)) is None, "its own"
    assert writer(own, pod(claimant("reader", writeMode="ReadOnly"))) is None
    assert writer(own, pod(other), topic_id="id-2") is None
    assert writer(own, {}, {"metadata": {"namespace": "demo", "name": "stranger"}, "spec": {"containers": []}}) is None


def test_a_pod_of_a_resource_of_the_same_name_elsewhere_is_another_s() -> None:
    own = claimant("own")
    assert writer(own, pod(own, namespace="elsewhere")) == Writer("elsewhere/own-1", "elsewhere/own")
