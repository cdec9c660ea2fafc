"""Which records of a led log no leader wrote."""

from sharedlogkv_replica.core.authorship import Authorship
from sharedlogkv_replica.core.leadership import STAMP_KEY, Stamp, Term
from sharedlogkv_replica.core.records import BARRIER_KEY, Batch, LogRecord, Offset, Position


def observe(authorship: Authorship, *records: LogRecord, stamps: dict[int, int], counts: bool = True) -> None:
    """Shows a batch, in which the stamps at the given offsets count so many records."""
    reserved = [record for record in records if record[1] is not None and record[1][:1] == b"\x00"]
    found = [(Offset(offset), Stamp(Term(0), 1, count)) for offset, count in stamps.items()]
    authorship.observe(Batch(records, Position(records[-1][0] + 1), 1), reserved, found, counts=counts)


def user(offset: int) -> LogRecord:
    return (Offset(offset), b"key", b"value")


def own(offset: int, key: bytes = STAMP_KEY) -> LogRecord:
    return (Offset(offset), key, b"")


def test_the_records_behind_a_stamp_are_the_leader_s() -> None:
    authorship = Authorship()
    observe(authorship, own(0), user(1), user(2), own(3), user(4), stamps={0: 2, 3: 1})
    assert authorship.foreign_records == 0


def test_a_record_that_no_stamp_counts_is_foreign() -> None:
    authorship = Authorship()
    observe(authorship, user(0), own(1), user(2), user(3), stamps={1: 1})
    assert authorship.foreign_records == 2


def test_a_leader_s_batch_may_come_in_two_parts() -> None:
    authorship = Authorship()
    observe(authorship, own(0), user(1), stamps={0: 3})
    observe(authorship, user(2), user(3), user(4), stamps={})
    assert authorship.foreign_records == 1


def test_records_that_compaction_has_removed_since_are_not_missed() -> None:
    authorship = Authorship()
    observe(authorship, own(0), user(3), stamps={0: 3})
    observe(authorship, user(9), stamps={})
    assert authorship.foreign_records == 1


def test_a_barrier_is_nobody_s_record() -> None:
    authorship = Authorship()
    observe(authorship, own(0, BARRIER_KEY), own(1), user(2), stamps={1: 1})
    assert authorship.foreign_records == 0


def test_a_batch_that_is_half_replayed_is_no_foreign_one() -> None:
    authorship = Authorship()
    observe(authorship, user(0), own(1), user(2), stamps={1: 3}, counts=False)
    observe(authorship, user(3), user(4), stamps={})
    assert authorship.foreign_records == 0
