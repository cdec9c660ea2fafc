"""Transcripts of the election: commands to a simulated cluster, and what came of them, as text that one can read.

A line that begins with `>` is a command, one with `#` a remark; all others are what the cluster noted. Times are in
seconds since the start. Messages take 10 ms; what is not in the transcript does not happen. After a change that was
meant: `python -m tests.support.election_transcripts` writes them anew, and the difference is there to be judged.
"""

import pathlib
from collections.abc import Iterator
from random import Random

from sharedlogkv_replica.core.election_events import ElectionConfig
from sharedlogkv_replica.core.leader_view import LeaderView, Role
from tests.support.election_cluster import Cluster
from tests.support.election_network import Fate, ScriptedNetwork

FOLDER = pathlib.Path(__file__).parents[1] / "unit/core/transcripts"

COMMANDS = """
start NAME...            they start, read the log and are fit; each has more jitter than the one before
run SECONDS              time passes
show                     who leads, as each replica sees it, and who may answer reads
kill NAME                the process is gone
sleep NAME, wake NAME    SIGSTOP and SIGCONT
stop NAME                SIGTERM
unfit NAME, fit NAME
hand-over NAME [TO]
late NAME SECONDS        its reader is late by so much
expire                   the next claim gets another producer id
cut-off NAME             no peer reaches it, and it reaches none
next FATE...             of the next requests to the log: answered, refused, lost, answer_lost, late
"""


class _Stage:
    def __init__(self) -> None:
        self._network = ScriptedNetwork()
        self._cluster = Cluster(Random(0), self._network)

    def perform(self, command: str) -> Iterator[str]:
        """Carries out `command`; yields what is to be written below it."""
        cluster, noted = self._cluster, len(self._cluster.trace)
        match command.split():
            case ["start", *names]:
                for name in names:
                    jitter = len(cluster.replicas) / 4 if name not in cluster.replicas else 0
                    cluster.add(ElectionConfig(name, name, jitter=jitter))
            case ["run", seconds]:
                cluster.run(float(seconds))
            case ["show"]:
                yield from self._show()
            case ["kill" | "sleep" | "wake" | "stop" as verb, name]:
                getattr(cluster.replicas[name], verb)()
            case ["fit" | "unfit" as verb, name]:
                cluster.replicas[name].set_fit(verb == "fit")
            case ["hand-over", name, *successor]:
                cluster.replicas[name].hand_over("".join(successor))
            case ["late", name, seconds]:
                cluster.replicas[name].reading_seconds = float(seconds)
            case ["expire"]:
                cluster.expire_producer()
            case ["cut-off", name]:
                cluster.replicas[name].reachable = False
            case ["next", *fates]:
                self._network.fates.extend(Fate[fate.upper()] for fate in fates)
            case _:
                raise ValueError(f"{command!r} is none of these:\n{COMMANDS}")
        yield from cluster.trace[noted:]

    def _show(self) -> Iterator[str]:
        for name, replica in self._cluster.replicas.items():
            if replica.alive:
                lease = ", and answers reads" if replica.holds_lease() else ""
                yield f"{name}: {_in_words(replica.election.view)}{lease}"


def _in_words(view: LeaderView) -> str:
    match view.role:
        case Role.LEADER:
            return f"leads in term {view.term}"
        case Role.CANDIDATE:
            return "is a candidate"
        case _ if view.term is None:
            return "knows of no leader"
        case _:
            return f"follows {view.name} in term {view.term}"


def perform(transcript: str) -> str:
    """`transcript` with what comes of its commands today, in place of what it says."""
    stage, lines = _Stage(), []
    for line in transcript.splitlines():
        if line.startswith("#"):
            lines.append(line)
        elif line.startswith(">"):
            lines += ["", line, *stage.perform(line[1:].strip())]
    return "\n".join(lines).strip() + "\n"


def main() -> None:
    """Writes every transcript anew."""
    for path in sorted(FOLDER.glob("*.txt")):
        path.write_text(perform(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
