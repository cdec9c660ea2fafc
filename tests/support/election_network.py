"""What may happen on the way between replicas and log, in a simulation."""

import enum
from collections import deque
from random import Random
from typing import Protocol


class Fate(enum.Enum):
    """What becomes of a request to the log."""

    ANSWERED = "all is well"
    REFUSED = "nothing is written, and the sender knows"
    LOST = "it never arrives, and the sender never knows"
    ANSWER_LOST = "it is carried out, and the sender never knows"
    LATE = "it is carried out after the sender has given up"


class Network(Protocol):
    """How long things take, and what is lost.

    Attributes:
        late_seconds: how long after its sender has given up a request that is late arrives, at most.
    """

    late_seconds: float

    def delay(self) -> float:
        """Of one message, in seconds."""
        ...

    def fate(self) -> Fate:
        """Of one request to the log."""
        ...

    def loses(self) -> bool:
        """Whether a message between two replicas is lost."""
        ...


class CalmNetwork:
    """Nothing is lost, and all takes the same time."""

    late_seconds = 5.0

    def delay(self) -> float:
        return 0.01

    def fate(self) -> Fate:
        return Fate.ANSWERED

    def loses(self) -> bool:
        return False


class ScriptedNetwork(CalmNetwork):
    """Calm, but for the fates of the next requests to the log."""

    def __init__(self) -> None:
        self.fates: deque[Fate] = deque()

    def fate(self) -> Fate:
        return self.fates.popleft() if self.fates else Fate.ANSWERED


class RandomNetwork:
    """Loses requests with the probability `loss`, and delays messages by `delay_seconds` at most."""

    late_seconds = 5.0

    def __init__(self, random: Random, *, loss: float, delay_seconds: float) -> None:
        self._random = random
        self._loss = loss
        self._delay_seconds = delay_seconds

    def delay(self) -> float:
        # Mostly quick, sometimes slow: what makes races is the difference.
        return self._delay_seconds * self._random.random() ** 4

    def fate(self) -> Fate:
        if self._random.random() >= self._loss:
            return Fate.ANSWERED
        return self._random.choice([Fate.REFUSED, Fate.LOST, Fate.ANSWER_LOST, Fate.LATE])

    def loses(self) -> bool:
        return self._random.random() < self._loss
