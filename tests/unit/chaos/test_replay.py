"""A run can be repeated: its seed alone says what clients want, and which trouble comes when."""

import itertools
import random

from tests.chaos.intentions import LEADER, intend
from tests.chaos.nemeses import NEMESES
from tests.chaos.trouble import order


def wishes(seed: int, process: int) -> list[object]:
    return list(itertools.islice(intend(seed, process, LEADER), 500))


def test_one_seed_gives_each_client_the_same_wishes_and_another_one_others() -> None:
    assert wishes(7, 1) == wishes(7, 1)
    assert len({repr(wishes(seed, process)) for seed in (7, 8) for process in (1, 2)}) == 4


def test_one_seed_gives_the_same_troubles_in_the_same_order_round_after_round() -> None:
    def troubles(seed: int) -> list[str]:
        forever = order(list(NEMESES.values()), random.Random(seed), until=float("inf"))
        return [nemesis.name for nemesis in itertools.islice(forever, 3 * len(NEMESES))]

    assert troubles(7) == troubles(7)
    assert troubles(7) != troubles(8)
    assert all(troubles(7).count(name) == 3 for name in NEMESES)
