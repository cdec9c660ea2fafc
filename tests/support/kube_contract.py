"""What every `KubeClient` must do: the real one against an API server, and the fake that stands in for it."""

from dataclasses import replace
from typing import Any, Protocol

import pytest

from sharedlogkv_operator.desired import (
    build_deployment,
    build_peer_secret,
    build_pod_disruption_budget,
    build_service,
    parse_peer_secret,
)
from sharedlogkv_operator.errors import KubeRefused, KubeUnavailable
from sharedlogkv_operator.events import Event, build_event
from sharedlogkv_operator.json_fields import JsonObject
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.names import name_peer_secret
from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.scale import is_handed_over, read_replicas
from sharedlogkv_operator.spec import Resource, ScalingMode
from tests.support.operator_world import START

Manifest = dict[str, Any]


class KubeSite(Protocol):
    """A cluster with one namespace in which a SharedLogKV named `store` exists."""

    @property
    def kube(self) -> KubeClient:
        """The client under test."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace."""
        ...

    async def read(self, kind: str, name: str) -> Manifest | None:
        """The object, past the client under test."""
        ...

    async def annotate(self, annotations: dict[str, str]) -> None:
        """Annotates the SharedLogKV."""
        ...

    async def recreate(self) -> None:
        """Deletes the SharedLogKV and creates another of that name."""
        ...


async def get(site: KubeSite) -> Resource:
    body = await site.kube.get_resource(site.namespace, "store")
    assert body is not None
    return parse_resource(body)


async def read(site: KubeSite, kind: str) -> Manifest:
    found = await site.read(kind, "store")
    assert found is not None
    return found


def version(body: Manifest) -> str:
    return str(body["metadata"]["resourceVersion"])


def mark(body: Manifest) -> object:
    """What changes with a write of ours; where there is a generation, controllers may change the version meanwhile."""
    return body["metadata"].get("generation", version(body))


