"""The checks of single answers, on histories written by hand."""

from collections.abc import Callable

import pytest

from tests.chaos.answers import check_answers
from tests.chaos.history import operations
from tests.support.histories import Script


def breaches(story: Callable[[Script], None]) -> list[str]:
    script = Script()
    story(script)
    return check_answers(operations(script.events))


def test_a_session_that_sees_what_it_wrote_passes() -> None:
    def story(script: Script) -> None:
        script.put(1, "k", "a", 1)
        script.get(1, "k", 1, "a", level="session", sent=1, token=4)
        script.delete(1, "k", 5)
        script.get(1, "k", None, level="session", sent=5, token=5)
        script.get(2, "k", 1, "a", level="eventual", token=3)
        script.get(2, "k", None, level="eventual", token=0)

    assert breaches(story) == []


def test_a_deletion_that_nobody_knows_the_outcome_of_may_have_happened() -> None:
    def story(script: Script) -> None:
        script.put(1, "k", "a", 1)
        script.lose(script.begin(2, "delete", "k"))
        script.get(1, "k", None, level="session", sent=1, token=9)

    assert breaches(story) == []


def test_a_bounded_read_may_lack_what_is_younger_than_its_bound_and_nothing_else() -> None:
    def story(script: Script) -> None:
        script.put(1, "k", "a", 1)
        script.wait(seconds=2)
        script.put(1, "k", "b", 2)
        young = script.begin(2, "get", "k", level="bounded", max_lag_ms=200)
        script.ok(young, 1, "a")
        script.wait(seconds=2)
        old = script.begin(2, "get", "k", level="bounded", max_lag_ms=200)
        script.ok(old, 1, "a")

    found = breaches(story)
    assert len(found) == 1
    assert "lacks 2" in found[0]


def old_token(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(1, "k", "b", 5)
    script.get(1, "k", 1, "a", level="session", sent=5, token=4)


def content_older_than_the_token(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(1, "k", "b", 5)
    script.get(2, "k", 1, "a", level="eventual", token=6)


def content_newer_than_the_token(script: Script) -> None:
    script.put(1, "k", "a", 5)
    script.get(2, "k", 5, "a", level="eventual", token=4)


def a_key_gone_that_nobody_deleted(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.get(2, "k", None, level="eventual", token=3)


def a_deleted_key_that_came_back(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.delete(1, "k", 2)
    script.get(2, "k", 1, "a", level="session", token=3, sent=2)


def a_value_that_nobody_wrote(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.get(2, "k", 2, "b", level="eventual")


def a_value_of_a_refused_write(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.ok(script.begin(1, "put", "k", "b", condition="absent"), 1, held=False)
    script.get(2, "k", 3, "b", level="eventual")


def a_value_written_twice(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.get(2, "k", 7, "a", level="eventual")


def a_version_of_two_values(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(2, "k", "b", 1)


def a_linearizable_read_that_lacks_a_write_to_another_key(script: Script) -> None:
    script.put(1, "other", "a", 9)
    script.get(2, "k", None, token=8)


@pytest.mark.parametrize(
    ("story", "word"),
    [
        (old_token, "older than the one sent"),
        (content_older_than_the_token, "lost state"),
        (content_newer_than_the_token, "newer than its token"),
        (a_key_gone_that_nobody_deleted, "nobody deleted it"),
        (a_deleted_key_that_came_back, "lost state"),
        (a_value_that_nobody_wrote, "nobody put"),
        (a_value_of_a_refused_write, "was not written"),
        (a_value_written_twice, "written twice"),
        (a_version_of_two_values, "version 1 is"),
        (a_linearizable_read_that_lacks_a_write_to_another_key, "lacks 9"),
    ],
)
def test_a_breach_is_caught(story: Callable[[Script], None], word: str) -> None:
    found = breaches(story)
    assert found
    assert any(word in breach for breach in found), found
