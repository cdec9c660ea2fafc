"""From a write's acknowledgement by one replica until another one answers with it: idle, and while others write."""

import threading
from contextlib import ExitStack
from typing import Final

from tests.bench import load
from tests.bench.figures import Figure, Target
from tests.bench.load import Load, Visibility, connections_text
from tests.bench.replica import Replica
from tests.bench.site import Site

TARGET: Final = Target("value", "at most", 3.0)
SECONDS: Final = 8.0
WRITERS: Final = 16


def measure(site: Site) -> list[Figure]:
    """The figures of visibility."""
    site.say("two replicas: from the acknowledgement at one until the other answers with it")
    topic = site.create_topic()
    with ExitStack() as stack:
        writer, reader = (stack.enter_context(Replica(site, topic, name=f"visibility-{name}")) for name in "ab")
        writer.await_ready()
        reader.await_ready()
        load.measure_visibility(writer.url, reader.url, seconds=2.0)
        idle = load.measure_visibility(writer.url, reader.url, seconds=SECONDS)
        busy, others = _measure_among_writers(writer, reader)
    beside = f"while {connections_text(WRITERS)} write {others.per_second:,.0f}/s"
    return [
        _figure("visible", "acknowledged at one replica → read at another", idle, TARGET),
        _figure("visible-busy", f"the same, {beside}", busy),
    ]


def _measure_among_writers(writer: Replica, reader: Replica) -> tuple[Visibility, Load]:
    """The visibility while others write through the same replica, and how much these wrote."""
    loads: list[Load] = []

    def write() -> None:
        loads.append(load.drive(writer.url, "put", connections=WRITERS, seconds=SECONDS + 2.0))

    others = threading.Thread(target=write)
    others.start()
    try:
        seen = load.measure_visibility(writer.url, reader.url, seconds=SECONDS)
    finally:
        others.join()
    return seen, loads[0]


def _figure(name: str, title: str, seen: Visibility, target: Target | None = None) -> Figure:
    return Figure(
        name=name,
        title=f"{title}, p50 with the read's round trip",
        unit="ms",
        ours=seen.visible_p50_ms,
        target=target,
        our_note=f"p99 {seen.visible_p99_ms:.2f}; round trip alone {seen.round_trip_p50_ms:.2f}",
        details={
            "writes": seen.writes,
            "p99_ms": seen.visible_p99_ms,
            "round_trip_p50_ms": seen.round_trip_p50_ms,
            "round_trip_p99_ms": seen.round_trip_p99_ms,
        },
    )
