"""How long nobody was answered: what an outage is to those who wait for it to end. Pure."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Observation:
    """What clients saw while they wrote and read all the time; times in seconds of one clock.

    Attributes:
        acknowledged: When each write was acknowledged, by its key; every write had a key of its own.
        answered: When each read was answered, by the replica that was asked, in order.
        not_written: Writes that were surely not carried out.
        unknown: Writes of which nobody knows.
        failed_reads: Reads that were not answered with the state of a key.
        first_failure: What the first of these was told.
    """

    acknowledged: Mapping[str, float]
    answered: Mapping[str, tuple[float, ...]]
    not_written: int
    unknown: int
    failed_reads: int
    first_failure: str

    @classmethod
    def parse(cls, report: Mapping[str, Any]) -> Self:
        """The observation in a report of the load generator, which counts nanoseconds."""
        return cls(
            acknowledged={one["key"]: one["at"] / 1e9 for one in report["acknowledged"] or ()},
            answered={target: tuple(at / 1e9 for at in times) for target, times in report["answered"].items()},
            not_written=report["notWritten"],
            unknown=report["unknown"],
            failed_reads=report["failedReads"],
            first_failure=report.get("firstFailure", ""),
        )

    def write_silence(self, *, since: float, until: float) -> float:
        """The longest time without an acknowledged write that ended after `since`, in seconds."""
        return longest_silence(self.acknowledged.values(), since=since, until=until)

    def read_silence(self, *, since: float, until: float) -> float:
        """The longest time that ended after `since` in which a replica answered no read, in seconds."""
        return max(longest_silence(times, since=since, until=until) for times in self.answered.values())


def longest_silence(times: Iterable[float], *, since: float, until: float) -> float:
    """The longest time between two events, of all that ended after `since` and began before `until`.

    It is counted from the last event before `since`, if there was one: what is under way when something breaks belongs
    to the outage. One that has not ended by `until` counts up to there.
    """
    known = sorted(times)
    before = max((at for at in known if at <= since), default=since)
    events = [before, *(at for at in known if since < at < until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(events))
