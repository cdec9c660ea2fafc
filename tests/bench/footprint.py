"""What a store takes: memory for each key, processor time when idle, seconds until it serves a million keys.

etcd stands beside it with the same keys. Its memory is what is resident; the database file, mapped into memory, is a
part of that which the kernel may take back. Ours is all the process's own.
"""

import time
from typing import Final

from tests.bench import load
from tests.bench.etcd import Etcd
from tests.bench.figures import Figure, Target
from tests.bench.programs import Program
from tests.bench.replica import Replica
from tests.bench.site import KEYS, VALUE_BYTES, Site

IDLE_TARGET: Final = Target("value", "at most", 1.0)
IDLE_SECONDS: Final = 25.0
_SETTLE_SECONDS: Final = 2.0
_TITLE: Final = f"with 1M keys of 20 B + {VALUE_BYTES} B"


def measure(site: Site) -> list[Figure]:
    """The figures of memory, idling and starting."""
    topic = site.million_keys
    site.say("what a replica with a million keys takes")
    with Replica(site, site.create_topic(), name="empty") as empty:
        empty.await_ready()
        empty_bytes = empty.usage().resident_bytes
    with Replica(site, topic, name="full") as replica:
        start_seconds = replica.await_ready()
        resident_bytes = replica.usage().resident_bytes
        idle_percent = _idle_percent(replica)
    etcd_start_seconds, etcd_bytes, etcd_idle_percent = _measure_etcd(site)
    return [
        Figure(
            name="bytes-per-key",
            title=f"resident memory for each key, {_TITLE}",
            unit="B",
            ours=(resident_bytes - empty_bytes) / KEYS,
            our_note=f"{resident_bytes >> 20} MiB in all, {empty_bytes >> 20} MiB empty",
            peer="etcd",
            peers=etcd_bytes / KEYS,
            peers_note=f"{etcd_bytes >> 20} MiB in all",
        ),
        Figure(
            name="idle-cpu",
            title=f"processor time when idle, {_TITLE}",
            unit="% of one core",
            ours=idle_percent,
            peer="etcd",
            peers=etcd_idle_percent,
            target=IDLE_TARGET,
        ),
        Figure(
            name="start",
            title=f"from the start of the process to Ready, {_TITLE}",
            unit="s",
            ours=start_seconds,
            peer="etcd",
            peers=etcd_start_seconds,
        ),
    ]


def _measure_etcd(site: Site) -> tuple[float, int, float]:
    """Seconds of a restart, resident bytes and idle percentage of etcd with the same keys."""
    site.say("what etcd takes with the same keys")
    folder = site.folder / "footprint"
    folder.mkdir()
    with Etcd(folder) as etcd:
        etcd.await_ready()
        load.fill(etcd.url, keys=KEYS)
    with Etcd(folder) as etcd:
        start_seconds = etcd.await_ready()
        return start_seconds, etcd.usage().resident_bytes, _idle_percent(etcd)


def _idle_percent(program: Program) -> float:
    time.sleep(_SETTLE_SECONDS)  # nothing to wait for: what is measured is that nothing happens
    begin, before = time.monotonic(), program.usage().cpu_seconds
    time.sleep(IDLE_SECONDS)
    return 100 * (program.usage().cpu_seconds - before) / (time.monotonic() - begin)