class KubeContract:
    """The tests; a subclass gives the fixture `site`."""

    @pytest.mark.asyncio
    async def test_what_is_not_there_is_none(self, site: KubeSite) -> None:
        assert await site.kube.get_resource(site.namespace, "absent") is None
        assert await site.kube.get_child("Deployment", site.namespace, "store") is None
        assert await site.kube.get_secret(site.namespace, "absent") is None
        await site.kube.delete_child("Deployment", site.namespace, "store", uid="any")

    @pytest.mark.asyncio
    async def test_every_resource_is_listed(self, site: KubeSite) -> None:
        for demands_all in (False, True):
            bodies = await site.kube.list_resources(demands_all=demands_all)
            assert (await get(site)).identity.uid in {parse_resource(body).identity.uid for body in bodies}

    @pytest.mark.asyncio
    async def test_children_are_applied_and_applying_them_again_changes_nothing(self, site: KubeSite) -> None:
        resource = await get(site)
        budget = build_pod_disruption_budget(resource)
        assert budget is not None
        for manifest in (
            build_deployment(resource, topic_id="t", default_image="i"),
            build_service(resource),
            budget,
        ):
            kind = str(manifest["kind"])
            await site.kube.apply_child(manifest)
            first = await read(site, kind)
            await site.kube.apply_child(manifest)
            assert mark(await read(site, kind)) == mark(first)
            child = await site.kube.get_child(kind, site.namespace, "store")
            assert child is not None
            assert child["metadata"]["uid"] == first["metadata"]["uid"]  # type: ignore[index]  # opaque values

    @pytest.mark.asyncio
    async def test_a_count_that_was_handed_over_outlives_manifests_without_one(self, site: KubeSite) -> None:
        """As when `autoscaling.mode` becomes BuiltIn, is scaled, is changed otherwise, and becomes None again."""
        fixed = await get(site)
        autoscaling = replace(fixed.spec.autoscaling, mode=ScalingMode.BUILT_IN)
        scaled = replace(fixed, spec=replace(fixed.spec, autoscaling=autoscaling))

        async def apply(resource: Resource, image: str) -> JsonObject:
            return await site.kube.apply_child(build_deployment(resource, topic_id="t", default_image=image))

        deployment = await apply(fixed, "i:1")
        assert (read_replicas(deployment), is_handed_over(deployment)) == (3, False)
        await site.kube.scale_deployment(deployment, 3)
        handed_over = await apply(scaled, "i:1")
        assert (read_replicas(handed_over), is_handed_over(handed_over)) == (3, True)
        await site.kube.scale_deployment(handed_over, 7)
        changed = await apply(scaled, "i:2")
        assert (read_replicas(changed), is_handed_over(changed)) == (7, True)
        taken_back = await apply(fixed, "i:2")
        assert (read_replicas(taken_back), is_handed_over(taken_back)) == (3, False)

    @pytest.mark.asyncio
    async def test_a_deployment_is_scaled_by_its_uid_alone(self, site: KubeSite) -> None:
        manifest = build_deployment(await get(site), topic_id="t", default_image="i")
        deployment: Any = await site.kube.apply_child(manifest)
        another = {**deployment, "metadata": {**deployment["metadata"], "uid": "another"}}
        with pytest.raises(KubeRefused):
            await site.kube.scale_deployment(another, 5)
        found = await read(site, "Deployment")
        assert found["spec"]["replicas"] == 3

    @pytest.mark.asyncio
    async def test_what_is_created_is_never_written_over_another_one(self, site: KubeSite) -> None:
        resource = await get(site)
        await site.kube.create_child(build_peer_secret(resource, value="a" * 40))
        name = name_peer_secret("store")
        with pytest.raises(KubeUnavailable):
            await site.kube.create_child(build_peer_secret(resource, value="b" * 40))
        found = await site.kube.get_child("Secret", site.namespace, name)
        assert found is not None
        assert parse_peer_secret(found) == "a" * 40

    @pytest.mark.asyncio
    async def test_what_is_applied_over_one_version_is_not_applied_over_another(self, site: KubeSite) -> None:
        resource = await get(site)
        created: Any = await site.kube.create_child(build_peer_secret(resource, value="a" * 40))
        manifest: Manifest = build_peer_secret(resource, value="b" * 40)
        manifest["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]
        assert parse_peer_secret(await site.kube.apply_child(manifest)) == "b" * 40
        with pytest.raises(KubeUnavailable):
            await site.kube.apply_child(manifest)

    @pytest.mark.asyncio
    async def test_a_field_that_is_no_longer_applied_goes(self, site: KubeSite) -> None:
        resource = await get(site)
        manifest: Manifest = build_service(resource)
        manifest["metadata"]["labels"]["extra"] = "x"
        await site.kube.apply_child(manifest)
        assert "extra" in (await read(site, "Service"))["metadata"]["labels"]
        await site.kube.apply_child(build_service(resource))
        assert "extra" not in (await read(site, "Service"))["metadata"]["labels"]

    @pytest.mark.asyncio
    async def test_a_child_is_deleted_by_its_uid_alone(self, site: KubeSite) -> None:
        await site.kube.apply_child(build_service(await get(site)))
        uid = (await read(site, "Service"))["metadata"]["uid"]
        with pytest.raises(KubeUnavailable):
            await site.kube.delete_child("Service", site.namespace, "store", uid="another")
        await site.kube.delete_child("Service", site.namespace, "store", uid=uid)
        assert await site.read("Service", "store") is None

    @pytest.mark.asyncio
    async def test_the_status_is_replaced_as_a_whole(self, site: KubeSite) -> None:
        identity = (await get(site)).identity
        await site.kube.write_status(identity, {"replicas": 1, "lagSeconds": 5})
        written = await site.kube.write_status(identity, {"replicas": 2})
        assert written is not None
        body = await read(site, "SharedLogKV")
        assert written["status"] == body["status"] == {"replicas": 2}
        await site.kube.write_status(identity, {"replicas": 2})
        assert version(await read(site, "SharedLogKV")) == version(body)

    @pytest.mark.asyncio
    async def test_finalizers_are_written_unless_somebody_was_faster(self, site: KubeSite) -> None:
        stale = (await get(site)).identity
        await site.kube.write_status(stale, {"replicas": 1})
        with pytest.raises(KubeUnavailable):
            await site.kube.write_finalizers(stale, ["sharedlog.dev/topic"])
        written = await site.kube.write_finalizers((await get(site)).identity, ["sharedlog.dev/topic"])
        assert written is not None
        assert (await get(site)).identity.finalizers == ("sharedlog.dev/topic",)
        await site.kube.write_finalizers((await get(site)).identity, [])
        assert (await get(site)).identity.finalizers == ()

    @pytest.mark.asyncio
    async def test_what_was_meant_for_a_former_resource_does_not_reach_its_successor(self, site: KubeSite) -> None:
        former = (await get(site)).identity
        await site.recreate()
        with pytest.raises(KubeRefused):
            await site.kube.write_status(former, {"replicas": 1})
        with pytest.raises(KubeUnavailable):
            await site.kube.write_finalizers(former, ["sharedlog.dev/topic"])
        assert "status" not in await read(site, "SharedLogKV")

    @pytest.mark.asyncio
    async def test_an_event_that_comes_again_is_counted(self, site: KubeSite) -> None:
        identity = (await get(site)).identity
        event = build_event(Event(True, "TopicLost", "gone"), identity, now=START, instance="operator-1")
        for _ in range(3):
            await site.kube.post_event(event)
        found = await site.read("Event", event["metadata"]["name"])  # type: ignore[index]  # opaque values
        assert found is not None
        assert (found["count"], found["reason"], found["type"]) == (3, "TopicLost", "Warning")

    @pytest.mark.asyncio
    async def test_pods_are_listed_by_their_labels(self, site: KubeSite) -> None:
        assert list(await site.kube.list_pods(site.namespace, "a=b,c=d")) == []
        assert list(await site.kube.list_pods(None, "a=b,c=d")) == []
        assert list(await site.kube.list_replica_sets(site.namespace, "a=b,c=d")) == []

    @pytest.mark.asyncio
    async def test_a_pod_that_is_gone_takes_no_annotation_and_that_is_no_trouble(self, site: KubeSite) -> None:
        await site.kube.annotate_pod(site.namespace, "absent", {"a": "b", "c": None})

    @pytest.mark.asyncio
    async def test_an_annotation_goes_as_long_as_it_has_the_value_that_was_seen(self, site: KubeSite) -> None:
        await site.annotate({"sharedlog.dev/transfer-leader": "pod-1", "other": "x"})
        identity = (await get(site)).identity
        with pytest.raises(KubeRefused):
            await site.kube.remove_annotation(identity, "sharedlog.dev/transfer-leader", value="pod-2")
        await site.kube.remove_annotation(identity, "sharedlog.dev/transfer-leader", value="pod-1")
        assert (await read(site, "SharedLogKV"))["metadata"]["annotations"] == {"other": "x"}
