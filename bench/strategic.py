"""A release of twenty nodes, from the first round until it is out.

Nodes and gateway are in one process, so that what is measured is the work of all of them, one after
the other: nodes of their own work at the same time. Nothing but the way between them is left out.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.summing import Figures, Terms
from gateway.figures.making import Sought
from tests.cubes import DEFAULTS
from tests.tallying import Town
from tests.walks import ASKER, World, make_world

LIMITS = {"round_ms_20_nodes": 3000.0}
CUBE, LEVEL = "hit-origins", "year,origin,hs2"
"""The level with the most cells of all: 810, of two words each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much: nodes, and releases of one unit each, of which the first warms up."""

    nodes: int
    releases: int


FULL = Scale(nodes=20, releases=4)
QUICK = Scale(nodes=5, releases=2)


def measure(scale: Scale, say: Callable[[str], None]) -> dict[str, Any]:
    """The median over the releases."""
    with tempfile.TemporaryDirectory() as folder:
        world = make_world(Path(folder) / "certs")
        taken = asyncio.run(_released(world, Path(folder), scale, say))
    return {"round_ms_20_nodes": round(median(taken[1:]), 1)}


async def _released(
    world: World, folder: Path, scale: Scale, say: Callable[[str], None]
) -> list[float]:
    registry = Registry.parse(DEFAULTS)
    town = Town(world, folder, count=scale.nodes, registry=registry, round_s=60.0)
    town.wire.counts = _some
    cube, taken = registry.cube(CUBE), []
    for year in range(2025, 2025 - scale.releases, -1):
        sought = Sought(
            registry=registry, cube=cube, level=cube.level(LEVEL), unit=parse_unit(str(year))
        )
        began = time.perf_counter()
        await town.maker.released(sought, partner=ASKER, progress=lambda *_: None)
        taken.append(1000 * (time.perf_counter() - began))
        say(f"a release of {sought.level.width} cells and {scale.nodes} nodes: {taken[-1]:.0f} ms")
    town.close()
    return taken


def _some(partner: str, terms: Terms) -> Figures:
    """Every node has something in two cells of three."""
    rank = int(partner[1:])
    rows = [(rank + at) % 3 and (rank + at) % 17 + 1 for at in range(len(terms.cells))]
    words = len(terms.measures)
    return Figures(
        contributes=tuple(bool(row) for row in rows), values=tuple((row,) * words for row in rows)
    )
