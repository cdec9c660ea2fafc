"""Every error that the operator raises on purpose.

Told apart because the reconcile must act differently: the user's mistake (`ConfigError`, `SpecInvalid`), a passing
fault (`KubeUnavailable`, `KafkaUnavailable`, `KafkaSilent`, `KafkaBusy`, `ReplicaUnreachable`) and a refusal that
somebody must lift (`KubeRefused`, `KafkaRefused`). Anything else that escapes is a bug; the work queue retries it all
the same.
"""

from sharedlogkv_operator.reasons import Reason


class OperatorError(Exception):
    """The root of them all; the text says what is wrong, with the value, and what to do."""


class ConfigError(OperatorError):
    """The configuration can't be used; lists every problem found, one a line."""


class SpecInvalid(OperatorError):
    """A resource does not have the form that the CRD promises: the CRD in the cluster is older or newer than we are."""


class KubeUnavailable(OperatorError):
    """The API server can't be reached, is overloaded, or somebody else changed the object first; try again."""


class KubeRefused(OperatorError):
    """The API server says no for good: the object is invalid, a quota is used up, or we lack the rights."""


class KafkaUnavailable(OperatorError):
    """The Kafka cluster is not in order, or gave no answer; whether a change was made is not known."""


class KafkaSilent(KafkaUnavailable):
    """The Kafka cluster gave no answer at all in time, so that it is of no use to ask it for something else."""


class KafkaBusy(OperatorError):
    """Enough calls to this Kafka cluster are under way already; nothing was tried, come back in a moment."""


class KafkaRefused(OperatorError):
    """The Kafka cluster says no, or there is nothing to log in with; the text holds its words, and what would help.

    Args:
        text: as above.
        reason: which kind of no it is, for the conditions.
    """

    def __init__(self, text: str, *, reason: Reason = Reason.KAFKA_REFUSED) -> None:
        super().__init__(text)
        self.reason = reason


class ReplicaUnreachable(OperatorError):
    """A replica did not tell its status, or did not do what it was asked for; or its answer was lost."""
