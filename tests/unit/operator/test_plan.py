"""What is done about children: the rules of `plan.plan_children`, and the comparison behind them."""

import copy

import pytest

from sharedlogkv_operator.desired import build_deployment
from sharedlogkv_operator.plan import ApplyChild, Child, CreateChild, DeleteChild, ForeignChild, covers, plan_children
from tests.support.operator_objects import Manifest, build_resource

RESOURCE = build_resource()
WANTED: Manifest = build_deployment(RESOURCE, topic_id="t", default_image="i")


def live(**metadata: object) -> Manifest:
    """The Deployment as the API server would return it: with fields of others beside ours."""
    manifest = copy.deepcopy(WANTED)
    manifest["metadata"] |= {"uid": "child-1", "resourceVersion": "5", **metadata}
    manifest["spec"]["progressDeadlineSeconds"] = 600
    manifest["status"] = {"replicas": 3}
    return manifest


def plan(child: Manifest | None, wanted: Manifest | None = WANTED) -> object:
    return plan_children(RESOURCE.identity, [Child("Deployment", wanted, child)])


def test_a_missing_child_is_applied() -> None:
    assert plan(None) == (ApplyChild(WANTED),)


def test_a_child_that_is_as_wanted_is_left_alone() -> None:
    assert plan(live()) == ()


def test_a_field_of_ours_that_somebody_changed_is_applied_again() -> None:
    child = live()
    child["spec"]["replicas"] = 9
    assert plan(child) == (ApplyChild(WANTED),)


def test_a_field_that_is_no_longer_wanted_is_seen_by_the_digest() -> None:
    before = build_deployment(
        build_resource(spec={"podTemplate": {"labels": {"team": "a"}}}), topic_id="t", default_image="i"
    )
    child = copy.deepcopy(before)
    child["metadata"]["uid"] = "child-1"  # type: ignore[index]  # a manifest's values are opaque
    assert plan(child) == (ApplyChild(WANTED),)


def test_what_others_add_is_left_alone() -> None:
    child = live()
    child["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"
    child["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
    assert plan(child) == ()


def test_a_child_that_is_no_longer_wanted_is_deleted_by_its_uid() -> None:
    assert plan(live(), wanted=None) == (DeleteChild("Deployment", uid="child-1"),)
    assert plan(None, wanted=None) == ()


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"ownerReferences": []}, "a SharedLogKV that no longer exists"),
        ({"ownerReferences": [], "labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"ownerReferences": [], "labels": {}}, "somebody else"),
        ({"ownerReferences": [{"uid": "x", "kind": "Rollout", "name": "r", "controller": True}]}, "Rollout r"),
    ],
)
def test_a_child_that_is_not_ours_is_refused_and_its_owner_named(metadata: Manifest, owner: str) -> None:
    assert plan(live(**metadata)) == ForeignChild("Deployment", "store", owner, leftover=False)


def test_a_foreign_object_that_we_want_nothing_of_is_ignored() -> None:
    assert plan(live(ownerReferences=[]), wanted=None) == ()


def test_a_child_of_a_deleted_resource_of_this_name_is_a_leftover() -> None:
    reference = {**WANTED["metadata"]["ownerReferences"][0], "uid": "the-former"}
    found = plan(live(ownerReferences=[reference]))
    assert isinstance(found, ForeignChild)
    assert found.leftover


def test_what_can_t_be_made_again_is_created_or_written_over_what_was_seen_and_over_nothing_else() -> None:
    def plan_secret(secret: Manifest | None) -> object:
        return plan_children(RESOURCE.identity, [Child("Secret", WANTED, secret, irreplaceable=True)])

    assert plan_secret(None) == (CreateChild(WANTED),)
    assert plan_secret(live()) == ()
    child = live()
    del child["metadata"]["labels"]
    pinned = {**WANTED, "metadata": {**WANTED["metadata"], "resourceVersion": "5"}}
    assert plan_secret(child) == (ApplyChild(pinned),)


def test_a_foreign_child_forbids_every_action() -> None:
    children = [Child("Service", WANTED, None), Child("Deployment", WANTED, live(ownerReferences=[]))]
    assert isinstance(plan_children(RESOURCE.identity, children), ForeignChild)


@pytest.mark.parametrize(
    ("actual", "wanted"),
    [("1", 1), ("100m", "0.1"), ("1Gi", "1024Mi"), ("1k", "1000"), ("1M", "1e6"), ("500u", "0.5m")],
)
def test_the_same_amount_in_another_notation_is_the_same(actual: str, wanted: object) -> None:
    assert covers({"resources": {"requests": {"x": actual}}}, {"resources": {"requests": {"x": wanted}}})


@pytest.mark.parametrize(("actual", "wanted"), [("1", 2), ("1Gi", "1G"), ("1", "x"), ("x", "y"), ("1.2.3", "1.2.4")])
def test_another_amount_is_another(actual: str, wanted: object) -> None:
    assert not covers({"resources": {"requests": {"x": actual}}}, {"resources": {"requests": {"x": wanted}}})


def test_only_resources_are_compared_as_amounts() -> None:
    assert not covers({"labels": {"version": "1"}}, {"labels": {"version": "1.0"}})


@pytest.mark.parametrize("empty", ["", [], {}])
def test_what_is_wanted_empty_may_be_absent(empty: object) -> None:
    assert covers({}, {"a": empty})
    assert not covers({"a": "b"}, {"a": empty})
    assert not covers({}, {"a": 0})


def test_a_longer_list_is_another_list() -> None:
    assert not covers({"a": [1, 2]}, {"a": [1]})
    assert not covers({"a": {"b": 1}}, {"a": [1]})
    assert not covers({"a": 1}, {"a": {"b": 1}})
