"""What the simulation shows, as a table and as a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from tests.simulation.clairvoyant import Bounds
from tests.simulation.scalers import MAX_REPLICAS
from tests.simulation.scenarios import SCALERS, SCENARIOS, Result, Scenario

SEEDS = (1, 2, 3)
Results = Callable[[str, str, int], Result]
"""The result of a scenario, a scaler and a seed."""
AllBounds = Callable[[str, int], Bounds]
"""The bounds of a scenario and a seed."""
OURS = "SharedLogKV"
FORESEEN, RESERVED = "foresight, all CPU", "foresight, 75 %"
LATE = "†"
"""Marks who did not keep the lag bound."""

COLUMNS = 2
PANEL_WIDTH, PANEL_HEIGHT = 420, 150
LEFT, TOP, GAP = 44, 64, 56
POINTS = 210
COLOURS = ("#c2185b", "#1976d2", "#388e3c", "#f57c00", "#9e9e9e")


def render_table(results: Results, bounds: AllBounds) -> str:
    """The table in Markdown: the most replicas, pod-minutes, and seconds late, each the mean of all seeds."""
    names = [*SCALERS, RESERVED, FORESEEN]
    lines = ["| scenario | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for scenario in SCENARIOS:
        known = [bounds(scenario.name, seed) for seed in SEEDS]
        cells = [_cell([results(scenario.name, scaler, seed) for seed in SEEDS], known) for scaler in SCALERS]
        cells += [_cell([each.reserved for each in known], known), _cell([each.foreseen for each in known], known)]
        lines.append(f"| {scenario.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def render_waste(results: Results, bounds: AllBounds) -> str:
    """The second table: half of what the cheapest other takes that keeps the lag bound, and what both waste; means."""
    names = ["cheapest other in time", "half of it", FORESEEN, f"waste of {OURS}", "waste of the other"]
    lines = ["| scenario | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for scenario in SCENARIOS:
        known = [bounds(scenario.name, seed) for seed in SEEDS]
        needed, foreseen = _mean([each.reserved for each in known]), _mean([each.foreseen for each in known])
        ours = _mean([results(scenario.name, OURS, seed) for seed in SEEDS])
        others = {}
        for scaler in SCALERS:
            found = [results(scenario.name, scaler, seed) for seed in SEEDS]
            if scaler != OURS and _is_kept(found, known):
                others[scaler] = _mean(found)
        if others:
            cheapest = min(others, key=lambda scaler: others[scaler])
            theirs = others[cheapest]
            cells = [f"{cheapest}: {theirs:.0f}", f"{theirs / 2:.0f}", f"{foreseen:.0f}", f"{ours - needed:.0f}"]
            cells.append(f"{theirs - needed:.0f}")
        else:
            cells = ["none", "", f"{foreseen:.0f}", f"{ours - needed:.0f}", ""]
        lines.append(f"| {scenario.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _mean(found: Sequence[Result]) -> float:
    return mean(result.pod_minutes for result in found)


def _is_kept(found: Sequence[Result], known: Sequence[Bounds]) -> bool:
    return all(bounds.is_kept(result) for bounds, result in zip(known, found, strict=True))


def _cell(found: Sequence[Result], known: Sequence[Bounds]) -> str:
    peak = max(result.peak for result in found)
    minutes = _mean(found)
    late = mean(result.late_seconds for result in found)
    return f"{peak} / {minutes:.0f} / {late:.0f}{'' if _is_kept(found, known) else ' ' + LATE}"


@dataclass(frozen=True, slots=True)
class Panel:
    """The place of one scenario in the picture."""

    scenario: Scenario
    left: float
    top: float

    def place(self, second: float, count: float) -> str:
        """The point of a count at a second."""
        x = self.left + PANEL_WIDTH * second / self.scenario.seconds
        y = self.top + PANEL_HEIGHT * (1 - count / MAX_REPLICAS)
        return f"{x:.1f},{y:.1f}"


def draw(results: Results, bounds: AllBounds) -> str:
    """The replicas over time in every scenario, of the first seed, as an SVG."""
    rows = -(-len(SCENARIOS) // COLUMNS)
    width = LEFT + COLUMNS * (PANEL_WIDTH + GAP)
    height = TOP + rows * (PANEL_HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"',
        '  font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(_legend(number, name) for number, name in enumerate((*SCALERS, FORESEEN))),
    ]
    for number, scenario in enumerate(SCENARIOS):
        column, row = number % COLUMNS, number // COLUMNS
        panel = Panel(scenario, LEFT + column * (PANEL_WIDTH + GAP), TOP + row * (PANEL_HEIGHT + GAP))
        parts += _frame(panel)
        # Ours is drawn last, on top of the others.
        parts.append(_curve(panel, bounds(scenario.name, SEEDS[0]).foreseen, COLOURS[-1]))
        for colour, scaler in reversed(list(zip(COLOURS[:-1], SCALERS, strict=True))):
            parts.append(_curve(panel, results(scenario.name, scaler, SEEDS[0]), colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(number: int, name: str) -> str:
    x = LEFT + number * 190
    line = f'<line x1="{x}" y1="24" x2="{x + 24}" y2="24" stroke="{COLOURS[number]}" stroke-width="3"/>'
    return f'{line}<text x="{x + 30}" y="28">{name}</text>'


def _frame(panel: Panel) -> list[str]:
    left, bottom = panel.left, panel.top + PANEL_HEIGHT
    parts = [
        f'<text x="{left}" y="{panel.top - 8}" font-weight="bold">{panel.scenario.name}</text>',
        f'<text x="{left + PANEL_WIDTH}" y="{bottom + 16}" text-anchor="end">{panel.scenario.seconds // 60} min</text>',
    ]
    for count in (0, 10, 20):
        y = panel.top + PANEL_HEIGHT * (1 - count / MAX_REPLICAS)
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + PANEL_WIDTH}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{count}</text>')
    return parts


def _curve(panel: Panel, result: Result, colour: str) -> str:
    step = panel.scenario.seconds // POINTS
    points = [panel.place(second, result.counts[second]) for second in range(0, panel.scenario.seconds, step)]
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{" ".join(points)}"/>'
