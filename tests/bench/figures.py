"""What a benchmark reports: figures, with their targets where there are any, as a table and as JSON lines.

A benchmark never fails over a figure: it reports. `unmet` is what `--check` makes its judgement from.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Detail: TypeAlias = float | int | str | Sequence[float]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure.

    Attributes:
        of: What is bounded: the ratio of ours to the peer's, or our value.
        kind: Which way.
        bound: The least or the most that is good, itself included.
    """

    of: Literal["ratio", "value"]
    kind: Literal["at least", "at most"]
    bound: float

    def is_met(self, measured: float) -> bool:
        """Whether a figure keeps to the bound."""
        return measured >= self.bound if self.kind == "at least" else measured <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    Attributes:
        name: For machines; stays the same from version to version.
        title: For people: what was measured.
        unit: Of `ours` and `peers`.
        ours: Our figure.
        peer: Who is compared; None when nobody is.
        peers: The peer's figure.
        ratio: The median of the ratios of pairs that were measured one after the other. It need not be `ours` through
            `peers`, which are medians of their own: what disturbs a pair disturbs both.
        target: What we want to keep to.
        our_note: What stands beside our figure in the table.
        peers_note: What stands beside the peer's.
        details: What else there is to know, for machines: percentiles, processor time, each pair.
    """

    name: str
    title: str
    unit: str
    ours: float
    peer: str | None = None
    peers: float | None = None
    ratio: float | None = None
    target: Target | None = None
    our_note: str = ""
    peers_note: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None when there is none."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of == "ratio" else self.ours
        assert measured is not None, f"{self.name} has a target for a ratio, and no peer"
        return self.target.is_met(measured)

    def to_json(self) -> str:
        """The figure as one line of JSON."""
        document = {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer,
            "peers": self.peers,
            "ratio": self.ratio,
            "target": None if self.target is None else str(self.target),
            "met": self.is_met,
            "details": dict(self.details),
        }
        return json.dumps(document, ensure_ascii=False)


def paired_ratio(ours: Sequence[float], peers: Sequence[float]) -> float:
    """The median of the ratios of pairs."""
    return statistics.median(our / peer for our, peer in zip(ours, peers, strict=True))


def unmet(figures: Iterable[Figure]) -> list[Figure]:
    """The figures that miss their targets."""
    return [figure for figure in figures if figure.is_met is False]


def format_table(figures: Iterable[Figure]) -> str:
    """The figures as a table in Markdown."""
    rows = [("measured", "SharedLogKV", "peer", "ratio", "target", "")]
    rows += [
        (
            figure.title,
            _cell(f"{_number(figure.ours)} {figure.unit}", figure.our_note),
            ""
            if figure.peers is None
            else _cell(f"{figure.peer}: {_number(figure.peers)} {figure.unit}", figure.peers_note),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.target is None else str(figure.target),
            {None: "", True: "met", False: "**missed**"}[figure.is_met],
        )
        for figure in figures
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|---|---|---|---|---|", *lines[1:]])


def latency_note(p50_ms: float, p99_ms: float) -> str:
    """Two percentiles for the table."""
    return f"p50 {_number(p50_ms)}, p99 {_number(p99_ms)} ms"


def _cell(text: str, note: str) -> str:
    return f"{text} ({note})" if note else text


def _number(value: float) -> str:
    """Three significant digits, or all before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
