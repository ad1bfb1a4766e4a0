"""Write the tables of docs/statistics.md from the registry: ``python tools/cube_table.py``.

tests/test_cubes_page.py fails while the page is not what ``policies/cubes/registry.yaml`` says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.registry import Registry
from fairlead.policy.cubes import CUBES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "statistics.md"
START, END = "<!-- cubes -->\n", "<!-- /cubes -->"


def tables(registry: Registry) -> Iterator[str]:
    """Every dimension, then every cube with its measures and its levels."""
    yield "| dimension | what it says | steps, finest first (codes) |\n|---|---|---|\n"
    for dimension in registry.dimensions:
        steps = " ▸ ".join(f"`{s.step}` ({len(s.codes)})" for s in dimension.steps)
        yield f"| `{dimension.id}` | {dimension.title} | {steps} |\n"
    for cube in registry.cubes:
        yield from _cube(cube)


def _cube(cube: Cube) -> Iterator[str]:
    made = ", ".join(cube.made_of)
    yield f"\n### `{cube.id}`: {cube.title}\n"
    yield f"{cube.about} Made of: {made}. Version {cube.version}.\n\n"
    yield "| measure | what it is | kind | unit | at most, of one partner in one cell |\n"
    yield "|---|---|---|---|---|\n"
    for measure in cube.measures:
        yield (
            f"| `{measure.id}` | {measure.title} | {_kind(measure)} | {measure.unit} |"
            f" {f'{measure.bound:,}' if measure.bound else '—'} |\n"
        )
    yield "\n| level | cells in one unit of time | rolls up to |\n|---|---|---|\n"
    for level in cube.levels:
        above = "—" if level.parent is None else f"`{level.parent.name}`"
        yield f"| `{level.name}` | {level.width} | {above} |\n"


def _kind(measure: Measure) -> str:
    match measure.kind:
        case MeasureKind.MEDIAN:
            return f"median; bars at {', '.join(map(str, measure.edges))}"
        case MeasureKind.RATE:
            return "rate; " + " of ".join(f"`{part}`" for part in measure.parts or ())
        case _:
            step = f"; step {measure.step:,}" if measure.step > 1 else ""
            return f"{measure.kind}{step}{'; dominance' if measure.dominance else ''}"


def page() -> str:
    """The page with fresh tables."""
    registry = Registry.parse((ROOT / "policies" / CUBES).read_bytes())
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    return head + START + "".join(tables(registry)) + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
