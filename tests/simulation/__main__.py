"""`python -m tests.simulation`: plays every scenario, and writes what came of it into docs/."""

import functools
from pathlib import Path

from tests.simulation.clairvoyant import Bounds, find_bounds
from tests.simulation.report import draw, render_table, render_waste
from tests.simulation.scenarios import SCALERS, SCENARIOS, Result, play

DOCS = Path(__file__).parents[2] / "docs"
MARKS = ("<!-- {}: begin -->\n", "<!-- {}: end -->\n")
NAMES = {scenario.name: scenario for scenario in SCENARIOS}


@functools.cache
def result(scenario: str, scaler: str, seed: int) -> Result:
    """The result of a scenario, played once."""
    return play(NAMES[scenario], SCALERS[scaler](), seed=seed)


@functools.cache
def bounds(scenario: str, seed: int) -> Bounds:
    """The bounds of a scenario, found once."""
    return find_bounds(NAMES[scenario], seed=seed)


def main() -> None:
    """Writes the tables and the picture."""
    page = DOCS / "autoscaling.md"
    text = page.read_text()
    for name, table in (("simulated", render_table(result, bounds)), ("waste", render_waste(result, bounds))):
        begin, end = (mark.format(name) for mark in MARKS)
        before, rest = text.split(begin)
        text = f"{before}{begin}{table}{end}{rest.split(end)[1]}"
        print(table)
    page.write_text(text)
    (DOCS / "autoscaling.svg").write_text(draw(result, bounds))


if __name__ == "__main__":
    main()
