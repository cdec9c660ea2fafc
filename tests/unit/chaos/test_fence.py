"""The fence as it is read off the log."""

from sharedlogkv_replica.core.leadership import Claim, LeadershipRecord, Resign, Retired, Stamp, Term, Writer
from tests.chaos.log_watch import Seen, check_fence

CLAIM = Claim(Writer(1, 1), "replica1", "", 3000)


def breaches(*records: tuple[int, LeadershipRecord]) -> list[str]:
    return check_fence([Seen(offset, 0, record) for offset, record in records])


def stamp(term: int, batch: int) -> Stamp:
    return Stamp(Term(term), batch, 1)


def test_terms_that_follow_each_other_pass() -> None:
    resigned = Resign(Term(0), CLAIM, "replica2")
    assert breaches((0, CLAIM), (1, stamp(0, 1)), (3, stamp(0, 2)), (4, resigned), (5, CLAIM), (6, stamp(5, 1))) == []


def test_a_batch_of_an_earlier_term_behind_a_claim_is_caught() -> None:
    found = breaches((0, CLAIM), (1, stamp(0, 1)), (3, CLAIM), (4, stamp(0, 2)), (6, stamp(3, 1)))
    assert found == ["batch 2 of term 0 is at 4, in term 3"]


def test_a_producer_id_that_a_claim_has_not_shut_out_may_be_written_under_as_long_as_nobody_leads_by_the_claim() -> (
    None
):
    other = Claim(Writer(2, 1), "replica2", "", 3000)
    late: list[tuple[int, LeadershipRecord]] = [(0, CLAIM), (2, other), (3, stamp(0, 1)), (5, Stamp(Term(2), 1, 0))]
    assert breaches(*late) == []
    assert breaches(*late, (6, Retired(1)), (7, other), (8, stamp(7, 1))) == []
    assert breaches(*late, (6, stamp(2, 2))) == ["term 2 is led at 6, and could be written in of 0, 2"]
    assert breaches(*late, (6, Retired(1)), (7, other), (8, stamp(0, 2))) == ["batch 2 of term 0 is at 8, in term 7"]


def test_a_batch_that_is_there_twice_is_caught() -> None:
    assert breaches((0, CLAIM), (1, stamp(0, 1)), (3, stamp(0, 1))) == ["batch 1 of term 0 is there again, at 3"]


def test_a_late_resignation_is_caught() -> None:
    assert breaches((0, CLAIM), (2, CLAIM), (3, Resign(Term(0), CLAIM, ""))) != []


def test_a_leader_that_resigned_writes_no_more() -> None:
    assert breaches((0, CLAIM), (1, Resign(Term(0), CLAIM, "")), (2, stamp(0, 1))) == [
        "batch 1 of term 0 is at 2, in term None"
    ]
