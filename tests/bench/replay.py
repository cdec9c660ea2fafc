"""Replay: a million records, deletions and headers among them, against a loop that throws them away.

Each is alone on one processor, the broker wherever there is room; a run of the loop and a run of ours make a pair.
"""

import statistics
from typing import Final

from tests.bench.figures import Figure, Target, paired_ratio
from tests.bench.programs import SERVER_CORE, pinned
from tests.bench.replica import Replica
from tests.bench.site import REPLAY_RECORDS, Site
from tests.support.commands import run

PAIRS: Final = 5
TARGET: Final = Target("ratio", "at least", 0.35)
_RUN_SECONDS = 120.0


def measure(site: Site) -> list[Figure]:
    """The figure of the replay."""
    topic = site.replay_records
    site.say(f"{PAIRS} pairs of replays")
    pairs = [(_discard(site, topic), _replay(site, topic)) for _ in range(PAIRS)]
    peers, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        Figure(
            name="replay",
            title="replay of 1M records with headers and deletions, one core",
            unit="records/s",
            ours=statistics.median(ours),
            peer="bare `consume()`",
            peers=statistics.median(peers),
            ratio=paired_ratio(ours, peers),
            target=TARGET,
            details={"pair_ratios": [our / peer for peer, our in pairs]},
        )
    ]


def _discard(site: Site, topic: str) -> float:
    command = [str(site.python), "-m", "tests.bench.bare_consumer", site.bootstrap_servers, topic, str(REPLAY_RECORDS)]
    return REPLAY_RECORDS / float(run(*pinned(command, SERVER_CORE), timeout_seconds=_RUN_SECONDS))


def _replay(site: Site, topic: str) -> float:
    with Replica(site, topic, core=SERVER_CORE) as replica:
        replica.await_ready()
        return float(replica.status()["replay"]["recordsPerSecond"])
