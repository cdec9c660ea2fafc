"""Who claims which topic: the resources as last listed, so that many can be bound to their topics by one list.

Were each listed for, a thousand new stores would have a thousand resources listed a thousand times. So a list serves
more than once, as far as that is safe; every question says what a list must show to answer it:

1. That nobody has a better claim, by one that shows the resource at the generation that asks: so it shows every older
   one too. Whom it lacks is younger, or has come to name this topic since, and finds us bound when its turn comes.
2. Nor by one that was begun before another resource had its turn at a topic of this name: that one may have been bound.
3. Nor by one older than `AGE_SECONDS`: a person may have written to a status meanwhile, or the operator that was at
   work before us.
4. Bad news (a rival; a namespace that refuses) and what a deletion asks, only by one begun after the question.

Nobody is bound to a topic that is there already by a list that lacks a namespace, for its rival may be in there. One
that is to be created can be nobody's yet.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sharedlogkv_operator import names
from sharedlogkv_operator.claims import Claimant, Writer, find_rival, find_sharer, find_writer, parse_claimants
from sharedlogkv_operator.desired import REPLICAS_SELECTOR
from sharedlogkv_operator.errors import KafkaBusy, KubeRefused
from sharedlogkv_operator.kube import KubeClient
from sharedlogkv_operator.spec import Resource, WriteMode

AGE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Listing:
    """The resources as one list showed them.

    Attributes:
        moment: when it was begun, by the register's count.
        begun_at: the same by the loop's clock, in seconds.
        by_uid: all that can be read.
        by_topic: the same by the names of their topics.
        by_topic_id: those that are bound, by the ids of their topics.
        refusal: what a namespace said whose resources are missing; empty where none are.
    """

    moment: int
    begun_at: float
    by_uid: Mapping[str, Claimant]
    by_topic: Mapping[str, Sequence[Claimant]]
    by_topic_id: Mapping[str, Sequence[Claimant]]
    refusal: str

    def find_rival(self, resource: Resource, topic_id: str | None) -> Claimant | None:
        """As `claims.find_rival` among all of them."""
        bound = self.by_topic_id.get(topic_id, ()) if topic_id is not None else ()
        return find_rival(resource, [*bound, *self.by_topic.get(resource.spec.topic.name, ())], topic_id=topic_id)


class ClaimRegister:
    """The claims of all resources; its calls raise `KubeUnavailable` or `KubeRefused` where these can't be read."""

    def __init__(self, kube: KubeClient) -> None:
        """Lists nothing yet; must be used in one event loop.

        Args:
            kube: where the resources and their pods are.
        """
        self._kube = kube
        self._listing: _Listing | None = None
        self._moment = 0  # counts questions, lists and turns: what came before what, which a clock can't always tell
        self._turn = asyncio.Lock()
        self._binding: set[str] = set()  # names of topics to which a resource is being bound just now
        self._last_turns: dict[str, tuple[int, str]] = {}  # by the topic's name: when it ended, and whose it was

    @contextmanager
    def bind_alone(self, resource: Resource) -> Iterator[None]:
        """Lets one resource at a time be bound to a topic of this name: two passes must not both find it free.

        Raises:
            KafkaBusy: another one is being bound.
        """
        name = resource.spec.topic.name
        if resource.pinned is not None and names.ACCEPT_LOSS_ANNOTATION not in resource.annotations:
            yield
            return
        if name in self._binding:
            raise KafkaBusy(f"another resource is just being bound to a topic {name}")
        self._binding.add(name)
        try:
            yield
        finally:
            self._binding.remove(name)
            self._last_turns[name] = (self._tick(), resource.identity.uid)

    async def find_rival(self, resource: Resource, *, topic_id: str | None) -> Claimant | None:
        """Who has a better claim to the topic that `resource` names; None for nobody.

        Args:
            resource: who asks; inside `bind_alone`, if it then is to be bound.
            topic_id: the id of the topic that now bears the name; None when there is none.

        Raises:
            KubeRefused: also where there is such a topic, and one of the namespaces that are served refuses.
        """
        if resource.spec.write_mode is WriteMode.READ_ONLY:
            return None
        question = self._tick()
        listing = await self._list(lambda last: self._may_answer(last, resource))
        if self._is_bad_news(listing, resource, topic_id):
            listing = await self._list(lambda last: last.moment > question)
        rival = listing.find_rival(resource, topic_id)
        if rival is None and topic_id is not None and listing.refusal:
            raise KubeRefused(listing.refusal)
        return rival

    async def find_writer(self, resource: Resource, *, topic_id: str) -> Writer | None:
        """A pod of another resource that may still write to the topic with that id; None where there is none."""
        if resource.spec.write_mode is WriteMode.READ_ONLY:
            return None
        return find_writer(resource, await self._kube.list_pods(None, REPLICAS_SELECTOR), topic_id=topic_id)

    async def find_sharer(self, resource: Resource) -> Claimant | None:
        """Another resource that is bound to the topic of `resource`; None where there is none.

        Raises:
            KubeRefused: also where one of the namespaces that are served refuses.
        """
        question = self._tick()
        listing = await self._list(lambda last: last.moment > question)
        if listing.refusal:
            raise KubeRefused(listing.refusal)
        return find_sharer(resource, tuple(listing.by_uid.values()))

    def _may_answer(self, listing: _Listing, resource: Resource) -> bool:
        """Whether rules 1 to 3 hold for a list and a resource."""
        identity = resource.identity
        shown = listing.by_uid.get(identity.uid)
        last_turn, whose = self._last_turns.get(resource.spec.topic.name, (0, identity.uid))
        return (
            shown is not None
            and shown.resource.identity.generation == identity.generation
            and (whose == identity.uid or last_turn < listing.moment)
            and asyncio.get_running_loop().time() - listing.begun_at <= AGE_SECONDS
        )

    def _is_bad_news(self, listing: _Listing, resource: Resource, topic_id: str | None) -> bool:
        is_incomplete = topic_id is not None and listing.refusal != ""
        return is_incomplete or listing.find_rival(resource, topic_id) is not None

    async def _list(self, may_answer: Callable[[_Listing], bool]) -> _Listing:
        """The last list if it may answer, else a new one: those who wait for one share it where it serves them."""
        async with self._turn:
            if self._listing is None or not may_answer(self._listing):
                self._listing = await self._read()
                since = self._listing.moment
                self._last_turns = {name: turn for name, turn in self._last_turns.items() if turn[0] > since}
            return self._listing

    async def _read(self) -> _Listing:
        moment, begun_at, refusal = self._tick(), asyncio.get_running_loop().time(), ""
        try:
            bodies = await self._kube.list_resources(demands_all=True)
        except KubeRefused as error:
            bodies, refusal = await self._kube.list_resources(), str(error)
        by_topic: dict[str, list[Claimant]] = defaultdict(list)
        by_topic_id: dict[str, list[Claimant]] = defaultdict(list)
        claimants = parse_claimants(bodies)
        for claimant in claimants:
            by_topic[claimant.resource.spec.topic.name].append(claimant)
            if claimant.resource.pinned is not None:
                by_topic_id[claimant.resource.pinned.id].append(claimant)
        by_uid = {claimant.resource.identity.uid: claimant for claimant in claimants}
        return _Listing(moment, begun_at, by_uid, by_topic, by_topic_id, refusal)

    def _tick(self) -> int:
        self._moment += 1
        return self._moment
