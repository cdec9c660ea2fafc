"""Whether a log is still the one that a handle opened first; shared by all implementations of `SharedLog`.

Two signs tell that it is not: another id under the name, and an acknowledged offset that is not above the one before.
The second is seen by the next write already, and is the only sign of a log that kept its id and lost records that it
had acknowledged.
"""

from typing import Final

from sharedlogkv_replica.core.records import Offset, Position
from sharedlogkv_replica.errors import LogReplaced, LogTruncated, LogUnavailable, OutcomeUnknown

PLAIN: Final = "plain"
FENCED: Final = "fenced"
"""The two writers that one handle may have."""


class Continuity:
    """What one handle knows of its log.

    Args:
        name: the log's name, for messages.
        expected_id: the only id that is accepted; None accepts any, until the first `bind`.

    Attributes:
        openings: times that the log was bound. What was claimed before the last time may be lost with the log's end.
    """

    def __init__(self, name: str, *, expected_id: str | None) -> None:
        self._name = name
        self._expected_id = expected_id
        self._ends: dict[str, Position] = {}  # by writer, behind the last record that was acknowledged to it
        self._broken: str | None = None  # how an acknowledgement contradicted the ones before
        self.openings = 0

    def check_id(self, log_id: str) -> None:
        """Returns if `log_id` may be the log's.

        Raises:
            LogReplaced: it is another one than was expected, or than was bound.
        """
        if self._expected_id not in (None, log_id):
            raise LogReplaced(
                f"{self._name} has the id {log_id}, and {self._expected_id} is the one to use: "
                "it was deleted and created anew"
            )

    def bind(self, log_id: str) -> None:
        """Accepts no other id from now on, and any offset again; for a log that was opened successfully.

        Raises:
            LogReplaced: as `check_id`.
        """
        self.check_id(log_id)
        self._expected_id = log_id
        self._ends.clear()
        self._broken = None
        self.openings += 1

    def check_whole(self) -> None:
        """Returns unless an acknowledgement has told, since the last `bind`, that the log is not what it was.

        Raises:
            LogTruncated: it has.
        """
        if self._broken is not None:
            raise LogTruncated(self._broken)

    def check_writable(self) -> None:
        """Returns if the log may be appended to; as `check_whole`, in the terms of an append.

        Raises:
            LogUnavailable: it must be opened anew first.
        """
        if self._broken is not None:
            raise LogUnavailable(f"{self._broken}; nothing is written before it was opened anew")

    def break_off(self, reason: str) -> None:
        """Notes that the log is not what it was, for a log that tells so by itself."""
        self._broken = reason

    def check_claimable(self, log_id: str) -> None:
        """Returns if the log, which has `log_id` now, may be claimed.

        Raises:
            LogUnavailable: it must be opened anew first.
        """
        self.check_writable()
        try:
            self.check_id(log_id)
        except LogReplaced as error:
            raise LogUnavailable(f"{error}; nothing is claimed before it was opened anew") from error

    def acknowledge(self, first: Offset, *, records: int, writer: str) -> None:
        """Notes that `records` records were acknowledged at `first` and behind it.

        Only the acknowledgements of one writer come in the log's order: it has one batch on its way at a time.

        Raises:
            OutcomeUnknown: an earlier acknowledgement to this writer had a higher offset, so this batch went to another
                log.
        """
        end = self._ends.get(writer, Position(0))
        if first < end:
            self._broken = (
                f"a batch got the offset {first} after an earlier one had got {end - 1}: "
                f"{self._name} lost records, or was deleted and created anew"
            )
            raise OutcomeUnknown(self._broken)
        self._ends[writer] = Position(first + records)
