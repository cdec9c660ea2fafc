r"""The records by which replicas agree on a leader, and their JSON in the log.

Leadership is decided through the log: whoever's claim is the last one in it leads, and the log itself refuses what an
earlier leader still sends (`log.base.FencedWriter`). Reserved keys carry it, so that compaction keeps the newest record
of each, and a replica that reads the log years later knows who leads:

| key | record | says |
|---|---|---|
| `\0L` | `Claim` | this replica leads from here on; the claim's own offset is the term |
| `\0L` | `Resign` | the term has ended by its leader's will, and who is asked to go on |
| `\0T` | `Stamp` | heads each batch of a leader: it is of this term, and carries these requests |
| `\0P` and a producer id | `Enlisted` | a claim was made under this producer id |
| the same | `Retired`, a deletion | this producer id was shut out: no batch of it follows |

A batch is one atomic append, so the records that a stamp speaks of follow it without a gap. The stamp of an empty batch
is a beat: the leader lives. So user records bear no header of ours, and every batch is a sign of life.

The log fences the epochs of one producer id. Where a claim is made under another one, the old one is shut out by hand,
and of which there are to be shut out, the log itself keeps the book: an id is in it from its first claim until it was
shut out. Those records stand in one batch with a claim, and before it: whoever has applied a claim knows whether any id
but its own was left open. Such a claim is never led with.

A `Resign` repeats the claim that it ends, since compaction will drop that claim. Old stamps, and with them the request
ids, are there at least for the topic's `min.compaction.lag.ms`, the window in which a request is not carried out twice.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NewType, TypeAlias

import orjson

from sharedlogkv_replica.core.records import Entry, Offset

LEADERSHIP_KEY: Final = b"\x00L"
STAMP_KEY: Final = b"\x00T"
PRODUCER_KEY_PREFIX: Final = b"\x00P"

Term = NewType("Term", int)
"""A leader's number: the offset of its claim. So terms rise along the log, and no two leaders share one."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Under which name the log knows a leader's appends (Kafka: producer id and epoch, KIP-98).

    A claim raises the epoch, or has another producer id where the log's own book of ids was lost or is full.
    """

    producer_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Claim:
    """From its offset on, `replica` leads. The term is that offset.

    Attributes:
        writer: under which name the log knows the leader.
        replica: the leader's name.
        address: `host:port` at which its peers reach it; empty where it has none.
        lease_ms: for how long one sign of life vouches for the leader.
    """

    writer: Writer
    replica: str
    address: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Resign:
    """The leader of `term` writes no more, and holds its lease no longer.

    Attributes:
        term: the term that ends.
        claim: what was claimed for it.
        successor: the name of the replica that should claim at once; empty where the leader knows of none.
    """

    term: Term
    claim: Claim
    successor: str


@dataclass(frozen=True, slots=True)
class Request:
    """One write that its client gave an id, as the stamp of its batch tells of it.

    Attributes:
        index: which record of the batch it wrote; the first one behind the stamp is 0.
        id: the client's id.
        fingerprint: of all that was asked for; the same id with another one is a mistake of the client.
    """

    index: int
    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """The head of one of a leader's batches.

    Attributes:
        term: the leader's.
        batch: the number of the batch within the term, from 1 on.
        records: how many records follow, each of this leader; 0 for a beat.
        requests: those of them whose clients gave an id.
        heirs: names of the replicas that are fit to lead next, the best one first; empty where nothing new is known.
    """

    term: Term
    batch: int
    records: int
    requests: tuple[Request, ...] = ()
    heirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Enlisted:
    """A claim was made under this producer id, in the same batch; so it may be written under until it is `Retired`."""

    producer_id: int


@dataclass(frozen=True, slots=True)
class Retired:
    """This producer id was shut out, and whatever was written under it is before this record."""

    producer_id: int


LeadershipRecord: TypeAlias = Claim | Resign | Stamp | Enlisted | Retired


def claim_batch(claim: Claim, *, enlisted: Collection[int]) -> list[LeadershipRecord]:
    """What is appended for `claim`, which comes last, once all other producer ids in `enlisted` were shut out."""
    own = claim.writer.producer_id
    retired: list[LeadershipRecord] = [Retired(other) for other in sorted(enlisted) if other != own]
    return [*retired, claim] if own in enlisted else [*retired, Enlisted(own), claim]


def rules_out(record: LeadershipRecord, offset: Offset, *, term: Term, producer_id: int) -> bool:
    """Whether no batch of `term`, whose leader writes under `producer_id`, can follow `record`, which is at `offset`.

    A later claim alone does not say so: one that was made under another producer id may have left that one open.
    """
    match record:
        case Claim(writer=writer):
            return term < offset and writer.producer_id == producer_id
        case Retired(producer_id=retired):
            return retired == producer_id
        case _:
            return False


def encode_leadership(record: LeadershipRecord) -> Entry:
    """The entry that puts `record` into the log."""
    match record:
        case Claim():
            return Entry(LEADERSHIP_KEY, orjson.dumps({"kind": "claim", **_claim_fields(record)}))
        case Resign(term=term, claim=claim, successor=successor):
            fields = {"kind": "resign", "term": term, "successor": successor, **_claim_fields(claim)}
            return Entry(LEADERSHIP_KEY, orjson.dumps(fields))
        case Stamp(term=term, batch=batch, records=records):
            stamp: dict[str, object] = {"term": term, "batch": batch, "records": records}
            if record.requests:
                stamp["requests"] = [(request.index, request.id, request.fingerprint) for request in record.requests]
            if record.heirs:
                stamp["heirs"] = record.heirs
            return Entry(STAMP_KEY, orjson.dumps(stamp))
        case Enlisted(producer_id=producer_id):
            return Entry(_producer_key(producer_id), orjson.dumps({"producerId": producer_id}))
        case Retired(producer_id=producer_id):
            return Entry(_producer_key(producer_id), None)


def decode_leadership(key: bytes, value: bytes | None) -> LeadershipRecord | None:
    """What a record with one of our keys says; None where it is none of ours, or of a form not known here."""
    try:
        if key.startswith(PRODUCER_KEY_PREFIX):
            producer_id = int(key.removeprefix(PRODUCER_KEY_PREFIX))
            return Retired(producer_id) if value is None else Enlisted(producer_id)
        if value is None:
            return None
        fields = orjson.loads(value)
        if not isinstance(fields, dict):
            return None
        if key == STAMP_KEY:
            return _decode_stamp(fields)
        if key == LEADERSHIP_KEY and fields["kind"] == "claim":
            return _decode_claim(fields)
        if key == LEADERSHIP_KEY and fields["kind"] == "resign":
            return Resign(Term(int(fields["term"])), _decode_claim(fields), str(fields["successor"]))
    except (KeyError, TypeError, ValueError):  # orjson's error is a ValueError
        return None
    return None


def term_of(claim_offset: Offset) -> Term:
    """The term that the claim at `claim_offset` began."""
    return Term(claim_offset)


def _producer_key(producer_id: int) -> bytes:
    return PRODUCER_KEY_PREFIX + str(producer_id).encode()


def _claim_fields(claim: Claim) -> dict[str, object]:
    return {
        "producerId": claim.writer.producer_id,
        "epoch": claim.writer.epoch,
        "replica": claim.replica,
        "address": claim.address,
        "leaseMs": claim.lease_ms,
    }


def _decode_claim(fields: Mapping[str, object]) -> Claim:
    return Claim(
        writer=Writer(_integer(fields["producerId"]), _integer(fields["epoch"])),
        replica=str(fields["replica"]),
        address=str(fields["address"]),
        lease_ms=_integer(fields["leaseMs"]),
    )


def _decode_stamp(fields: Mapping[str, object]) -> Stamp:
    requests = fields.get("requests", [])
    heirs = fields.get("heirs", [])
    if not isinstance(requests, list) or not isinstance(heirs, list):
        raise TypeError("a stamp's requests and heirs are lists")
    return Stamp(
        term=Term(_integer(fields["term"])),
        batch=_integer(fields["batch"]),
        records=_integer(fields["records"]),
        requests=tuple(Request(_integer(index), str(name), str(print_)) for index, name, print_ in requests),
        heirs=tuple(str(name) for name in heirs),
    )


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value
