"""`python -m tests.simulation`: plays every scenario, and writes what came of it into docs/."""

import functools
from pathlib import Path

from tests.simulation.clairvoyant import Bounds, find_bounds
from tests.simulation.report import draw, render_table
from tests.simulation.scenarios import SCALERS, SCENARIOS, Result, play

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- simulated: begin -->\n", "<!-- simulated: end -->\n"
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
    """Writes the table and the picture."""
    page = DOCS / "autoscaling.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    table = render_table(result, bounds)
    page.write_text(f"{before}{BEGIN}{table}{END}{after}")
    (DOCS / "autoscaling.svg").write_text(draw(result, bounds))
    print(table)


if __name__ == "__main__":
    main()
