"""One election, told of events by hand, with the time in the test's hands.

All machines have a lease of 3 s, a beat of 1 s, a grace of 0.5 s, and wait 3.15 s for a sign of life of a leader.
"""

from sharedlogkv_replica.core.election import Election
from sharedlogkv_replica.core.election_events import (
    AskLeader,
    BatchAcknowledged,
    ClaimAcknowledged,
    ClaimComposed,
    Effect,
    ElectionConfig,
    Event,
    Fit,
    Followed,
    Lead,
    LeaderSilent,
    SendBeat,
    StartClaim,
    Tick,
)
from sharedlogkv_replica.core.leadership import Claim, Stamp, Term, Writer
from sharedlogkv_replica.core.records import Offset

CONFIG = ElectionConfig("me", "me:8081", jitter=0.0)
SILENCE = 3.151
"""Seconds after which a follower suspects the leader."""

OTHER = Writer(7, 4)
MINE = Writer(7, 5)
SEVEN = frozenset({7})
"""The producer ids of both."""

TERM = Term(100)
"""That of `leader()`; the leader "other" has term 10."""


def claim_of(name: str, writer: Writer) -> Claim:
    """The claim of a replica with a lease of 3 s."""
    return Claim(writer, name, f"{name}:8081", 3000)


OTHER_CLAIM = claim_of("other", OTHER)
MY_CLAIM = claim_of("me", MINE)


class Driver:
    """An election, and the time."""

    def __init__(self, config: ElectionConfig = CONFIG) -> None:
        self.election = Election(config)
        self.now = 1000.0

    def tell(self, *events: Event, after: float = 0.0) -> tuple[Effect, ...]:
        """What is to be done about events that all come `after` seconds from the last ones."""
        self.now += after
        return tuple(effect for event in events for effect in self.election.step(event, self.now))

    def wait(self, seconds: float) -> tuple[Effect, ...]:
        """What is to be done while `seconds` go by and nothing happens; each Tick comes when it is due."""
        end = self.now + seconds
        effects: list[Effect] = []
        while (due := self.election.next_wake(self.now)) is not None and due <= end:
            self.now = due
            effects += self.election.step(Tick(), due)
        self.now = end
        return tuple(effects)


def follower(config: ElectionConfig = CONFIG) -> Driver:
    """A fit replica that has just read a beat of the leader "other"."""
    driver = Driver(config)
    driver.tell(Followed(Offset(10), OTHER_CLAIM), Followed(Offset(11), Stamp(Term(10), 1, 0)), Fit(True))
    return driver


def candidate() -> Driver:
    """A replica whose claim is on its way, after a leader that has been silent for long."""
    driver = follower()
    assert driver.wait(SILENCE) == (AskLeader(Term(10), "other:8081"),)
    assert driver.tell(LeaderSilent(Term(10))) == (StartClaim(SEVEN),)
    driver.tell(ClaimComposed(MINE))
    return driver


def acknowledged(driver: Driver, *, offset: int = TERM, writer: Writer = MINE) -> ClaimAcknowledged:
    """The log's answer, at once, to a claim of ours."""
    return ClaimAcknowledged(Offset(offset), writer, driver.now)


def leader() -> Driver:
    """A replica that leads in `TERM`, with a lease from now on."""
    driver = candidate()
    assert driver.tell(acknowledged(driver)) == ()
    assert driver.tell(Followed(Offset(TERM), MY_CLAIM)) == (Lead(TERM), SendBeat(TERM))
    driver.tell(BatchAcknowledged(driver.now))
    assert driver.election.lease_holds(driver.now)
    return driver
