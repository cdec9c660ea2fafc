"""Every reason that a condition can bear, and whether waiting helps. docs/reference.md explains them."""

from enum import Enum
from typing import Final


class Reason(Enum):
    """Why a condition has its status, in one word for programs."""

    # Everything is as it should be.
    SERVING = "Serving"
    TOPIC_BOUND = "TopicBound"
    REPLICATION_FACTOR_LOW = "ReplicationFactorLow"
    TOPIC_DRIFTED = "TopicDrifted"
    FOREIGN_RECORDS = "ForeignRecords"
    SETTLED = "Settled"
    NOT_STALLED = "NotStalled"
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    PLANNING = "Planning"
    ELECTED = "Elected"

    # On its way.
    PROGRESSING = "Progressing"
    ROLLING_OUT = "RollingOut"
    REPLICAS_NOT_READY = "ReplicasNotReady"
    WRITE_MODE_CHANGING = "WriteModeChanging"
    NO_LEADER = "NoLeader"
    LEADER_UNKNOWN = "LeaderUnknown"
    CHILD_TERMINATING = "ChildTerminating"
    DELETING = "Deleting"

    # Waiting for something outside to come back.
    KAFKA_UNAVAILABLE = "KafkaUnavailable"
    KUBE_UNAVAILABLE = "KubeUnavailable"
    TOPIC_ABSENT = "TopicAbsent"

    # Somebody must act.
    SPEC_INVALID = "SpecInvalid"
    SECRET_INVALID = "SecretInvalid"
    KAFKA_LOGIN_FAILED = "KafkaLoginFailed"
    KAFKA_ACCESS_DENIED = "KafkaAccessDenied"
    KAFKA_REFUSED = "KafkaRefused"
    NOT_ENOUGH_BROKERS = "NotEnoughBrokers"
    TOPIC_INCOMPATIBLE = "TopicIncompatible"
    TOPIC_NOT_ADOPTED = "TopicNotAdopted"
    TOPIC_CLAIMED = "TopicClaimed"
    TOPIC_LOST = "TopicLost"
    TOPIC_REPLACED = "TopicReplaced"
    LEADERSHIP_REFUSED = "LeadershipRefused"
    CHILD_CONFLICT = "ChildConflict"
    CHILD_REFUSED = "ChildRefused"
    INTERNAL_ERROR = "InternalError"


class ScalingReason(Enum):
    """The reasons of the scaling's conditions that are neither a rule nor a limit of `autoscaler.decision`."""

    EFFECTIVE = "Effective"
    EXTERNAL = "External"
    PAUSED = "ScalingPaused"
    REFUSED = "ScalingRefused"
    WITHIN_LIMITS = "WithinLimits"


STALLED: Final = frozenset(
    {
        Reason.SPEC_INVALID,
        Reason.SECRET_INVALID,
        Reason.KAFKA_LOGIN_FAILED,
        Reason.KAFKA_ACCESS_DENIED,
        Reason.KAFKA_REFUSED,
        Reason.NOT_ENOUGH_BROKERS,
        Reason.TOPIC_INCOMPATIBLE,
        Reason.TOPIC_NOT_ADOPTED,
        Reason.TOPIC_CLAIMED,
        Reason.TOPIC_LOST,
        Reason.TOPIC_REPLACED,
        Reason.LEADERSHIP_REFUSED,
        Reason.CHILD_CONFLICT,
        Reason.CHILD_REFUSED,
        Reason.INTERNAL_ERROR,
    }
)
"""No amount of waiting alone mends these: the Stalled condition is True."""
