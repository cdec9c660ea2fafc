"""The records by which replicas agree on a leader, as they stand in the log."""

import json

import pytest

from sharedlogkv_replica.core.leadership import (
    LEADERSHIP_KEY,
    PRODUCER_KEY_PREFIX,
    STAMP_KEY,
    Claim,
    Enlisted,
    LeadershipRecord,
    Request,
    Resign,
    Retired,
    Stamp,
    Term,
    Writer,
    claim_batch,
    decode_leadership,
    encode_leadership,
    rules_out,
)
from sharedlogkv_replica.core.records import RESERVED_PREFIX, Offset

CLAIM = Claim(Writer(7, 3), "store-abc", "198.18.1.2:8081", 3000)


@pytest.mark.parametrize(
    "record",
    [
        CLAIM,
        Resign(Term(41), CLAIM, "store-def"),
        Enlisted(4_000),
        Retired(4_000),
        Stamp(Term(41), 1, 0),
        Stamp(Term(41), 2, 3, (Request(0, "a-b", "f00d"), Request(2, "c", "beef")), ("store-def", "store-ghi")),
    ],
)
def test_a_record_comes_back_as_it_was_written(record: LeadershipRecord) -> None:
    entry = encode_leadership(record)
    assert decode_leadership(entry.key, entry.value) == record


def test_every_record_has_a_key_that_no_user_can_have() -> None:
    assert {key[:1] for key in (LEADERSHIP_KEY, STAMP_KEY, PRODUCER_KEY_PREFIX)} == {RESERVED_PREFIX}


def test_a_claim_can_be_read_by_any_tool() -> None:
    assert json.loads(encode_leadership(CLAIM).value or b"") == {
        "kind": "claim",
        "producerId": 7,
        "epoch": 3,
        "replica": "store-abc",
        "address": "198.18.1.2:8081",
        "leaseMs": 3000,
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (LEADERSHIP_KEY, None),
        (LEADERSHIP_KEY, b""),
        (LEADERSHIP_KEY, b"not json"),
        (LEADERSHIP_KEY, b"[]"),
        (LEADERSHIP_KEY, b'{"kind": "abdicate"}'),
        (LEADERSHIP_KEY, b'{"kind": "claim", "producerId": "7"}'),
        (STAMP_KEY, b'{"term": 1, "batch": 1}'),
        (STAMP_KEY, b"1"),
        (STAMP_KEY, b"[]"),
        (STAMP_KEY, b"null"),
        (STAMP_KEY, b'"x"'),
        (STAMP_KEY, b'{"term": 1, "batch": 1, "records": 1, "requests": [[1]]}'),
        (STAMP_KEY, b'{"term": 1, "batch": 1, "records": 1, "heirs": "store-def"}'),
        (b"\x00B", b"{}"),
        (b"\x00B", None),
        (PRODUCER_KEY_PREFIX, b"{}"),
        (PRODUCER_KEY_PREFIX + b"x", None),
    ],
)
def test_what_is_none_of_ours_or_of_an_unknown_form_says_nothing(key: bytes, value: bytes | None) -> None:
    assert decode_leadership(key, value) is None


@pytest.mark.parametrize(
    ("enlisted", "batch"),
    [
        ([], [Enlisted(7), CLAIM]),
        ([7], [CLAIM]),
        ([9, 7, 8], [Retired(8), Retired(9), CLAIM]),
        ([8], [Retired(8), Enlisted(7), CLAIM]),
    ],
)
def test_a_claim_is_preceded_by_what_it_changes_in_the_book_of_producer_ids(
    enlisted: list[int], batch: list[LeadershipRecord]
) -> None:
    assert claim_batch(CLAIM, enlisted=enlisted) == batch


@pytest.mark.parametrize(
    ("record", "offset", "answer"),
    [
        (CLAIM, 50, True),
        (CLAIM, 40, False),
        (Claim(Writer(8, 1), "store-def", "", 3000), 50, False),
        (Retired(7), 50, True),
        (Retired(8), 50, False),
        (Enlisted(8), 50, False),
        (Resign(Term(41), CLAIM, ""), 50, False),
        (Stamp(Term(41), 1, 0), 50, False),
    ],
)
def test_a_batch_is_ruled_out_by_what_shuts_out_its_leader_alone(
    record: LeadershipRecord, offset: int, answer: bool
) -> None:
    assert rules_out(record, Offset(offset), term=Term(41), producer_id=7) is answer
