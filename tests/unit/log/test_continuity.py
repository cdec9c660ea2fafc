"""Whether a log is still the one that a handle opened, by what was acknowledged."""

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.errors import LogTruncated, OutcomeUnknown
from sharedlogkv_replica.log.continuity import FENCED, PLAIN, Continuity


def test_the_acknowledgements_of_two_writers_may_come_in_any_order() -> None:
    continuity = Continuity("the log", expected_id=None)
    continuity.bind("id")
    continuity.acknowledge(Offset(101), records=1, writer=FENCED)
    continuity.acknowledge(Offset(100), records=1, writer=PLAIN)
    continuity.check_whole()


@pytest.mark.parametrize("writer", [FENCED, PLAIN])
def test_an_acknowledgement_below_an_earlier_one_of_the_same_writer_is_of_another_log(writer: str) -> None:
    continuity = Continuity("the log", expected_id=None)
    continuity.bind("id")
    continuity.acknowledge(Offset(101), records=2, writer=writer)
    with pytest.raises(OutcomeUnknown, match="lost records"):
        continuity.acknowledge(Offset(102), records=1, writer=writer)
    with pytest.raises(LogTruncated):
        continuity.check_whole()
    continuity.bind("id")
    continuity.acknowledge(Offset(0), records=1, writer=writer)
