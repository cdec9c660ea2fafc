"""Parsing a SharedLogKV: dicts from the API stop here."""

import pytest

from sharedlogkv_operator.errors import SpecInvalid
from sharedlogkv_operator.resource_parser import build_pinned, parse_resource
from sharedlogkv_operator.spec import Consistency, PinnedTopic, ReadsSpec, WriteMode
from tests.support.operator_objects import Manifest, build_resource, build_resource_body


def test_a_resource_as_the_api_server_gives_it_is_parsed() -> None:
    resource = build_resource(
        spec={
            "topic": {"config": {"segment.ms": "60000"}, "reclaimPolicy": "Delete", "allowDataLoss": True},
            "writeMode": "ReadOnly",
            "leader": {"leaseSeconds": 5},
            "reads": {"defaultConsistency": "Bounded", "maxLagMs": 250},
        },
        metadata={
            "deletionTimestamp": "2026-01-02T03:04:05Z",
            "finalizers": ["a", "b"],
            "annotations": {"sharedlog.dev/transfer-leader": "store-1", "other": "x"},
        },
        status={"topic": {"name": "demo.store", "id": "abc"}},
    )
    assert resource.spec.write_mode is WriteMode.READ_ONLY
    assert resource.spec.lease_seconds == 5
    assert resource.spec.reads == ReadsSpec(Consistency.BOUNDED, 250)
    assert resource.annotations == {"sharedlog.dev/transfer-leader": "store-1"}
    assert resource.spec.topic.is_reclaimed
    assert resource.spec.topic.config == {"segment.ms": "60000"}
    assert resource.pinned == PinnedTopic("demo.store", "abc", is_created=False)
    assert resource.identity.finalizers == ("a", "b")
    assert resource.identity.deletion_time is not None
    assert resource.identity.deletion_time.isoformat() == "2026-01-02T03:04:05+00:00"


def test_the_topic_is_named_after_namespace_and_name_unless_the_spec_names_it() -> None:
    assert build_resource().spec.topic.name == "demo.store"
    assert build_resource(spec={"topic": {"name": "other"}}).spec.topic.name == "other"


@pytest.mark.parametrize("is_created", [True, False])
def test_how_a_resource_came_by_its_topic_is_read_back(is_created: bool) -> None:
    pinned = PinnedTopic("demo.store", "abc", is_created=is_created)
    assert build_resource(status={"topic": build_pinned(pinned)}).pinned == pinned


@pytest.mark.parametrize(("policy", "allowed"), [("Delete", False), ("Retain", True)])
def test_a_topic_goes_with_its_resource_only_where_both_fields_say_so(policy: str, allowed: bool) -> None:
    topic = build_resource(spec={"topic": {"reclaimPolicy": policy, "allowDataLoss": allowed}}).spec.topic
    assert not topic.is_reclaimed


def test_no_topology_constraints_are_told_from_an_empty_list() -> None:
    assert build_resource().spec.pod_template.topology_spread_constraints is None
    empty = build_resource(spec={"podTemplate": {"topologySpreadConstraints": []}})
    assert empty.spec.pod_template.topology_spread_constraints == []


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"replicas": "three"}, "is no integer"),
        ({"replicas": True}, "is no integer"),
        ({"writeMode": "Anarchy"}, "is not a valid WriteMode"),
        ({"kafka": {}}, "lacks the field 'bootstrapServers'"),
        ({"kafka": []}, "is no object"),
        ({"topic": {"reclaimPolicy": "Delete", "allowDataLoss": "yes"}}, "is neither true nor false"),
        ({"topic": {"config": {"segment.ms": 1}}}, "is no string"),
        ({"podTemplate": {"topologySpreadConstraints": "none"}}, "is no list"),
    ],
)
def test_what_the_crd_would_have_refused_is_told_as_such(spec: Manifest, complaint: str) -> None:
    with pytest.raises(SpecInvalid, match=complaint):
        parse_resource(build_resource_body(spec=spec))


def test_an_object_without_metadata_is_told_as_such() -> None:
    with pytest.raises(SpecInvalid, match="lacks the field 'metadata'"):
        parse_resource({})
