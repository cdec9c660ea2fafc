"""What a leader appends, and what it answers without appending."""

import pytest

from sharedlogkv_replica.core.batch_plan import Appended, BatchPlan, Settled, SettledByBatch, holds
from sharedlogkv_replica.core.leadership import Request, Stamp, Term
from sharedlogkv_replica.core.records import Entry, Offset, Position
from sharedlogkv_replica.core.request_window import SLACK_MS, RequestWindow
from sharedlogkv_replica.core.store import Store
from sharedlogkv_replica.core.writes import Condition, ConditionFailed, RequestId, RequestMismatch, Write, Written

EXISTS = Condition(match=frozenset())
ABSENT = Condition(none_match=frozenset())


def version_is(*versions: int) -> Condition:
    return Condition(match=frozenset(map(Offset, versions)))


def version_is_none_of(*versions: int) -> Condition:
    return Condition(none_match=frozenset(map(Offset, versions)))


def plan(window: RequestWindow | None = None) -> BatchPlan:
    """A plan over a map in which `old` has the version 7 and `gone` was deleted at 8; the map's position is 10."""
    store = Store()
    store.apply([(Offset(7), b"old", b"value"), (Offset(8), b"gone", None)])
    return BatchPlan(store.get, position=Position(10), window=window or RequestWindow())


@pytest.mark.parametrize(
    ("condition", "version", "expected"),
    [
        (Condition(), None, True),
        (Condition(), 7, True),
        (EXISTS, 7, True),
        (EXISTS, None, False),
        (version_is(6, 7), 7, True),
        (version_is(6), 7, False),
        (version_is(7), None, False),
        (ABSENT, None, True),
        (ABSENT, 7, False),
        (version_is_none_of(6), 7, True),
        (version_is_none_of(6), None, True),
        (version_is_none_of(6, 7), 7, False),
        (Condition(match=frozenset(), none_match=frozenset({Offset(7)})), 7, False),
    ],
)
def test_a_condition_holds_as_rfc_9110_says(condition: Condition, version: int | None, expected: bool) -> None:
    assert holds(condition, None if version is None else Offset(version)) is expected


def test_writes_without_conditions_are_records_in_order_of_arrival() -> None:
    batch = plan()
    assert [batch.add(Write(b"a", b"1")), batch.add(Write(b"b", None))] == [Appended(0), Appended(1)]
    assert batch.entries == [Entry(b"a", b"1"), Entry(b"b", None)]
    assert Appended(1).result(Offset(100)) == Written(Offset(101))


def test_a_condition_that_holds_against_the_map_adds_a_record() -> None:
    batch = plan()
    assert batch.add(Write(b"old", b"new", version_is(7))) == Appended(0)
    assert batch.add(Write(b"gone", b"back", ABSENT)) == Appended(1)


def test_a_condition_that_fails_against_the_map_writes_nothing_and_tells_the_version() -> None:
    batch = plan()
    assert batch.add(Write(b"old", b"x", version_is(6))) == Settled(ConditionFailed(Offset(7), Offset(9)), is_read=True)
    assert batch.add(Write(b"gone", None, EXISTS)) == Settled(ConditionFailed(None, Offset(9)), is_read=True)
    assert batch.entries == []


def test_of_two_writes_that_expect_the_same_version_in_one_batch_only_the_first_is_a_record() -> None:
    batch = plan()
    assert batch.add(Write(b"old", b"first", version_is(7))) == Appended(0)
    second = batch.add(Write(b"old", b"second", version_is(7)))
    assert second == SettledByBatch(0, is_repetition=False, records=1)
    assert second.result(Offset(20)) == ConditionFailed(Offset(20), Offset(20))


def test_a_key_that_the_batch_itself_creates_or_deletes_is_what_a_later_condition_sees() -> None:
    batch = plan()
    assert batch.add(Write(b"new", b"1", ABSENT)) == Appended(0)
    assert isinstance(batch.add(Write(b"new", b"2", ABSENT)), SettledByBatch)
    assert batch.add(Write(b"new", b"3", EXISTS)) == Appended(1)
    assert batch.add(Write(b"new", None)) == Appended(2)
    deleted = batch.add(Write(b"new", b"4", EXISTS))
    assert deleted == SettledByBatch(None, is_repetition=False, records=3)
    assert deleted.result(Offset(20)) == ConditionFailed(None, Offset(22))
    assert batch.add(Write(b"new", b"5", ABSENT)) == Appended(3)


def test_a_request_in_the_window_is_not_carried_out_again() -> None:
    window = RequestWindow()
    window.window_ms = 1000
    window.note(Offset(5), Stamp(Term(1), 1, 1, (Request(0, "id", "print"),)), timestamp_ms=1)
    batch = plan(window)
    repeated = batch.add(Write(b"old", b"new", version_is(1), RequestId("id", "print")))
    assert repeated == Settled(Written(Offset(6), repeated=True), is_read=False)
    other = batch.add(Write(b"other", b"new", request=RequestId("id", "another")))
    assert other == Settled(RequestMismatch(), is_read=False)
    assert batch.entries == []


def test_a_request_that_is_twice_in_one_batch_is_one_record() -> None:
    batch = plan()
    request = RequestId("id", "print")
    assert batch.add(Write(b"a", b"1", request=request)) == Appended(0)
    again = batch.add(Write(b"a", b"1", request=request))
    assert isinstance(again, SettledByBatch)
    assert again.result(Offset(20)) == Written(Offset(20), repeated=True)
    assert batch.add(Write(b"b", b"1", request=RequestId("id", "x"))) == Settled(RequestMismatch(), is_read=False)
    assert batch.stamp(Term(3), batch=2) == Stamp(Term(3), 2, 1, (Request(0, "id", "print"),))


def test_a_request_whose_condition_failed_is_judged_anew_when_it_is_repeated() -> None:
    batch = plan()
    request = RequestId("id", "print")
    assert isinstance(batch.add(Write(b"old", b"1", ABSENT, request)), Settled)
    assert batch.add(Write(b"old", None)) == Appended(0)
    assert batch.add(Write(b"old", b"1", ABSENT, request)) == Appended(1)


def test_a_request_is_forgotten_once_the_log_is_a_window_further() -> None:
    window = RequestWindow()
    window.window_ms = 100
    for number in range(3):
        stamp = Stamp(Term(1), number, 1, (Request(0, f"id-{number}", "print"),))
        window.note(Offset(10 * number), stamp, timestamp_ms=(SLACK_MS + 101) * number // 2)
    assert window.find(RequestId("id-0", "print")) is None
    assert window.find(RequestId("id-1", "print")) is not None
    assert len(window) == 2


def test_a_request_that_was_written_again_after_its_time_is_not_forgotten_with_the_first() -> None:
    window = RequestWindow()
    window.window_ms = 100
    for offset, timestamp_ms in ((1, 0), (50, 90), (60, SLACK_MS + 150)):
        request = Request(0, "id" if offset < 60 else "other", "print")
        window.note(Offset(offset), Stamp(Term(1), offset, 1, (request,)), timestamp_ms=timestamp_ms)
    known = window.find(RequestId("id", "print"))
    assert known is not None
    assert known.offset == 51


def test_a_full_window_says_so() -> None:
    window = RequestWindow(most=1)
    assert not window.is_full
    window.note(Offset(1), Stamp(Term(1), 1, 1, (Request(0, "id", "print"),)), timestamp_ms=1)
    assert window.is_full
