"""How many lists of resources it takes to bind them to their topics, and when an old one must not be relied upon."""

import asyncio
from typing import Any

import pytest

from sharedlogkv_operator.claim_register import AGE_SECONDS, ClaimRegister
from sharedlogkv_operator.errors import KafkaBusy, KubeRefused
from sharedlogkv_operator.resource_parser import parse_resource
from sharedlogkv_operator.spec import Resource
from tests.support.operator_fakes import FakeKube
from tests.support.operator_objects import build_resource_body
from tests.support.virtual_time import run

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def create(kube: FakeKube, name: str, *, topic: str = "", created: str = EARLY, **changes: Any) -> Resource:
    body = build_resource_body(
        spec={"topic": {"name": topic or name}, **changes},
        metadata={"name": name, "uid": f"uid-{name}", "creationTimestamp": created},
    )
    kube.put(body)
    return parse_resource(body)


def bind(kube: FakeKube, name: str, *, id_: str) -> None:
    """Writes into the status of a resource which topic it is bound to."""
    body = kube.resources["demo", name]
    body["status"] = {"topic": {"name": body["spec"]["topic"]["name"], "id": id_, "origin": "Created"}}


async def find(register: ClaimRegister, resource: Resource, topic_id: str | None = None) -> str | None:
    found = await register.find_rival(resource, topic_id=topic_id)
    return None if found is None else found.title


@pytest.mark.asyncio
async def test_many_resources_are_bound_by_one_list() -> None:
    kube = FakeKube()
    resources = [create(kube, f"store-{number}") for number in range(50)]
    register = ClaimRegister(kube)
    for resource in resources:
        with register.bind_alone(resource):
            assert await find(register, resource) is None
    assert kube.calls.count("list_resources") == 1


@pytest.mark.asyncio
async def test_those_who_ask_at_once_share_a_list() -> None:
    kube = FakeKube()
    resources = [create(kube, f"store-{number}") for number in range(8)]
    register = ClaimRegister(kube)
    assert await asyncio.gather(*(find(register, resource) for resource in resources)) == [None] * 8
    assert kube.calls.count("list_resources") == 1


@pytest.mark.asyncio
async def test_a_resource_that_the_list_does_not_show_yet_has_another_one_made() -> None:
    kube = FakeKube()
    register = ClaimRegister(kube)
    await find(register, create(kube, "first"))
    create(kube, "older", topic="shared", created=EARLY)
    newer = create(kube, "newer", topic="shared", created=LATE)
    assert await find(register, newer) == "demo/older"


@pytest.mark.asyncio
async def test_a_resource_that_names_another_topic_since_the_list_has_another_one_made() -> None:
    kube = FakeKube()
    register = ClaimRegister(kube)
    changed = create(kube, "changed", created=LATE)
    await find(register, changed)
    create(kube, "older", topic="shared")
    kube.change_spec("demo", "changed", topic={**kube.resources["demo", "changed"]["spec"]["topic"], "name": "shared"})
    assert await find(register, parse_resource(kube.resources["demo", "changed"])) == "demo/older"


@pytest.mark.asyncio
async def test_a_list_from_before_another_one_s_turn_at_the_topic_is_not_relied_upon() -> None:
    kube = FakeKube()
    older, newer = create(kube, "older", topic="shared"), create(kube, "newer", topic="shared", created=LATE)
    register = ClaimRegister(kube)
    await find(register, create(kube, "unconcerned"))
    with register.bind_alone(newer):
        bind(kube, "newer", id_="id-1")  # by whatever right: it is there
    assert await find(register, older, "id-1") == "demo/newer"


@pytest.mark.asyncio
async def test_one_s_own_former_turn_calls_for_no_other_list() -> None:
    kube = FakeKube()
    resource = create(kube, "store")
    register = ClaimRegister(kube)
    for _ in range(5):  # as when the topic can't be created
        with register.bind_alone(resource):
            await find(register, resource)
    assert kube.calls.count("list_resources") == 1


def test_an_old_list_is_not_relied_upon() -> None:
    async def ask_twice() -> list[str | None]:
        kube = FakeKube()
        resource = create(kube, "store", topic="shared")
        create(kube, "restored", topic="shared", created=LATE)
        register = ClaimRegister(kube)
        answers = [await find(register, resource, "id-1")]
        bind(kube, "restored", id_="id-1")
        await asyncio.sleep(AGE_SECONDS + 1)
        return [*answers, await find(register, resource, "id-1")]

    assert run(ask_twice()) == [None, "demo/restored"]


@pytest.mark.asyncio
async def test_a_rival_is_believed_only_from_a_list_made_for_the_question() -> None:
    kube = FakeKube()
    create(kube, "older", topic="shared")
    newer = create(kube, "newer", topic="shared", created=LATE)
    register = ClaimRegister(kube)
    assert await find(register, newer) == "demo/older"
    kube.delete("demo", "older")
    assert await find(register, newer) is None


@pytest.mark.asyncio
async def test_a_topic_that_is_there_is_bound_to_nobody_while_a_namespace_can_t_be_seen() -> None:
    kube = FakeKube()
    kube.refusing_namespaces = {"others"}
    resource = create(kube, "store")
    register = ClaimRegister(kube)
    assert await find(register, resource) is None, "one that is yet to be created is nobody's"
    with pytest.raises(KubeRefused, match="others"):
        await find(register, resource, "id-1")
    kube.refusing_namespaces = set()
    assert await find(register, resource, "id-1") is None


@pytest.mark.asyncio
async def test_who_writes_nothing_has_no_rival_and_needs_no_list() -> None:
    kube = FakeKube()
    register = ClaimRegister(kube)
    create(kube, "writer", topic="shared")
    assert await find(register, create(kube, "reader", topic="shared", writeMode="ReadOnly"), "id-1") is None
    assert kube.calls == []


@pytest.mark.asyncio
async def test_two_are_not_bound_to_a_topic_of_one_name_at_a_time() -> None:
    kube = FakeKube()
    one, other = create(kube, "one", topic="shared"), create(kube, "other", topic="shared")
    register = ClaimRegister(kube)
    with register.bind_alone(one), pytest.raises(KafkaBusy), register.bind_alone(other):
        pass
    with register.bind_alone(other):
        pass


@pytest.mark.asyncio
async def test_who_shares_a_topic_is_told_by_a_list_made_for_the_question_and_by_a_whole_one() -> None:
    kube = FakeKube()
    create(kube, "store", topic="shared")
    create(kube, "reader", topic="shared", writeMode="ReadOnly")
    bind(kube, "store", id_="id-1")
    register = ClaimRegister(kube)
    store = parse_resource(kube.resources["demo", "store"])
    assert await register.find_sharer(store) is None
    bind(kube, "reader", id_="id-1")
    found = await register.find_sharer(store)
    assert found is not None
    assert found.title == "demo/reader"
    kube.refusing_namespaces = {"others"}
    with pytest.raises(KubeRefused):
        await register.find_sharer(store)
