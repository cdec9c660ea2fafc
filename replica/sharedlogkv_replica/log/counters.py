"""What a log handle has done so far, as plain numbers; metrics.py gives them their public names.

A failure counter stands beside each attempt counter, so that a ratio can be alerted on.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sharedlogkv_replica.errors import (
    Fenced,
    LogRefused,
    LogUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
    ReplicaError,
)


@dataclass(slots=True)
class LogCounters:
    """Counts since the handle was made; they only rise. Owned by the event loop.

    Attributes:
        appends: calls of `append`, also of the handle's fenced writers; so for all that follow.
        appended_batches: batches acknowledged.
        appended_records: records acknowledged, in those batches.
        appended_bytes: encoded size of the acknowledged batches.
        append_unavailable: appends that ended as `LogUnavailable`.
        append_unknown: appends that ended as `OutcomeUnknown`, or were cancelled while under way.
        append_refused: appends that ended as `LogRefused`.
        append_too_large: appends that ended as `RecordTooLarge`.
        append_fenced: appends that ended as `Fenced`.
        write_outages: times that the log could no longer be written, counted once from loss to return.
        connections: connections that the writer tried to make, also those that it only asks who leads.
        connection_failures: those of them that nobody answered.
        resends: times that a batch's same bytes were sent again after a fault.
        producer_ids: producer ids taken; one at the first append, and one after each that was retired.
        abandoned_batches: batches sent whose outcome was still open when their time was up.
        fences: retired producer ids that were fenced, so that nothing of theirs can land any more.
        claims: calls of `claim`.
        claim_unavailable: claims that ended as `LogUnavailable`.
        claim_unknown: claims that ended as `OutcomeUnknown`, or were cancelled while under way.
        claim_refused: claims that ended as `LogRefused`.
        claim_fenced: claims that ended as `Fenced`.
        fence_tests: times that a claim had the log asked whether it refuses the epoch before.
        fence_test_failures: those of them after which the log was not trusted.
        read_batches: batches handed to the reader's consumer.
        read_records: records in those batches.
        undecodable_records: records that could not be decoded and were stepped over.
        read_errors: errors that the reader's client reported and got over.
        read_outages: times that the reader lost every broker, counted once from loss to return.
        queries: calls of `open`, `end` and `identify`.
        query_failures: those of them that failed.
    """

    appends: int = 0
    appended_batches: int = 0
    appended_records: int = 0
    appended_bytes: int = 0
    append_unavailable: int = 0
    append_unknown: int = 0
    append_refused: int = 0
    append_too_large: int = 0
    append_fenced: int = 0
    write_outages: int = 0
    connections: int = 0
    connection_failures: int = 0
    resends: int = 0
    producer_ids: int = 0
    abandoned_batches: int = 0
    fences: int = 0
    claims: int = 0
    claim_unavailable: int = 0
    claim_unknown: int = 0
    claim_refused: int = 0
    claim_fenced: int = 0
    fence_tests: int = 0
    fence_test_failures: int = 0
    read_batches: int = 0
    read_records: int = 0
    undecodable_records: int = 0
    read_errors: int = 0
    read_outages: int = 0
    queries: int = 0
    query_failures: int = 0

    @contextmanager
    def count_append(self) -> Iterator[None]:
        """Counts an append, and how it failed if it did."""
        self.appends += 1
        try:
            yield
        except LogUnavailable:
            self.append_unavailable += 1
            raise
        except (OutcomeUnknown, asyncio.CancelledError):
            self.append_unknown += 1
            raise
        except LogRefused:
            self.append_refused += 1
            raise
        except RecordTooLarge:
            self.append_too_large += 1
            raise
        except Fenced:
            self.append_fenced += 1
            raise

    def count_appended(self, *, records: int, size_bytes: int) -> None:
        """Counts a batch that was acknowledged."""
        self.appended_batches += 1
        self.appended_records += records
        self.appended_bytes += size_bytes

    @contextmanager
    def count_claim(self) -> Iterator[None]:
        """Counts a claim, and how it failed if it did."""
        self.claims += 1
        try:
            yield
        except LogUnavailable:
            self.claim_unavailable += 1
            raise
        except (OutcomeUnknown, asyncio.CancelledError):
            self.claim_unknown += 1
            raise
        except LogRefused:
            self.claim_refused += 1
            raise
        except Fenced:
            self.claim_fenced += 1
            raise

    @contextmanager
    def count_query(self) -> Iterator[None]:
        """Counts a question, and whether it failed."""
        self.queries += 1
        try:
            yield
        except ReplicaError:
            self.query_failures += 1
            raise
