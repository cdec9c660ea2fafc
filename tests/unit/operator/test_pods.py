"""Reading Deployments and Pods: how far they are, and why no further."""

from typing import Any

import pytest

from sharedlogkv_operator.pods import DeploymentView, PodView, view_deployment, view_pods

Manifest = dict[str, Any]


def pod(name: str = "store-7d9f-abcde", *, owner: str = "store-7d9f", **status: Any) -> Manifest:
    references = [{"kind": "ReplicaSet", "name": owner}]
    return {"metadata": {"name": name, "ownerReferences": references}, "status": status}


def view(**status: Any) -> PodView:
    (found,) = view_pods([pod(**status)], deployment_name="store")
    return found


def waiting(reason: str, message: str = "", **container: Any) -> Manifest:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}, **container}]}


def test_a_running_ready_pod_has_an_address_and_no_trouble() -> None:
    status = {
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"state": {"running": {}}}],
    }
    assert view(**status) == PodView("store-7d9f-abcde", "10.0.0.1", is_ready=True, trouble="")


def test_how_late_a_pod_should_go_is_read_from_its_annotation() -> None:
    found = pod()
    found["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": "7"}
    assert view_pods([found], deployment_name="store")[0].deletion_cost == "7"


def test_a_pod_without_a_status_is_just_not_ready() -> None:
    assert view() == PodView("store-7d9f-abcde", None, is_ready=False, trouble="")


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (waiting("ImagePullBackOff", 'Back-off pulling image "x"'), 'ImagePullBackOff: Back-off pulling image "x"'),
        (waiting("CreateContainerConfigError"), "CreateContainerConfigError"),
        (waiting("ContainerCreating"), ""),
        (
            waiting("CrashLoopBackOff", "back-off", lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}}),
            "CrashLoopBackOff: back-off (it ended with OOMKilled, exit status 137)",
        ),
        (
            {"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 2}}}]},
            "the replica ended with Error, exit status 2",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are\n available",
                    }
                ]
            },
            "Unschedulable: 0/3 nodes are available",
        ),
    ],
)
def test_what_keeps_a_pod_from_running_is_told(status: Manifest, trouble: str) -> None:
    assert view(**status).trouble == trouble


def test_a_long_message_is_cut() -> None:
    trouble = view(**waiting("ErrImagePull", "x" * 1000)).trouble
    assert len(trouble) == 300
    assert trouble.endswith("...")


def test_pods_of_others_and_pods_on_their_way_out_are_not_looked_at() -> None:
    going = pod("store-7d9f-going")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = [
        pod("store-7d9f-b"),
        pod("store-7d9f-a"),
        pod("other-1", owner="store-two-7d9f"),
        pod("evicted", phase="Failed"),
        going,
        {"metadata": {"name": "bare"}},
    ]
    assert [found.name for found in view_pods(pods, deployment_name="store")] == ["store-7d9f-a", "store-7d9f-b"]


def test_a_deployment_is_read_with_the_reason_why_it_makes_no_pods() -> None:
    deployment = {
        "metadata": {"generation": 3},
        "status": {
            "observedGeneration": 3,
            "replicas": 4,
            "updatedReplicas": 3,
            "readyReplicas": 2,
            "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "False", "reason": "x", "message": "y"},
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreate",
                    "message": "exceeded quota: small",
                },
            ],
        },
    }
    assert view_deployment(deployment) == DeploymentView(
        is_observed=True,
        replicas=4,
        updated=3,
        ready=2,
        available=1,
        failure="FailedCreate: exceeded quota: small",
    )


def test_a_deployment_that_its_controller_has_not_seen_counts_as_empty() -> None:
    seen = view_deployment({"metadata": {"generation": 1}, "status": {}})
    assert seen == DeploymentView(is_observed=False, replicas=0, updated=0, ready=0, available=0, failure="")
