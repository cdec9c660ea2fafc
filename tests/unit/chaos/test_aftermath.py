"""The checks after a run, on maps and histories written by hand."""

from tests.chaos.aftermath import check_maps, check_nothing_lost
from tests.chaos.history import Operation, operations
from tests.support.histories import Script


def history() -> list[Operation]:
    script = Script()
    script.put(1, "a", "a1", 1)
    script.put(1, "a", "a2", 2)
    script.put(1, "b", "b1", 3)
    script.delete(1, "b", 4)
    script.put(1, "c", "c1", 5)
    script.lose(script.begin(2, "put", "c", "c2"))
    script.put(1, "d", "d1", 6)
    script.lose(script.begin(2, "delete", "d"))
    return operations(script.events)


def test_equal_maps_pass_and_every_difference_is_told() -> None:
    first = {"a": (1, "x"), "b": (2, "y")}
    assert check_maps({"one": first, "two": dict(first)}) == []
    found = check_maps({"one": first, "two": {"a": (1, "x"), "c": (3, "z")}})
    assert found == ["b is (2, 'y') at one and None at two", "c is None at one and (3, 'z') at two"]


def test_the_last_acknowledged_write_or_a_later_one_in_doubt_is_there() -> None:
    assert check_nothing_lost(history(), {"a": (2, "a2"), "c": (5, "c1"), "d": (6, "d1")}) == []
    assert check_nothing_lost(history(), {"a": (2, "a2"), "c": (9, "c2")}) == []


def test_a_lost_an_old_and_a_resurrected_key_are_caught() -> None:
    final = {"a": (1, "a1"), "b": (3, "b1"), "d": (6, "d1")}
    found = check_nothing_lost(history(), final)
    assert [line.split(" is ")[0] for line in found] == ["a", "b", "c"]
