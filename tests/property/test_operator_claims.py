"""However stores come and go, whatever fails meanwhile, and from however old a list: a topic has one that writes."""

import asyncio
import contextlib
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from sharedlogkv_operator.errors import KubeUnavailable, OperatorError
from tests.support.operator_objects import build_resource_body
from tests.support.operator_world import World

STORES = st.integers(0, 3)
TOPICS = st.sampled_from(["one", "other"])
STEPS = st.one_of(
    st.tuples(st.just("create"), STORES, TOPICS, st.integers(0, 1)),
    st.tuples(st.just("delete"), STORES),
    st.tuples(st.just("pass"), st.lists(STORES, min_size=1, max_size=4, unique=True)),
)


class Stores:
    """The stores `store-0` to `store-3`, of which some are there, and the operator that looks after them."""

    def __init__(self) -> None:
        self.world = World()
        self._uids = itertools.count()

    def names(self) -> list[str]:
        return [name for _, name in self.world.kube.resources]

    def create(self, number: int, topic: str, second: int) -> None:
        if f"store-{number}" not in self.names():
            metadata = {
                "name": f"store-{number}",
                "uid": f"uid-{next(self._uids)}",
                "creationTimestamp": f"2026-01-01T00:00:0{second}Z",
            }
            self.world.kube.put(build_resource_body(spec={"topic": {"name": topic}}, metadata=metadata))

    def delete(self, number: int) -> None:
        if f"store-{number}" in self.names():
            self.world.kube.delete("demo", f"store-{number}")

    async def look_at(self, numbers: list[int]) -> None:
        """A pass over each of them, all at the same time."""
        await asyncio.gather(*(self._pass(f"store-{number}") for number in numbers))

    async def _pass(self, name: str) -> None:
        with contextlib.suppress(OperatorError):
            await self.world.reconciler.reconcile("demo", name)

    def bound(self) -> list[str]:
        """The ids of the topics that stores are bound to."""
        statuses = [body.get("status", {}) for body in self.world.kube.resources.values()]
        return [status["topic"]["id"] for status in statuses if "topic" in status]


@settings(deadline=None)
@given(steps=st.lists(STEPS, max_size=25), faults=st.sets(st.integers(1, 150), max_size=8))
def test_no_two_stores_that_write_are_ever_bound_to_one_topic(
    steps: list[tuple[object, ...]], faults: set[int]
) -> None:
    async def scenario() -> None:
        stores = Stores()
        moments = itertools.count(1)

        def fail(moment: str) -> None:
            if next(moments) in faults:
                raise KubeUnavailable(f"fault at {moment}")

        stores.world.kube.interfere = fail
        for step in steps:
            match step:
                case ("create", int(number), str(topic), int(second)):
                    stores.create(number, topic, second)
                case ("delete", int(number)):
                    stores.delete(number)
                case ("pass", list(numbers)):
                    await stores.look_at(numbers)
                case _:
                    raise AssertionError(step)
            assert len(stores.bound()) == len(set(stores.bound()))
        stores.world.kube.interfere = lambda _: None
        for number in (0, 1, 2, 3) * 2:  # one by one: at the same time, one that is refused may keep its better off
            await stores.look_at([number])
        wanted = {body["spec"]["topic"]["name"] for body in stores.world.kube.resources.values()}
        assert len(stores.bound()) == len(set(stores.bound())) == len(wanted), "a topic has nobody"

    asyncio.run(scenario())
