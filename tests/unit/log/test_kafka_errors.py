"""The verdicts on Kafka's error codes, by the protocol guide's numbers: a renamed constant must not move one."""

import pytest

from sharedlogkv_replica.log.kafka_errors import MOVED, VERDICTS, Verdict, name_of, verdict_of


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        ((2, 3, 5, 14, 15, 16, 19, 51), Verdict.NOT_YET),
        ((-1, 6, 7, 13, 20, 56), Verdict.UNKNOWN),
        ((45, 46, 47, 48, 49, 59, 90), Verdict.SEQUENCE_LOST),
        ((10, 18), Verdict.TOO_LARGE),
        ((17, 21, 29, 31, 32, 35, 42, 43, 44, 53, 87), Verdict.REFUSED),
    ],
)
def test_each_code_has_its_verdict(codes: tuple[int, ...], verdict: Verdict) -> None:
    assert {code for code, found in VERDICTS.items() if found is verdict} == set(codes)


def test_a_code_that_nobody_knows_may_mean_that_the_batch_was_written() -> None:
    assert verdict_of(12_345) is Verdict.UNKNOWN


def test_after_a_move_the_leader_is_asked_for_anew() -> None:
    assert {3, 5, 6} == MOVED


def test_a_code_is_named_for_people() -> None:
    assert name_of(29) == "TOPIC_AUTHORIZATION_FAILED (29)"
