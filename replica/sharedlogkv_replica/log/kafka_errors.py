"""Kafka's error codes, and what each means for a batch that was sent. Data, no code.

Source: the Kafka protocol guide, "Error Codes"; for sequences and epochs KIP-98 and KIP-360. The names come from
librdkafka's table, so that messages and tests need no second one.
"""

import enum
from types import MappingProxyType
from typing import Final

from confluent_kafka import KafkaError


class Verdict(enum.Enum):
    """What an error code says of the attempt that it answers."""

    NOT_YET = "not written; try again, perhaps elsewhere"
    UNKNOWN = "perhaps written; the same bytes must be sent again to know"
    SEQUENCE_LOST = "not written by this attempt, and this producer id is of no more use"
    TOO_LARGE = "not written, and never will be: too large"
    REFUSED = "not written, and waiting does not help"


_VERDICTS: Final = {
    Verdict.NOT_YET: (
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # deleted, or this broker has not heard of it yet
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_ENOUGH_REPLICAS,  # the broker checks before it appends
        KafkaError.INVALID_MSG,  # damaged on the way: the broker checks the checksum before it appends
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.CONCURRENT_TRANSACTIONS,
    ),
    Verdict.UNKNOWN: (
        KafkaError.UNKNOWN,
        KafkaError.NOT_LEADER_FOR_PARTITION,  # also given to a batch that was appended before the leader stepped down
        KafkaError.REQUEST_TIMED_OUT,  # appended, and not replicated in time
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.NETWORK_EXCEPTION,
    ),
    Verdict.SEQUENCE_LOST: (
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.DUPLICATE_SEQUENCE_NUMBER,  # an earlier attempt is in the log, where the broker no longer knows
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.INVALID_TXN_STATE,
        KafkaError.PRODUCER_FENCED,
    ),
    Verdict.TOO_LARGE: (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
    ),
    Verdict.REFUSED: (
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.INVALID_REQUIRED_ACKS,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.INVALID_REQUEST,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_RECORD,
    ),
}

VERDICTS: Final = MappingProxyType({code: verdict for verdict, codes in _VERDICTS.items() for code in codes})
"""By error code. A code that is not here is `Verdict.UNKNOWN`: what is not plainly refused may have been written."""


def verdict_of(code: int) -> Verdict:
    """What the error `code` (not 0) says of the attempt that it answers."""
    return VERDICTS.get(code, Verdict.UNKNOWN)


def name_of(code: int) -> str:
    """The name of an error code with its number, for messages: `TOPIC_AUTHORIZATION_FAILED (29)`."""
    return f"{KafkaError(code).name()} ({code})"


MOVED: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
)
"""Answers after which one must ask anew who leads the partition."""

FENCED: Final = frozenset({KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.DUPLICATE_SEQUENCE_NUMBER})
"""Answers to a fence (sequence 0 of the highest epoch) that say that this epoch is in the partition already: from any
lower epoch, sequence 0 would have been taken."""

SHUT_OUT: Final = frozenset({KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
"""Answers to a batch of an epoch below one that the partition has seen."""

TRUNCATED: Final = frozenset(
    {KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE}
)
"""What a reader gets whose position the log does not have."""

ABSENT: Final = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
"""What a question about a topic gets that does not exist."""

DENIED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
"""What a client gets that lacks the rights."""

OF_THE_GROUP: Final = frozenset({KafkaError.GROUP_AUTHORIZATION_FAILED})
"""What a reader hears of the consumer group that it never joins."""


def ask_for(operation: str, resource: str) -> str:
    """The ACL that is missing, for messages: `operation` and `resource` as Kafka's tools name them."""
    return f"our Kafka user needs the ACL {operation} on {resource}"


def describe_refusal(code: int) -> str:
    """What a broker that takes no batch of ours has said, and the ACL that is missing if that is why."""
    return f"{name_of(code)}; {ask_for('Write', 'the topic')}" if code in DENIED else name_of(code)


UNDECODABLE: Final = frozenset(
    {
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
    }
)
"""What a reader gets in the place of a record that can't be decoded."""
