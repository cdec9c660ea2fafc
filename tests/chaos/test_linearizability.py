"""The judge of linearizability, on histories written by hand: what it must catch, and what it must let pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import linearizability
from tests.chaos.history import encode
from tests.support.histories import Script

Story = Callable[[Script], None]


@pytest.fixture(scope="session", autouse=True)
def checker() -> None:
    """The checker, built."""
    linearizability.build()


def judge(story: Story, folder: Path) -> linearizability.Verdict:
    script = Script()
    story(script)
    path = folder / "history.jsonl"
    path.write_text("".join(encode(event) + "\n" for event in script.events))
    return linearizability.check_linearizability(path, seconds_per_key=10)


def a_sequence_of_everything(script: Script) -> None:
    script.get(1, "k", None)
    script.put(1, "k", "a", 10)
    script.get(2, "k", 10, "a")
    script.ok(script.begin(2, "put", "k", "b", condition="version", expected=10), 11)
    script.ok(script.begin(1, "put", "k", "c", condition="version", expected=10), 11, held=False)
    script.ok(script.begin(1, "put", "k", "d", condition="absent"), 11, held=False)
    script.delete(1, "k", 15)
    script.get(2, "k", None)
    script.ok(script.begin(1, "put", "k", "e", condition="version", expected=11), None, held=False)
    script.ok(script.begin(1, "put", "k", "f", condition="absent"), 16)
    script.get(2, "k", 16, "f")


def concurrent_writes_in_either_order(script: Script) -> None:
    first, second = script.begin(1, "put", "k", "a"), script.begin(2, "put", "k", "b")
    read = script.begin(3, "get", "k")
    script.ok(second, 4)
    script.ok(first, 5)
    script.ok(read, 4, "b")
    script.get(3, "k", 5, "a")


def a_lost_answer_of_a_write_that_came_late(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.lose(script.begin(2, "put", "k", "b"))
    script.get(3, "k", 1, "a")
    script.get(3, "k", 2, "b")


def a_lost_answer_of_a_write_that_never_came(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.lose(script.begin(2, "put", "k", "b"))
    script.lose(script.begin(2, "delete", "k"))
    script.get(3, "k", 1, "a")


def a_refusal_by_a_version_that_nobody_can_name(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.begin(2, "put", "k", "b")
    script.ok(script.begin(3, "put", "k", "c", condition="version", expected=1), 2, held=False)
    script.put(1, "k", "d", 5)
    script.get(3, "k", 5, "d")


def a_lost_deletion_that_somebody_noticed(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.lose(script.begin(2, "delete", "k"))
    script.get(3, "k", 1, "a")
    script.get(3, "k", None)
    script.ok(script.begin(3, "put", "k", "b", condition="absent"), 7)


def a_lost_conditional_write_whose_condition_did_not_hold(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.lose(script.begin(2, "put", "k", "b", condition="absent"))
    script.put(1, "k", "c", 3)
    script.get(3, "k", 3, "c")


def weaker_reads_that_are_old(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(1, "k", "b", 2)
    script.get(2, "k", 1, "a", level="eventual")


@pytest.mark.parametrize(
    "story",
    [
        a_sequence_of_everything,
        concurrent_writes_in_either_order,
        a_lost_answer_of_a_write_that_came_late,
        a_lost_answer_of_a_write_that_never_came,
        a_refusal_by_a_version_that_nobody_can_name,
        a_lost_deletion_that_somebody_noticed,
        a_lost_conditional_write_whose_condition_did_not_hold,
        weaker_reads_that_are_old,
    ],
)
def test_a_history_that_has_an_explanation_passes(story: Story, tmp_path: Path) -> None:
    assert judge(story, tmp_path).failures == []


def a_lost_update(script: Script) -> None:
    script.put(1, "k", "a", 1)
    first = script.begin(1, "put", "k", "b", condition="version", expected=1)
    second = script.begin(2, "put", "k", "c", condition="version", expected=1)
    script.ok(first, 2)
    script.ok(second, 3)


def a_lost_acknowledged_write(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(2, "k", "b", 2)
    script.get(3, "k", 1, "a")


def a_stale_linearizable_read(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.get(2, "k", None)


def a_read_that_goes_back(script: Script) -> None:
    script.put(1, "k", "a", 1)
    write = script.begin(1, "put", "k", "b")
    script.get(2, "k", 2, "b")
    script.get(3, "k", 1, "a")
    script.ok(write, 2)


def a_doubled_idempotent_write(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(2, "k", "b", 2)
    script.get(3, "k", 3, "a")


def a_doubled_idempotent_write_whose_answer_was_lost(script: Script) -> None:
    script.lose(script.begin(1, "put", "k", "a"))
    script.get(3, "k", 1, "a")
    script.put(2, "k", "b", 2)
    script.get(3, "k", 3, "a")


def a_resurrected_key(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.delete(1, "k", 2)
    script.get(2, "k", None)
    script.get(2, "k", 1, "a")


def a_write_after_a_failed_answer(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.fail(script.begin(2, "put", "k", "b"))
    script.get(3, "k", 2, "b")


def a_refusal_without_a_reason(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.ok(script.begin(2, "put", "k", "b", condition="version", expected=1), 1, held=False)


def a_refusal_by_an_old_version(script: Script) -> None:
    script.put(1, "k", "a", 1)
    script.put(1, "k", "b", 2)
    script.ok(script.begin(2, "put", "k", "c", condition="version", expected=7), 1, held=False)


def two_creations(script: Script) -> None:
    script.ok(script.begin(1, "put", "k", "a", condition="absent"), 1)
    script.ok(script.begin(2, "put", "k", "b", condition="absent"), 2)


def a_version_that_falls(script: Script) -> None:
    script.put(1, "k", "a", 5)
    script.put(1, "k", "b", 4)


@pytest.mark.parametrize(
    "story",
    [
        a_lost_update,
        a_lost_acknowledged_write,
        a_stale_linearizable_read,
        a_read_that_goes_back,
        a_doubled_idempotent_write,
        a_doubled_idempotent_write_whose_answer_was_lost,
        a_resurrected_key,
        a_write_after_a_failed_answer,
        a_refusal_without_a_reason,
        a_refusal_by_an_old_version,
        two_creations,
        a_version_that_falls,
    ],
)
def test_a_history_that_has_none_is_caught(story: Story, tmp_path: Path) -> None:
    failures = judge(story, tmp_path).failures
    assert len(failures) == 1
    assert failures[0].startswith("key k is violated")


def test_many_lost_answers_do_not_make_the_search_long(tmp_path: Path) -> None:
    def story(script: Script) -> None:
        for number in range(0, 400, 4):
            script.lose(script.begin(1, "put", "k", f"lost-{number}"))
            script.lose(script.begin(2, "put", "k", f"seen-{number}"))
            script.get(3, "k", number, f"seen-{number}")
            script.put(3, "k", f"kept-{number}", number + 1)
            script.get(4, "k", number + 1, f"kept-{number}")

    verdict = judge(story, tmp_path)
    assert verdict.failures == []
    assert verdict.operations == 400


def test_a_key_is_judged_by_itself(tmp_path: Path) -> None:
    def story(script: Script) -> None:
        a_sequence_of_everything(script)
        script.put(1, "other", "x", 30)
        script.get(1, "other", None)

    verdict = judge(story, tmp_path)
    assert verdict.keys == 2
    assert [failure.split(" is ")[0] for failure in verdict.failures] == ["key other"]
    assert (tmp_path / "other.html").exists()
