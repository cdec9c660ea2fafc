"""Whether a fenced writer's claim still holds; shared by all implementations of `FencedWriter`.

A claim is spent by everything after which the writer can't know that it is the only one: a refusal by the fence, a
batch of unknown outcome, a cancellation, and a log that was opened anew, which may have lost the claim.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sharedlogkv_replica.core.leadership import Writer
from sharedlogkv_replica.errors import Fenced, LogRefused, LogUnavailable, RecordTooLarge
from sharedlogkv_replica.log.continuity import Continuity

FENCE_EPOCH: Final = 32_767
"""Above every epoch that a log hands out, so that a batch of it shuts out every holder of the producer id."""


class HeldClaim:
    """The claim of one writer.

    Args:
        continuity: tells whether the log is still the one that was claimed.
    """

    def __init__(self, continuity: Continuity) -> None:
        self._continuity = continuity
        self._writer: Writer | None = None
        self._openings = 0

    def hold(self, writer: Writer) -> None:
        """From now on the log knows us as `writer`."""
        self._writer = writer
        self._openings = self._continuity.openings

    def spend(self) -> None:
        """Holds no more, until the next `hold`."""
        self._writer = None

    @contextmanager
    def at_stake(self) -> Iterator[Writer]:
        """Yields under which name to append a batch; the claim is spent unless it is known what became of the batch.

        Raises:
            Fenced: the claim does not hold.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            raise Fenced("our claim of the log is spent; nothing is written before the next one")
        try:
            self._continuity.check_writable()
        except LogUnavailable as error:
            raise Fenced(f"our claim of the log is spent: {error}") from error
        if self._openings != self._continuity.openings:
            raise Fenced("our claim of the log is spent: the log was opened anew since")
        try:
            yield writer
        except (LogUnavailable, LogRefused, RecordTooLarge):
            self._writer = writer
            raise
        self._writer = writer
